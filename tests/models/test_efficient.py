"""Facts about `seg.models.efficient`: the size of its encoder, and what its decoder joins."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.efficient import efficient

# Documented by torchvision (num_params). Table 2 of the paper prints 5.3 and 9.2 million, but the
# architecture of B2, the smallest both wider and deeper, has 9.11.
PUBLISHED = {"b0": 5_288_548, "b2": 9_109_994}
FEATURES = {"b0": 1280, "b2": 1408}
B0_FILTERS = {16: 112, 8: 40, 4: 24, 2: 16}


@pytest.mark.parametrize("variant", PUBLISHED)
def test_the_encoder_is_the_published_network_without_its_classifier(variant, undrawn, trainable):
    encoder = efficient((32, 32, 3), variant=variant).get_layer("encoder")
    classifier = 1000 * FEATURES[variant] + 1000
    assert trainable(encoder) + classifier == PUBLISHED[variant]


@pytest.mark.parametrize(
    ("size", "upsampling", "normalization", "dropout", "classes", "decoder_filters"),
    [
        ((32, 64), "transposed", "batch", 0.0, 1, (256, 128, 64, 32, 16)),
        ((None, None), "bilinear", "none", 0.3, 3, (8, 7, 6, 5, 4)),
    ],
)
def test_the_decoder_is_that_of_the_closed_formula(
    size, upsampling, normalization, dropout, classes, decoder_filters, undrawn, trainable
):
    model = efficient(
        (*size, 1),
        decoder_filters=decoder_filters,
        normalization=normalization,
        dropout=dropout,
        upsampling=upsampling,
        classes=classes,
    )
    up, per_filter = 4 if upsampling == "transposed" else 1, 2 if normalization == "batch" else 1
    total, inward = 0, 1280
    for stride, filters in zip((16, 8, 4, 2, 1), decoder_filters, strict=True):
        joined = filters + B0_FILTERS.get(stride, 0)
        total += up * inward * filters + filters
        total += 9 * (joined + filters) * filters + 2 * per_filter * filters
        inward = filters
    wanted = total + inward * classes + classes
    assert trainable(model) - trainable(model.get_layer("encoder")) == wanted
    assert model.output_shape == (None, *size, classes)
    found = [
        x for x in model.layers if getattr(x, "kernel_size", 0) == (3, 3) or hasattr(x, "rate")
    ]
    kinds = ["Conv2D", "Dropout", "Conv2D"] if dropout else ["Conv2D", "Conv2D"]
    assert [type(layer).__name__ for layer in found] == kinds * 5
    assert {layer.rate for layer in found if hasattr(layer, "rate")} == {dropout} - {0}


def test_the_answer_sees_the_encoder_at_all_five_strides():
    keras.utils.set_random_seed(0)
    model = efficient((32, 64, 1), decoder_filters=(8, 8, 8, 8, 8), normalization="group")
    joins = [layer for layer in model.layers if isinstance(layer, layers.Concatenate)]
    deepest = next(x for x in model.layers if isinstance(x, layers.Conv2DTranspose)).input
    maps = [deepest, *(join.input[1] for join in joins)]
    assert [x_BHWF.shape for x_BHWF in maps[1:]] == [
        (None, 32 // stride, 64 // stride, filters) for stride, filters in B0_FILTERS.items()
    ]
    assert deepest.shape == (None, 1, 2, 1280)
    rng = np.random.default_rng(0)
    encode = keras.Model(model.input, maps)
    assert all(np.std(x_BHWF) > 0 for x_BHWF in encode(rng.uniform(size=(1, 32, 64, 1))))
    decode = keras.Model(maps, model.output)
    given = [rng.normal(size=(1, *x_BHWF.shape[1:])).astype("float32") for x_BHWF in maps]
    answer_BHWC = np.array(decode(given))
    assert answer_BHWC.shape == (1, 32, 64, 1)
    assert answer_BHWC.dtype == np.float32
    for k in range(5):
        moved = [-x_BHWF if k == j else x_BHWF for j, x_BHWF in enumerate(given)]
        assert np.abs(decode(moved) - answer_BHWC).max() > 1e-3


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((48, 32), {}, r"multiple of 32 \(the encoder .*Received: 48x32; .*\[\d+,32\]"),
        ((32, 32), {"variant": "b8"}, "variant must be one of b0, .* Received: b8"),
        ((32, 32), {"decoder_filters": (8, 8)}, r"must be five numbers, .* Received: \[8, 8\]"),
        ((32, 32), {"weights": "coco"}, "model.weights must be null, .* Received: coco"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence, undrawn):
    with pytest.raises(ValueError, match=sentence):
        efficient((*size, 1), **options)
