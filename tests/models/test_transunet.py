"""Facts about `seg.models.transunet`: its exact size, what sees what, what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.transunet import PositionEmbedding, StandardizedConv2D, transunet

SMALL = {
    **{"hidden": 8, "depth": 1, "heads": 2, "mlp": 16},
    **{"stages": (1, 1, 1), "width": 4, "decoder_filters": (8, 8, 8, 4)},
}
SHORT = SMALL | {"stages": (1,), "decoder_filters": (8, 4)}


def by_table(side, classes, channels=3, hidden=768, depth=12, mlp=3072, stages=(3, 4, 9), w=64):
    """Sum the authors' layer table, with the decoder's filters at 256, 128, 64 and 16."""
    total, inward, skips = 49 * channels * w + 2 * w, w, [0, w]
    for stage, blocks in enumerate(stages):
        middle, outward = w * 2**stage, 4 * w * 2**stage
        total += inward * outward + 2 * outward  # projection and its normalization
        for _ in range(blocks):
            total += inward * middle + 9 * middle**2 + middle * outward + 4 * middle + 2 * outward
            inward = outward
        skips.append(outward)
    total += inward * hidden + hidden + (side // 16) ** 2 * hidden
    total += depth * (4 * hidden * (hidden + 1) + 2 * hidden * mlp + mlp + hidden + 4 * hidden)
    total += 2 * hidden + 9 * hidden * 512 + 2 * 512
    inward = 512
    for filters, skip in zip((256, 128, 64, 16), skips[-2::-1], strict=True):
        total += 9 * (inward + skip + filters) * filters + 4 * filters
        inward = filters
    return total + 9 * inward * classes + classes


def moved_HW(tokens, maps_BHWF, row, column):
    """Where the transformer's output changes when one token of its input map does: bool."""
    other_BHWF = maps_BHWF.copy()
    other_BHWF[0, row, column, 0] += 3
    return np.any(np.array(tokens(maps_BHWF)) != np.array(tokens(other_BHWF)), axis=-1)[0]


def transformer(**options):
    """The part from the patch embedding to the decoder, on maps of 2 x 3 tokens."""
    model = transunet((8, 12, 1), **SHORT | options)
    return keras.Model(model.get_layer("embed").output, model.get_layer("encoded").output)


@pytest.fixture
def maps_BHWF():
    return np.random.default_rng(1).normal(size=(1, 2, 3, 8)).astype("float32")


@pytest.fixture(scope="module")
def published():
    """Return the published model at 224 x 224 pixels, its weights never drawn."""
    with keras.StatelessScope(initialize_variables=False):
        return transunet((224, 224, 3), classes=9)


def test_the_published_model_has_the_published_parameters(published, trainable):
    """105.28 M is the figure in circulation for 224 x 224 pixels (the paper itself gives none).

    Exactly: 105 276 066, table 3 of Sun et al. 2024 (DA-TransUNet, Frontiers in Bioengineering
    and Biotechnology 12, 1398237), which is the authors' code with its default of 2 classes; each
    class more has a 3x3 kernel on 16 channels and a bias, so that their 9 of Synapse give
    105 277 081. Papers at 256 x 256 pixels state 105.32 M (table 1 of Rahman et al. 2024, EMCAD,
    arXiv 2405.06880): 60 positions of 768 more, for 256 tokens instead of 196.
    """
    assert by_table(224, 2) == 105_276_066
    assert round(by_table(256, 1) / 1e6, 2) == 105.32
    assert trainable(published) == by_table(224, 9) == 105_276_066 + 7 * (9 * 16 + 1)
    assert round(trainable(published) / 1e6, 2) == 105.28


def test_parameters_follow_every_number_of_the_table(undrawn, trainable):
    options = {"hidden": 12, "depth": 2, "mlp": 20, "stages": (2, 1, 3)}
    model = transunet((32, 32, 1), heads=3, width=8, classes=2, **options)
    assert trainable(model) == by_table(32, 2, channels=1, w=8, **options)


def test_the_stages_halve_the_map_and_double_the_filters(published):
    shapes = {
        "root": (112, 112, 64),
        "stage0_block2": (56, 56, 256),
        "stage1_block3": (28, 28, 512),
        "stage2_block8": (14, 14, 1024),
        "tokens": (196, 768),
        "encoded": (14, 14, 768),
        "logits": (224, 224, 9),
    }
    assert {name: published.get_layer(name).output.shape[1:] for name in shapes} == shapes


def test_the_decoder_takes_the_skips_of_an_eighth_a_quarter_and_half_the_image(published):
    joins = [layer for layer in published.layers if isinstance(layer, layers.Concatenate)]
    sources = ["stage1_block3", "stage0_block2", "root"]
    for join, source, below in zip(joins, sources, [512, 256, 128], strict=True):
        assert join.input[1] is published.get_layer(source).output
        assert join.input[0].shape == (*join.input[1].shape[:3], below)


def test_every_group_normalization_has_32_groups_but_the_projections(published):
    groups = [g.groups for g in published.layers if isinstance(g, layers.GroupNormalization)]
    assert sorted(groups) == [32] * (1 + 3 * (3 + 4 + 9)) + [256, 512, 1024]


def test_a_token_reaches_every_token_through_attention_alone(maps_BHWF):
    """Not seen in the logits: the ResNet's group normalization spreads a pixel's change too."""
    assert moved_HW(transformer(), maps_BHWF, 0, 0).all()
    moved = moved_HW(transformer(depth=0), maps_BHWF, 1, 2)
    np.testing.assert_array_equal(moved, [[False, False, False], [False, False, True]])


def test_places_differ_by_their_position_embedding_alone(maps_BHWF):
    tokens = transformer()
    flipped_BHWF = maps_BHWF[:, ::-1, ::-1]
    answer_BHWF = np.array(tokens(maps_BHWF))
    np.testing.assert_allclose(tokens(flipped_BHWF)[:, ::-1, ::-1], answer_BHWF, atol=1e-5)
    embedding = tokens.get_layer("tokens")
    embedding.set_weights([np.random.default_rng(2).normal(size=(6, 8))])
    answer_BHWF = np.array(tokens(maps_BHWF))
    assert np.abs(tokens(flipped_BHWF)[:, ::-1, ::-1] - answer_BHWF).min() > 1e-5


def test_the_position_embedding_adds_its_row_to_each_token():
    embedding = PositionEmbedding()
    ones_BTF = np.ones((2, 3, 4), "float32")
    np.testing.assert_array_equal(np.array(embedding(ones_BTF)), ones_BTF)
    rows_TF = np.arange(12, dtype="float32").reshape(3, 4)
    embedding.set_weights([rows_TF])
    np.testing.assert_array_equal(np.array(embedding(ones_BTF)), [rows_TF + 1] * 2)


def test_a_standardized_kernel_has_mean_0_and_variance_1_by_hand():
    """A 1x1 kernel is a matrix; without the kernel's own scale and offset, nothing else is left."""
    layer = StandardizedConv2D(4, 1, use_bias=False)
    x_BHWC = np.random.default_rng(3).normal(size=(1, 2, 2, 8)).astype("float32")
    before_BHWF = np.array(layer(x_BHWC))
    (kernel,) = layer.get_weights()
    standard = (kernel - kernel.mean((0, 1, 2))) / np.sqrt(kernel.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(before_BHWF, x_BHWC @ standard[0, 0], rtol=1e-4, atol=1e-5)
    layer.set_weights([3 * kernel + [0.1, -0.2, 0.3, 0.4]])
    np.testing.assert_allclose(np.array(layer(x_BHWC)), before_BHWF, rtol=1e-3, atol=1e-3)


def test_a_kernel_is_standardized_before_it_is_rounded():
    """Float16 knows 100 and 100.0625; a filter of numbers between them would become a constant."""
    rng = np.random.default_rng(4)
    x_BHWC = rng.normal(size=(1, 2, 2, 8)).astype("float32")
    exact, half = (StandardizedConv2D(4, 1, dtype=p) for p in ("float32", "mixed_float16"))
    assert keras.backend.standardize_dtype(half(x_BHWC).dtype) == "float16"
    exact(x_BHWC)
    kernel = 100 + 0.01 * rng.normal(size=(1, 1, 8, 4))
    for layer in (exact, half):
        layer.set_weights([kernel, np.zeros(4)])
    exact_BHWF, half_BHWF = np.array(exact(x_BHWC)), np.array(half(x_BHWC))
    assert np.abs(exact_BHWF).max() > 1
    np.testing.assert_allclose(half_BHWF, exact_BHWF, atol=0.02)


def test_the_roots_windows_are_centred_on_every_second_pixel():
    """Window i of 7 covers pixels 2i - 3 to 2i + 3, so pixel 4 lies in windows 1, 2 and 3."""
    model = transunet((16, 32, 1), **SMALL)
    root = next(layer for layer in model.layers if isinstance(layer, StandardizedConv2D))
    convolved = keras.Model(model.input, root.output)
    images_BHWC = np.zeros((1, 16, 32, 1), "float32")
    images_BHWC[0, 4, 4] = 1
    seen_HW = np.any(np.array(convolved(images_BHWC)) != 0, axis=-1)[0]
    expected_HW = np.zeros((8, 16), bool)
    expected_HW[1:4, 1:4] = True
    np.testing.assert_array_equal(seen_HW, expected_HW)


def test_transposed_upsampling_keeps_the_channels(undrawn):
    model = transunet((16, 16, 1), upsampling="transposed", **SMALL)
    ups = [layer for layer in model.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert [(up.filters, up.strides) for up in ups] == [(f, (2, 2)) for f in (16, 8, 8, 8)]
    assert not [layer for layer in model.layers if isinstance(layer, layers.UpSampling2D)]


def test_dropout_acts_after_the_embedding_and_in_the_mlps_only(undrawn):
    model = transunet((16, 16, 1), **SMALL | {"depth": 3, "dropout": 0.25})
    drops = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert drops == [0.25] * (1 + 2 * 3)


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((None, 32), {}, "must be fixed, .* Received: Nonex32; type dataset.image_size=224$"),
        ((32, None), {}, "must be fixed, .* Received: 32xNone; type dataset.image_size=224$"),
        ((40, 32), {}, r"multiple of 16 .* Received: 40x32; take dataset.image_size=\[32,32\]"),
        (
            (32, 32),
            {"hidden": 9},
            "model.hidden .* Received: 9 and 2; type model.hidden=12 model.heads=12$",
        ),
        ((32, 32), {"depth": -1}, "model.depth must be 0 or more. Received: -1$"),
        ((32, 32), {"stages": (1, 0, 1)}, r"Received: \[1, 0, 1\]; type model.stages=\[3,4,9\]$"),
        ((32, 32), {"stages": ()}, r"at least 1. Received: \[\]; type model.stages=\[3,4,9\]$"),
        (
            (32, 32),
            {"stages": (1, 1)},
            r"Received: \[8, 8, 8, 4\] and \[1, 1\]; .*filters=\[64, 32, 16\]",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        transunet((*size, 1), **SMALL | options)


def test_the_remedy_of_fewer_stages_works(undrawn):
    options = SMALL | {"stages": (1, 1), "decoder_filters": (64, 32, 16)}
    assert transunet((24, 16, 1), **options).output_shape == (None, 24, 16, 1)
