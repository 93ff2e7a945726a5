"""Facts about `seg.models.unet3plus`: its exact size, and what each decoder node sees."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.unet3plus import unet3plus

SMALL = {"levels": 3, "base_filters": 2, "skip_filters": 3}


def normalized_channels(model):
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return sum(layer.gamma.shape[0] for layer in norms)


def encoder_maps(model, levels):
    """The encoder's maps, finest first: each is what all pooling of its size reads."""
    pooled = {}
    for layer in model.layers:
        if isinstance(layer, layers.MaxPooling2D):
            pooled.setdefault(layer.input.shape[1], {})[id(layer.input)] = layer.input
    assert all(len(tensors) == 1 for tensors in pooled.values())
    maps = [next(iter(pooled[side].values())) for side in sorted(pooled, reverse=True)]
    return [*maps, decoder_map(model, levels - 1)]


def decoder_map(model, level):
    return model.get_layer(f"side_{level}" if level else "logits").input


def by_formula(channels, levels, filters, skip, per_channel, supervised, classes):
    """Sum 9 * in * out + per_channel * out over the blocks, and 9 * in * out + out over the sides.

    A block has one number per channel as bias, or two if it is normalized by the batch.
    """
    f, node = [filters * 2**i for i in range(levels)], levels * skip
    total, inward = 0, channels
    for i in range(levels):
        total += 9 * (inward + f[i]) * f[i] + 2 * per_channel * f[i]
        inward = f[i]
    for i in range(levels - 1):
        seen = sum(f[: i + 1]) + node * (levels - 2 - i) + f[-1]
        total += 9 * seen * skip + 9 * node * node + 2 * per_channel * node
    sides = [node] * (levels - 1) + [f[-1]] if supervised else [node]
    return total + sum(9 * side * classes + classes for side in sides)


def test_the_published_setting_has_the_published_parameters(undrawn, trainable):
    """26.97M in the paper's table: by arithmetic, the one without deep supervision.

    Counted with a bias in each normalized convolution, as in the authors' models/UNet_3Plus; the
    normalization takes these 6,528 away again. The four other sides make it 26.99M.
    """
    plain = unet3plus((256, 256, 3), deep_supervision=False)
    deep = unet3plus((256, 256, 3))
    assert trainable(plain) == 26_965_249
    assert normalized_channels(plain) == 2 * (64 + 128 + 256 + 512 + 1024) + 4 * (5 * 64 + 320)
    assert trainable(plain) + normalized_channels(plain) == 26_971_777
    assert trainable(deep) + normalized_channels(deep) == 26_989_637
    assert plain.output_shape == (None, 256, 256, 1)


@pytest.mark.parametrize(
    ("channels", "levels", "filters", "skip", "normalization", "supervised", "classes"),
    [
        (1, 2, 3, 2, "none", True, 1),
        (3, 4, 2, 5, "none", False, 2),
        (1, 3, 4, 3, "batch", True, 3),
    ],
)
def test_parameters_are_those_of_the_closed_formula(
    channels, levels, filters, skip, normalization, supervised, classes, undrawn, trainable
):
    model = unet3plus(
        (16, 16, channels),
        levels=levels,
        base_filters=filters,
        skip_filters=skip,
        normalization=normalization,
        deep_supervision=supervised,
        classes=classes,
    )
    per_channel = 2 if normalization == "batch" else 1
    assert trainable(model) == by_formula(
        channels, levels, filters, skip, per_channel, supervised, classes
    )


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_decoder_node_sees_every_scale_and_nothing_else(level):
    """Cut off from all but one map per scale, it is still computable, and each map reaches it.

    A spot in a map's first corner reaches the node's first corner and not its last, so that the
    maps are enlarged and pooled by the factors between their sizes.
    """
    size, levels = 64, 5
    model = unet3plus((size, size, 1), levels, 2, 2, normalization="none", activation="linear")
    fine = encoder_maps(model, levels)[: level + 1]
    coarse = [decoder_map(model, other) for other in range(level + 1, levels)]
    assert [x.shape[1] for x in fine + coarse] == [64, 32, 16, 8, 4]
    node = keras.Model(fine + coarse, decoder_map(model, level))
    assert node.output_shape == (None, size >> level, size >> level, levels * 2)
    for source in range(levels):
        spots = [np.zeros((1, *x.shape[1:]), "float32") for x in fine + coarse]
        spots[source][0, 0, 0] = 1
        node_HWF = np.array(node(spots))[0]
        assert np.abs(node_HWF[0, 0]).max() > 0
        assert np.abs(node_HWF[-1, -1]).max() == 0


def test_all_outputs_of_deep_supervision_cover_the_image(images_BHWC):
    model = unet3plus((16, 32, 1), classes=2, **SMALL)
    outputs = [np.array(output) for output in model(images_BHWC, training=True)]
    assert [output.shape for output in outputs] == [(2, 16, 32, 2)] * 3
    convs = [model.get_layer(name) for name in ("logits", "side_1", "side_2")]
    assert [conv.output.shape[1:3] for conv in convs] == [(16, 32), (8, 16), (4, 8)]
    assert [conv.kernel.shape for conv in convs] == [(3, 3, 9, 2), (3, 3, 9, 2), (3, 3, 8, 2)]


def test_the_answer_is_the_finest_node(images_BHWC):
    model = unet3plus((16, 32, 1), **SMALL)
    answer = keras.Model(model.input, model.get_layer("logits").output)
    np.testing.assert_array_equal(model(images_BHWC), answer(images_BHWC))


def test_one_model_takes_images_of_any_fitting_size(images_BHWC):
    model = unet3plus((None, None, 1), **SMALL)
    assert model(images_BHWC).shape == (2, 16, 32, 1)
    assert model(images_BHWC[:, :4, :12]).shape == (2, 4, 12, 1)


def test_every_output_is_enlarged_in_float32(restored_policy, undrawn):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = unet3plus((16, 32, 1), **SMALL)
    assert decoder_map(model, 2).dtype == "bfloat16"
    last = [output._keras_history.operation for output in model.outputs]
    assert [layer.compute_dtype for layer in last] == ["float32"] * 3


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((40, 32), {}, r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"),
        ((32, 20), {"levels": 4}, r"multiple of 8 \(4 levels\). Received: 32x20; .*\[32,16\]"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        unet3plus((*size, 1), **options)
