"""Facts about `seg.models.attention`: a U-Net, and gates on its skips."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.attention import attention
from seg.models.unet import unet

SMALL = {"levels": 3, "base_filters": 4}


def gates(model):
    return {layer.name: layer for layer in model.layers if layer.name.startswith("attention_")}


def of_the_unet(model):
    """Return the layers with weights that are no part of a gate."""
    return [
        layer
        for layer in model.layers
        if layer.weights
        and not (
            type(layer) is layers.Conv2D
            and layer.kernel_size in ((1, 1), (2, 2))
            and layer.name != "logits"
        )
    ]


@pytest.mark.parametrize(
    ("levels", "filters", "normalization"), [(2, 3, "none"), (4, 4, "none"), (3, 4, "batch")]
)
def test_parameters_are_those_of_the_unet_and_of_a_gate_per_skip(
    levels, filters, normalization, undrawn, trainable
):
    """A gate of a skip of f: 2x2 without bias 4ff, 1x1 of the coarser 2ff + f, the map f + 1."""
    options = {"levels": levels, "base_filters": filters, "normalization": normalization}
    widths = [filters * 2**i for i in range(levels - 1)]
    extra = sum(4 * f * f + 2 * f * f + f + f + 1 for f in widths)
    plain = trainable(unet((16, 16, 1), **options))
    assert trainable(attention((16, 16, 1), **options)) == plain + extra


def test_parameters_of_the_smallest_model_are_those_counted_by_hand(undrawn, trainable):
    """Two levels of 1 and 2 filters, kernel 3, one channel.

    Encoder 10 + 10, bridge 20 + 38, up 8 + 1, decoder 19 + 10, logits 2; gate 4 + 3 + 2.
    """
    model = attention((4, 4, 1), levels=2, base_filters=1, normalization="none")
    assert trainable(model) == 10 + 10 + 20 + 38 + 9 + 19 + 10 + 2 + 9


def test_with_all_gates_open_it_is_the_unet(images_BHWC):
    options = {"levels": 3, "base_filters": 4, "base_kernel": 5, "base_dilation": 2}
    gated, plain = attention((16, 32, 1), **options), unet((16, 32, 1), **options)
    for ours, theirs in zip(of_the_unet(gated), of_the_unet(plain), strict=True):
        ours.set_weights(theirs.get_weights())
    for gate in gates(gated).values():
        kernel, bias = gate.get_weights()
        gate.set_weights([0 * kernel, bias + 100])
    np.testing.assert_allclose(
        np.array(gated(images_BHWC)), np.array(plain(images_BHWC)), rtol=1e-4, atol=1e-5
    )


def test_with_all_gates_shut_no_skip_gets_through(images_BHWC):
    model = attention((16, 32, 1), **SMALL)
    for gate in gates(model).values():
        kernel, bias = gate.get_weights()
        gate.set_weights([0 * kernel, bias - 1e4])
    joints = [layer for layer in model.layers if isinstance(layer, layers.Concatenate)]
    outputs = keras.Model(model.input, [joint.output for joint in joints])(images_BHWC)
    for joint_BHWF, filters in zip(outputs, (8, 4), strict=True):
        upsampled, skip = np.split(np.array(joint_BHWF), [filters], axis=-1)
        assert np.abs(upsampled).max() > 0
        np.testing.assert_array_equal(skip, 0)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_map_of_a_level_lies_between_0_and_1_at_the_size_of_the_level_below(level, images_BHWC):
    model = attention((16, 32, 1), levels=4, base_filters=2)
    map_BHW1 = np.array(
        keras.Model(model.input, gates(model)[f"attention_{level}"].output)(images_BHWC)
    )
    assert map_BHW1.shape == (2, 16 // 2 ** (level + 1), 32 // 2 ** (level + 1), 1)
    assert 0 <= map_BHW1.min() < map_BHW1.max() <= 1


def test_there_is_a_map_for_each_skip(undrawn):
    assert sorted(gates(attention((16, 16, 1), levels=4, base_filters=2))) == [
        "attention_0",
        "attention_1",
        "attention_2",
    ]


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((40, 32), {"levels": 5}, r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"),
        ((32, 32), {"base_kernel": 2}, "base_kernel must be odd. Received: 2"),
        ((32, 32), {"dropout": 0.25}, "less than 1. Received: 0.25"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attention((*size, 1), **options)
