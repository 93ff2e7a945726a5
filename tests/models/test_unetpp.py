"""Facts about `seg.models.unetpp`: its size by formula, its nodes, and what each of them sees."""

import numpy as np
import pytest
from keras import layers

from seg.models.supervised import DeeplySupervised
from seg.models.unet import unet
from seg.models.unetpp import unetpp

SMALL = {"levels": 4, "base_filters": 2, "dropout": 0.0, "normalization": "none"}


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def by_formula(channels, filters, per_filter, classes, heads):
    """Sum over the nodes of column j and level i; `per_filter` of a bias or a normalization."""
    total = 0
    for i, f in enumerate(filters):
        for j in range(len(filters) - i):
            above = filters[i - 1] if i else channels
            inward = (j + 1) * f if j else above
            total += 9 * (inward + f) * f + 2 * per_filter * f
            total += 4 * filters[i + 1] * f + f if j else 0
    return total + heads * (filters[0] + 1) * classes


@pytest.mark.parametrize(
    ("channels", "levels", "normalization", "per_filter", "deep", "classes"),
    [
        (1, 5, "none", 1, True, 1),
        (3, 4, "batch", 4, True, 2),
        (3, 3, "instance", 2, False, 1),
        (1, 2, "none", 1, True, 1),
    ],
)
def test_parameters_are_those_of_the_closed_formula(
    channels, levels, normalization, per_filter, deep, classes, undrawn
):
    options = {"levels": levels, "base_filters": 2, "classes": classes}
    model = unetpp(
        (16, 16, channels), normalization=normalization, deep_supervision=deep, **options
    )
    heads = levels - 1 if deep else 1
    filters = [2 * 2**level for level in range(levels)]
    assert model.count_params() == by_formula(channels, filters, per_filter, classes, heads)


def test_a_node_reads_all_nodes_to_its_left_and_the_one_below(undrawn):
    """Four levels: three nodes join 2 maps, two join 3, one joins 4, all of their own width."""
    joints = of_kind(unetpp((16, 16, 1), **SMALL), layers.Concatenate)
    widths = sorted([[x.shape[-1] for x in joint.input] for joint in joints], key=str)
    assert widths == sorted([[2, 2], [4, 4], [8, 8], [2, 2, 2], [4, 4, 4], [2, 2, 2, 2]], key=str)


def test_the_head_of_column_j_sees_j_levels_down_and_no_further(images_BHWC):
    """Scaling what lies in level k changes the heads of columns k, k + 1, ... and no other."""
    model = unetpp((16, 32, 1), **SMALL)
    answer, *others = [np.array(x) for x in model(images_BHWC, training=True)]
    before = [*others, answer]
    for level in (3, 2, 1):
        for layer in of_kind(model, layers.Conv2D):
            if type(layer) is layers.Conv2D and layer.filters == 2 * 2**level:
                layer.set_weights([1.5 * weight for weight in layer.get_weights()])
        answer, *others = [np.array(x) for x in model(images_BHWC, training=True)]
        same = [np.array_equal(x, y) for x, y in zip([*others, answer], before, strict=True)]
        assert same == [column < level for column in (1, 2, 3)]


def test_two_levels_are_the_unet_of_two_levels(images_BHWC):
    ours = unetpp((16, 32, 1), levels=2, base_filters=4, dropout=0, normalization="none")
    theirs = unet((16, 32, 1), levels=2, base_filters=4, normalization="none", dropout=0)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(
        np.array(ours(images_BHWC)), np.array(theirs(images_BHWC)), rtol=1e-5, atol=1e-6
    )


def test_in_training_all_columns_answer_at_full_size_else_the_last_alone(images_BHWC):
    model = unetpp((16, 32, 1), classes=2, **SMALL)
    taught = model(images_BHWC, training=True)
    assert isinstance(model, DeeplySupervised)
    assert [(x.shape, x.dtype.name) for x in taught] == [((2, 16, 32, 2), "float32")] * 3
    np.testing.assert_array_equal(model(images_BHWC), taught[0])
    assert [x.path.split("/")[0] for x in model.trainable_variables[-6::2]] == [
        "logits",
        "logits_1",
        "logits_2",
    ]


def test_without_deep_supervision_it_has_one_output(undrawn):
    model = unetpp((16, 32, 1), deep_supervision=False, **SMALL)
    assert not isinstance(model, DeeplySupervised)
    assert model.output_shape == (None, 16, 32, 1)


def test_every_convolution_of_the_ten_nodes_of_four_levels_is_followed_by_dropout(undrawn):
    dropping = unetpp((16, 16, 1), levels=4, base_filters=2, dropout=0.3)
    still = unetpp((16, 16, 1), levels=4, base_filters=2, dropout=0.0)
    assert [layer.rate for layer in of_kind(dropping, layers.Dropout)] == [0.3] * 20
    assert not of_kind(still, layers.Dropout)


def test_the_image_may_have_any_size_that_halves(images_BHWC):
    model = unetpp((None, None, 1), upsampling="bilinear", **SMALL)
    assert model(images_BHWC[:, :8, :24]).shape == (2, 8, 24, 1)


def test_a_size_that_does_not_halve_is_refused_with_the_nearest_that_does():
    sentence = r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"
    with pytest.raises(ValueError, match=sentence):
        unetpp((40, 32, 1))
