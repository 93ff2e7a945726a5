"""Facts about `seg.models.u2net`: its exact size, its blocks, its sides."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.u2net import rsu, u2net

SMALL = {"small": True, "base_filters": 4}
# The paper's table: height, input, middle and output channels of En_1 to En_6 and De_5 to De_1.
# En_5, En_6 and De_5 are flat, which changes no count.
PAPER = [
    *[(7, 3, 32, 64), (6, 64, 32, 128), (5, 128, 64, 256)],
    *[(4, 256, 128, 512), (4, 512, 256, 512), (4, 512, 256, 512)],
    *[(4, 1024, 256, 512), (4, 1024, 128, 256), (5, 512, 64, 128)],
    *[(6, 256, 32, 64), (7, 128, 16, 64)],
]
PAPER_SMALL = [
    *[(7, 3, 16, 64), (6, 64, 16, 64), (5, 64, 16, 64), *[(4, 64, 16, 64)] * 3],
    *[(4, 128, 16, 64), (4, 128, 16, 64), (5, 128, 16, 64), (6, 128, 16, 64), (7, 128, 16, 64)],
]


@pytest.fixture(scope="module")
def declared():
    """A narrow model whose weights are declared and never drawn."""
    with keras.StatelessScope(initialize_variables=False):
        return u2net((64, 64, 1), **SMALL)


def normalized_channels(model):
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return sum(layer.gamma.shape[0] for layer in norms)


def convolutions(model):
    """Rows of side, dilation, input and output channels of the 3x3 convolutions, in order."""
    convs = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert all(conv.kernel_size == (3, 3) for conv in convs)
    return [
        (conv.output.shape[1], conv.dilation_rate[0], conv.input.shape[-1], conv.filters)
        for conv in convs
    ]


def by_formula(table, per_channel, classes):
    """Sum 9 * in * out + per_channel * out over the blocks' convolutions; sides and fusion."""
    total = 0
    for height, inward, middle, out in table:
        total += 9 * inward * out + 9 * out * middle + 9 * 2 * middle * out
        total += 9 * (height - 1) * middle**2 + 9 * (height - 2) * 2 * middle**2
        total += per_channel * (2 * out + (2 * height - 2) * middle)
    for *_, side in table[5:]:
        total += 9 * side * classes + classes
    return total + 6 * classes**2 + classes


@pytest.mark.parametrize(
    ("small", "table", "published"), [(False, PAPER, 44_009_869), (True, PAPER_SMALL, 1_131_181)]
)
def test_both_settings_have_exactly_the_published_parameters(
    small, table, published, undrawn, trainable
):
    """The counts of the authors' model/u2net.py; the paper gives files of 176.3 and 4.7 MB.

    Theirs has a bias in each normalized convolution, which the normalization takes away again:
    one per normalized channel.
    """
    model = u2net((288, 288, 3), small=small)
    assert trainable(model) + normalized_channels(model) == published
    assert trainable(model) == by_formula(table, 2, 1)
    assert published == by_formula(table, 3, 1)


def test_parameters_of_a_narrow_model_are_those_of_the_closed_formula(undrawn, trainable):
    model = u2net((32, 32, 1), base_filters=8, normalization="none", classes=2)
    table = [(height, *(c // 8 for c in channels)) for height, *channels in PAPER]
    table[0] = (7, 1, 4, 8)
    assert trainable(model) == by_formula(table, 1, 2)


def test_a_block_of_height_7_halves_five_times_and_dilates_once(undrawn):
    down = [(64, 1, 1, 5), (64, 1, 5, 3), *[(side, 1, 3, 3) for side in (32, 16, 8, 4, 2)]]
    up = [(2, 2, 3, 3), *[(side, 1, 6, 3) for side in (2, 4, 8, 16, 32)], (64, 1, 6, 5)]
    inputs = keras.Input((64, 64, 1))
    model = keras.Model(inputs, rsu(inputs, 7, 3, 5))
    assert convolutions(model) == down + up
    assert model.output_shape == (None, 64, 64, 5)


def test_a_flat_block_dilates_instead_of_halving(undrawn):
    down = [(8, 1, 2, 5), (8, 1, 5, 3), (8, 2, 3, 3), (8, 4, 3, 3), (8, 8, 3, 3)]
    up = [(8, 4, 6, 3), (8, 2, 6, 3), (8, 1, 6, 5)]
    inputs = keras.Input((8, 8, 2))
    model = keras.Model(inputs, rsu(inputs, 4, 3, 5, flat=True))
    assert convolutions(model) == down + up


def test_a_block_adds_its_first_convolution_to_its_last():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, rsu(inputs, 4, 2, 3))
    first, *_, last = [la for la in model.layers if isinstance(la, layers.Activation)]
    ends = keras.Model(inputs, [first.output, last.output, model.output])
    x_BHWC = np.random.default_rng(0).uniform(size=(1, 8, 8, 1)).astype("float32")
    first_BHWF, last_BHWF, sum_BHWF = map(np.array, ends(x_BHWC))
    assert first_BHWF.any()
    assert last_BHWF.any()
    np.testing.assert_allclose(sum_BHWF, first_BHWF + last_BHWF, rtol=1e-6)


def test_stages_1_to_4_halve_down_to_the_size_of_stage_6(declared):
    """Each block dilates by 2 on its deepest map; a flat one twice, as do the three of 5 and 6."""
    convs = [layer for layer in declared.layers if isinstance(layer, layers.Conv2D)]
    dilated = [conv.output.shape[1] for conv in convs if conv.dilation_rate[0] == 2]
    assert sorted(dilated) == [2] * (8 + 2) + [4] * (2 + 2)


def test_sides_are_enlarged_to_the_image_and_fused_to_the_answer():
    model = u2net((None, None, 1), normalization="none", classes=2, **SMALL)
    images_BHWC = np.random.default_rng(0).uniform(size=(1, 32, 64, 1)).astype("float32")
    answer_BHWC, *sides = [np.array(output) for output in model(images_BHWC, training=True)]
    assert [side_BHWC.shape for side_BHWC in sides] == [(1, 32, 64, 2)] * 6
    fusion = model.get_layer("logits")
    fused_BHWC = np.concatenate(sides, -1) @ np.array(fusion.kernel)[0, 0] + np.array(fusion.bias)
    np.testing.assert_allclose(answer_BHWC, fused_BHWC, rtol=1e-4, atol=1e-5)


def test_side_i_sees_maps_of_half_the_size_of_those_of_side_i_minus_1(declared):
    convs = [declared.get_layer(f"side_{i}") for i in range(1, 7)]
    assert [conv.output.shape[1:] for conv in convs] == [(64 >> i, 64 >> i, 1) for i in range(6)]
    sides = [output._keras_history.operation for output in declared.outputs[1:]]
    assert sides[0] is convs[0]
    assert [side.size for side in sides[1:]] == [(2**i, 2**i) for i in range(1, 6)]
    assert {side.interpolation for side in sides[1:]} == {"bilinear"}


def test_without_deep_supervision_there_is_one_output_and_the_same_weights(
    declared, undrawn, trainable
):
    model = u2net((64, 64, 1), deep_supervision=False, **SMALL)
    assert (len(model.outputs), len(declared.outputs)) == (1, 7)
    assert trainable(model) == trainable(declared)


def test_sides_are_enlarged_and_fused_in_float32(restored_policy, undrawn):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = u2net((32, 32, 1), **SMALL)
    assert model.get_layer("side_1").input.dtype == "bfloat16"
    fusion = model.get_layer("logits")
    last = [output._keras_history.operation for output in (*model.outputs, fusion.input)]
    assert [layer.compute_dtype for layer in last] == ["float32"] * 8


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((48, 64), {}, r"multiple of 32 \(stage 1 halves 5 times\). Received: 48x64; .*\[64,64\]"),
        ((64, 16), {}, r"multiple of 32 .*. Received: 64x16; .*\[64,32\]"),
        ((32, 32), {"base_filters": 18}, "multiple of 4. Received: 18; take 16"),
        ((32, 32), {"base_filters": 0}, "multiple of 4. Received: 0; take 4"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        u2net((*size, 1), **options)
