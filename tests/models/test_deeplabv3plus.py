"""Facts about `seg.models.deeplabv3plus`: its size, its pyramid, and what reaches the answer."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.blocks import conv
from seg.models.deeplabv3plus import _pyramid, deeplabv3plus

# Documented by torchvision (num_params of COCO_WITH_VOC_LABELS_V1) for DeepLabV3, 21 classes.
TORCHVISION_V3 = {"resnet50": 42_004_074, "resnet101": 60_996_202}
# Documented by KerasHub for deeplab_v3_plus_resnet50_pascalvoc, moving statistics included; its
# decoder is one 1x1 convolution of 256 + 48 features.
KERASHUB_V3_PLUS = {"resnet50": 39_190_656}
# Normalized channels of the ResNets: 4 stages of bottlenecks f, f, 4f, their shortcuts, the stem.
CHANNELS = {
    name: 64 + sum(blocks * 6 * f + 4 * f for f, blocks in zip((64, 128, 256, 512), n, strict=True))
    for name, n in {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}.items()
}


def weights(kernel, inward, outward):
    """Weights of a convolution without bias, and of its batch normalization."""
    return kernel**2 * inward * outward + 2 * outward


@pytest.mark.parametrize("encoder", ["resnet50", "resnet101"])
def test_encoder_and_pyramid_are_those_of_torchvision_and_the_decoder_that_of_the_paper(
    encoder, undrawn, trainable
):
    """The paper states no count for a ResNet; Keras' ResNets have biases before normalizations."""
    head = weights(3, 256, 256) + 256 * 21 + 21
    auxiliary = weights(3, 1024, 256) + 256 * 21 + 21
    decoder = weights(1, 256, 48) + weights(3, 256 + 48, 256) + weights(3, 256, 256) + 256 * 3 + 3
    model = deeplabv3plus((64, 64, 3), encoder=encoder, classes=3)
    encoder_and_pyramid = trainable(model) - CHANNELS[encoder] - decoder
    assert encoder_and_pyramid == TORCHVISION_V3[encoder] - head - auxiliary
    if encoder in KERASHUB_V3_PLUS:
        projections = weights(1, 256, 48) + weights(1, 256 + 48, 256)
        statistics = 2 * (CHANNELS[encoder] + 6 * 256 + 48 + 256)
        assert encoder_and_pyramid + projections + statistics == KERASHUB_V3_PLUS[encoder]


def test_pyramid_and_decoder_are_those_of_the_closed_formula_for_images_of_any_size(
    undrawn, trainable
):
    options = {"filters": 8, "low_level_filters": 3, "dilations": (2, 5), "dropout": 0}
    model = deeplabv3plus((None, None, 1), **options)
    pyramid = 2 * weights(1, 2048, 8) + 2 * weights(3, 2048, 8) + weights(1, 4 * 8, 8)
    decoder = weights(1, 256, 3) + weights(3, 8 + 3, 8) + weights(3, 8, 8) + 8 + 1
    assert trainable(model) - trainable(model.get_layer("encoder")) == pyramid + decoder
    assert model.output_shape == (None, None, None, 1)
    convs = [x for x in model.layers if isinstance(x, layers.Conv2D) and x.kernel_size == (3, 3)]
    assert [conv.dilation_rate[0] for conv in convs] == [2, 5, 1, 1]
    assert not [layer for layer in model.layers if isinstance(layer, layers.Dropout)]


def test_the_answer_sees_the_map_of_stride_16_and_that_of_stride_4():
    keras.utils.set_random_seed(0)
    model = deeplabv3plus((32, 32, 1), filters=8, low_level_filters=8, normalization="group")
    convs = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    coarse = next(conv.input for conv in convs if conv.dilation_rate == (6, 6))
    fine = next(conv.input for conv in convs if conv.kernel.shape == (1, 1, 256, 8))
    assert (coarse.shape, fine.shape) == ((None, 2, 2, 2048), (None, 8, 8, 256))
    rng = np.random.default_rng(0)
    encode = keras.Model(model.input, [coarse, fine])
    assert all(np.std(x_BHWF) > 0 for x_BHWF in encode(rng.uniform(size=(1, 32, 32, 1))))
    decode = keras.Model([coarse, fine], model.output)
    maps = [rng.normal(size=(1, *x.shape[1:])).astype("float32") for x in (coarse, fine)]
    answer_BHWC = np.array(decode(maps))
    assert answer_BHWC.shape == (1, 32, 32, 1)
    assert answer_BHWC.dtype == np.float32
    for k in (0, 1):
        moved = [
            x_BHWF + 3 * (k == j) * np.arange(x_BHWF.shape[1])[:, None, None]
            for j, x_BHWF in enumerate(maps)
        ]
        assert np.abs(decode(moved) - answer_BHWC).max() > 1e-3


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_the_mean_of_the_map_reaches_every_pixel_and_nothing_else_does(normalization):
    """With a dilation wider than the map, each other branch sees its own pixel only."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 5))
    block = partial(conv, normalization=normalization, activation="mish")
    pyramid = keras.Model(inputs, _pyramid(inputs, 8, (4,), block))
    x_BHWC = np.random.default_rng(0).normal(size=(1, 3, 2, 5)).astype("float32")
    swapped, moved = x_BHWC.copy(), x_BHWC.copy()
    swapped[0, [0, 1], 0] = x_BHWC[0, [1, 0], 0]
    moved[0, 0, 0] += 5
    last = (0, 2, 1)
    answer = np.array(pyramid(x_BHWC))
    assert answer.shape == (1, 3, 2, 8)
    np.testing.assert_allclose(pyramid(swapped)[last], answer[last], atol=1e-5)
    assert np.abs(pyramid(moved)[last] - answer[last]).max() > 1e-3


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((40, 32), {}, r"multiple of 16 \(the output stride.*Received: 40x32; .*\[32,32\]"),
        ((32, 32), {"encoder": "efficientnetb0"}, "resnet50, resnet101. Received: efficientnetb0"),
        ((32, 32), {"weights": "coco"}, "model.weights must be null, .* Received: coco"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence, undrawn):
    with pytest.raises(ValueError, match=sentence):
        deeplabv3plus((*size, 1), **options)
