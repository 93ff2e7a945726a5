"""Facts about `seg.models.efficient`: the size of its encoder, and what its decoder joins."""

import math

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.efficient import efficient

# Table 2 of the paper, millions. The exact counts are those that torchvision documents
# (num_params). The paper prints 9.2 for B2, whose architecture has 9.11.
PUBLISHED = {
    "b0": (1.0, 1.0, 5.3, 5_288_548),
    "b1": (1.0, 1.1, 7.8, 7_794_184),
    "b2": (1.1, 1.2, 9.2, 9_109_994),
    "b3": (1.2, 1.4, 12, 12_233_232),
    "b4": (1.4, 1.8, 19, 19_341_616),
    "b5": (1.6, 2.2, 30, 30_389_784),
    "b6": (1.8, 2.6, 43, 43_040_704),
    "b7": (2.0, 3.1, 66, 66_347_960),
}
# Table 1 of the paper, its stages 2 to 8: expansion, kernel, filters, blocks.
STAGES = (
    *((1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3)),
    *((6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1)),
)
B0_FILTERS = {16: 112, 8: 40, 4: 24, 2: 16}


@pytest.fixture
def undrawn():
    """Build models without drawing their weights."""
    with keras.StatelessScope(initialize_variables=False):
        yield


def trainable(model):
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def scaled(filters, width):
    """The nearest multiple of 8, no more than a tenth below."""
    nearest = max(8, int(filters * width + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * filters * width else nearest + 8


def encoder_by_formula(width, depth, channels=3):
    """Convolutions without bias, two weights per normalized channel, squeeze and excitation."""
    inward = scaled(32, width)
    total = 9 * channels * inward + 2 * inward
    for expansion, kernel, filters, blocks in STAGES:
        filters = scaled(filters, width)
        for _ in range(math.ceil(depth * blocks)):
            wide, squeezed = expansion * inward, inward // 4
            if expansion > 1:
                total += inward * wide + 2 * wide
            total += kernel**2 * wide + 2 * wide
            total += 2 * wide * squeezed + squeezed + wide
            total += wide * filters + 2 * filters
            inward = filters
    last = scaled(1280, width)
    return total + inward * last + 2 * last, last


@pytest.mark.parametrize("variant", PUBLISHED)
def test_the_formula_of_the_encoder_meets_the_published_counts(variant):
    width, depth, millions, exact = PUBLISHED[variant]
    encoder, features = encoder_by_formula(width, depth)
    assert encoder + 1000 * features + 1000 == exact
    half = 0.1 if variant == "b2" else 0.05 if millions < 10 else 0.5
    assert exact / 1e6 == pytest.approx(millions, abs=half)


def test_a_larger_encoder_is_that_of_the_formula(undrawn):
    """That of B0 is part of the next test; B2 is the smallest one both wider and deeper."""
    model = efficient((32, 32, 3), variant="b2")
    width, depth, *_ = PUBLISHED["b2"]
    assert trainable(model.get_layer("encoder")) == encoder_by_formula(width, depth)[0]


@pytest.mark.parametrize(
    ("size", "upsampling", "normalization", "dropout", "classes", "decoder_filters"),
    [
        ((32, 64), "transposed", "batch", 0.0, 1, (256, 128, 64, 32, 16)),
        ((None, None), "bilinear", "none", 0.3, 3, (8, 7, 6, 5, 4)),
    ],
)
def test_the_decoder_is_that_of_the_closed_formula(
    size, upsampling, normalization, dropout, classes, decoder_filters, undrawn
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
    assert trainable(model) - encoder_by_formula(1.0, 1.0, channels=1)[0] == wanted
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
