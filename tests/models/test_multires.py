"""Facts about `seg.models.multires`: its published size, its blocks, and its paths."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.multires import multires

SMALL = {"levels": 3, "base_filters": 8}


def convs(model, kernel):
    """Return the filters of the convolutions of a kernel, transposed ones left out."""
    return [
        layer.filters
        for layer in model.layers
        if type(layer) is layers.Conv2D and layer.kernel_size == (kernel, kernel)
    ]


def by_formula(channels, rows, lengths, normalization):
    """Sum over the blocks and paths.

    Args:
        channels: of the image.
        rows: per level the U-Net's filters, then the widths of the block's three convolutions.
        lengths: of the paths, level by level.
        normalization: "batch": none has a bias, beta and two statistics follow each convolution, of
            the logits too, and gamma with them each sum and concatenation. "none": all biases.
    """
    shift, full = (3, 4) if normalization == "batch" else (1, 0)

    def block(inward, first, second, third):
        width = first + second + third
        kernels = inward * width + 9 * (inward * first + first * second + second * third)
        return kernels + 2 * shift * width + 2 * full * width

    total, inward = 0, channels
    for (filters, *widths), length in zip(rows, [*lengths, 0], strict=True):
        total += block(inward, *widths)
        inward = sum(widths)
        for step in range(length):
            source = filters if step else inward
            total += 10 * source * filters + (2 * shift + full) * filters
    for filters, *widths in rows[-2::-1]:
        total += 4 * inward * filters + filters + block(2 * filters, *widths)
        inward = sum(widths)
    return total + inward + shift


# The filters of the paper's table of the architecture: a U-Net's, then a block's three.
PUBLISHED = [
    (32, 8, 17, 26),
    (64, 17, 35, 53),
    (128, 35, 71, 106),
    (256, 71, 142, 213),
    (512, 142, 284, 427),
]


def test_the_closed_formula_gives_the_published_parameters():
    """7,262,750 in the paper's table of models; so counted for three channels and one class."""
    assert by_formula(3, PUBLISHED, [4, 3, 2, 1], "batch") == 7_262_750


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_parameters_of_a_small_model_are_those_of_the_closed_formula(normalization, undrawn):
    """8 filters times 1.67: 2, 4, 6; 16: 4, 8, 13; 32: 8, 17, 26."""
    rows = [(8, 2, 4, 6), (16, 4, 8, 13), (32, 8, 17, 26)]
    model = multires((16, 16, 1), normalization=normalization, **SMALL)
    assert model.count_params() == by_formula(1, rows, [2, 1], normalization)


def test_the_three_convolutions_of_a_block_see_3x3_5x5_and_7x7_pixels():
    model = multires((16, 16, 1), levels=2, base_filters=8, normalization="none", activation="elu")
    joint = next(layer for layer in model.layers if isinstance(layer, layers.Concatenate))
    image_BHWC = np.zeros((2, 16, 16, 1), "float32")
    image_BHWC[1, 8, 8] = 1
    without, dotted = np.array(keras.Model(model.input, joint.output)(image_BHWC))
    changed_HWF = np.abs(dotted - without) > 1e-7
    for channels, side in ((slice(0, 2), 3), (slice(2, 6), 5), (slice(6, 12), 7)):
        rows, columns, _ = np.nonzero(changed_HWF[..., channels])
        reach = side // 2
        assert (rows.min(), rows.max()) == (8 - reach, 8 + reach)
        assert (columns.min(), columns.max()) == (8 - reach, 8 + reach)


def test_a_block_adds_its_input_through_one_pixel():
    """With its 3x3 convolutions at zero, a block is the shortcut, activated: pixel by pixel."""
    model = multires((16, 16, 1), levels=2, base_filters=8, normalization="none", activation="elu")
    for layer in model.layers:
        if type(layer) is layers.Conv2D and layer.kernel_size == (3, 3):
            layer.set_weights([0 * weight for weight in layer.get_weights()])
    added = next(layer for layer in model.layers if isinstance(layer, layers.Add))
    image_BHWC = np.zeros((1, 16, 16, 1), "float32")
    image_BHWC[0, 8, 8] = 1
    added_HWF = np.array(keras.Model(model.input, added.output)(image_BHWC))[0]
    rows, columns, channels = np.nonzero(added_HWF)
    assert set(zip(rows, columns, strict=True)) == {(8, 8)}
    assert len(channels) == 2 + 4 + 6


def test_the_paths_have_three_two_and_one_steps_in_four_levels(undrawn):
    """No convolution of a block has 12, 24 or 48 filters: 12 make 3, 6, 10, 24 make 6, 13, 20."""
    filters = convs(multires((16, 16, 1), levels=4, base_filters=12), kernel=3)
    assert [filters.count(12), filters.count(24), filters.count(48)] == [3, 2, 1]


def test_alpha_widens_the_blocks_alone(undrawn):
    """Ten filters times 3: 5, 9, 15, twenty: 10, 19, 30; and the one step of the path has 10."""
    model = multires((16, 16, 1), levels=2, base_filters=10, alpha=3.0)
    assert sorted(convs(model, kernel=3)) == sorted([5, 9, 15, 10, 10, 19, 30, 5, 9, 15])


def test_batch_normalization_has_a_scale_after_sums_and_concatenations_only(undrawn):
    """Two levels: 3 blocks of 2 scaled and 4 not, a path of 1 and 2, and the logits."""
    model = multires((16, 16, 1), levels=2, base_filters=8)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert sum(norm.scale for norm in norms) == 3 * 2 + 1
    assert sum(not norm.scale for norm in norms) == 3 * 4 + 2 + 1
    assert all(norm.synchronized for norm in norms)


def test_logits_have_mean_zero_and_variance_one_in_a_batch_that_is_normalized(images_BHWC):
    def moments(normalization):
        model = multires((16, 32, 1), levels=2, base_filters=8, normalization=normalization)
        logits_BHWC = np.array(model(images_BHWC, training=True))
        return pytest.approx((logits_BHWC.mean(), logits_BHWC.var()), abs=0.01)

    assert moments("batch") == (0, 1)
    assert moments("none") != (0, 1)


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_logits_stay_float32_where_the_rest_is_half(normalization, restored_policy, undrawn):
    keras.config.set_dtype_policy("mixed_float16")
    model = multires((16, 16, 1), levels=2, base_filters=8, normalization=normalization)
    assert (model.layers[1].output.dtype, model.output.dtype) == ("float16", "float32")


def test_groups_of_eight_round_a_blocks_widths(undrawn):
    """8, 17, 26 of 32 filters to 8, 16, 24; 2, 4, 6 of 8 filters to 8, 8, 8."""
    for filters, widths in ((32, [8, 16, 24]), (8, [8, 8, 8])):
        options = {"levels": 2, "base_filters": filters, "normalization": "group"}
        assert convs(multires((16, 16, 1), **options), kernel=3)[:3] == widths


def test_each_of_the_five_blocks_of_three_levels_drops_out_where_asked(undrawn):
    for dropout, wanted in ((0.2, [0.2] * 5), (0.0, [])):
        model = multires((16, 16, 1), dropout=dropout, normalization="none", **SMALL)
        rates = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
        assert rates == wanted


def test_the_image_may_have_any_size_that_halves(images_BHWC):
    options = {"levels": 2, "base_filters": 4, "normalization": "none", "upsampling": "bilinear"}
    model = multires((None, None, 1), **options)
    assert model(images_BHWC[:, :8, :12]).shape == (2, 8, 12, 1)


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((40, 32), {"levels": 5}, r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"),
        ((32, 32), {"base_filters": 3}, r"must be 6 or more.* Received: 1.67 \* 3; take"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        multires((*size, 1), **options)
