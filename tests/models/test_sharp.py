"""Facts about `seg.models.sharp`: a U-Net, and a constant kernel on each of its skips."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.sharp import sharp
from seg.models.unet import unet

SMALL = {"levels": 3, "base_filters": 4}
LAPLACIAN = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])


def sharpeners(model):
    return [layer for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D)]


def by_hand(image_HW):
    """Return 8 times each pixel less its eight neighbours, zeros beyond the border."""
    padded = np.pad(image_HW, 1)
    height, width = image_HW.shape
    square = sum(padded[i : i + height, j : j + width] for i in range(3) for j in range(3))
    return 9 * image_HW - square


def test_what_no_training_changes_is_nine_numbers_for_each_filter_of_a_skip(undrawn, trainable):
    model = sharp((32, 32, 3), base_filters=32, dropout=0, normalization="none")
    assert model.count_params() - trainable(model) == 9 * (32 + 64 + 128 + 256)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": 2, "base_filters": 3, "normalization": "none"},
        {"levels": 4, "base_filters": 2, "normalization": "batch", "base_kernel": 5, "classes": 3},
        {"levels": 3, "base_filters": 4, "normalization": "instance", "upsampling": "bilinear"},
    ],
)
def test_nothing_learns_but_what_learns_in_the_unet_of_the_same_options(
    options, undrawn, trainable
):
    ours, theirs = sharp((16, 16, 1), **options), unet((16, 16, 1), **options)
    assert trainable(ours) == trainable(theirs)


def test_there_is_a_sharpener_for_each_skip_with_the_skips_filters(undrawn):
    shapes = {layer.name: layer.output.shape for layer in sharpeners(sharp((16, 32, 1), **SMALL))}
    assert shapes == {"sharp_1": (None, 8, 16, 8), "sharp_0": (None, 16, 32, 4)}


def test_what_is_concatenated_is_each_channel_of_the_skip_convolved_with_the_laplacian(
    images_BHWC,
):
    model = sharp((16, 32, 1), **SMALL)
    layer = model.get_layer("sharp_0")
    joint = [part for part in model.layers if isinstance(part, layers.Concatenate)][-1]
    skip, joined = keras.Model(model.input, [layer.input, joint.output])(images_BHWC)
    skip_HWF, joined_HWF = np.array(skip)[0], np.array(joined)[0]
    assert skip_HWF.max() > 0
    for channel in range(4):
        wanted = by_hand(skip_HWF[..., channel])
        np.testing.assert_allclose(joined_HWF[..., 4 + channel], wanted, atol=1e-4)


def test_of_a_flat_region_nothing_passes():
    layer = sharp((16, 32, 1), **SMALL).get_layer("sharp_0")
    flat_BHWF = np.full((1, 5, 5, 4), 3, "float32")
    np.testing.assert_array_equal(np.array(layer(flat_BHWF))[:, 1:-1, 1:-1], 0)


def test_with_kernels_that_change_nothing_it_is_the_unet(images_BHWC):
    options = {"levels": 3, "base_filters": 2, "base_kernel": 5, "base_dilation": 2}
    options |= {"normalization": "none", "dropout": 0.0}
    ours, theirs = sharp((16, 32, 1), **options), unet((16, 32, 1), **options)
    for layer in sharpeners(ours):
        layer.set_weights(
            [np.where(LAPLACIAN[:, :, None, None] > 0, 1, 0 * layer.get_weights()[0])]
        )
    of_the_unet = [
        layer for layer in ours.layers if layer.weights and layer not in sharpeners(ours)
    ]
    for layer, other in zip(of_the_unet, [x for x in theirs.layers if x.weights], strict=True):
        layer.set_weights(other.get_weights())
    np.testing.assert_allclose(
        np.array(ours(images_BHWC)), np.array(theirs(images_BHWC)), rtol=1e-4, atol=1e-5
    )


def test_the_image_may_have_any_size_that_halves(images_BHWC):
    model = sharp((None, None, 1), **SMALL)
    assert model(images_BHWC).shape == (2, 16, 32, 1)
    assert model(images_BHWC[:, :8, :12]).shape == (2, 8, 12, 1)


@pytest.mark.parametrize(
    ("size_HW", "options", "sentence"),
    [
        ((40, 32), {"levels": 5}, r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"),
        ((32, 32), {"base_kernel": 2}, "base_kernel must be odd. Received: 2"),
        ((32, 32), {"dropout": 0.25}, "less than 1. Received: 0.25"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size_HW, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        sharp((*size_HW, 1), **options)
