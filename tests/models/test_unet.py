"""Facts about `seg.models.unet`: its size by formula, its schedule, what it refuses."""

import numpy as np
import pytest
from keras import layers

from seg.models.unet import unet

SMALL = {"levels": 3, "base_filters": 4}


def by_formula(channels, levels, filters, kernel, normalised, classes):
    """Sum k^2 * in * out + out over the convolutions, and 2 per normalised channel."""
    f = [filters * 2**i for i in range(levels)]
    k = [max(3, kernel - 2 * i) for i in range(levels)]
    norm = 2 if normalised else 0
    total, inward = 0, channels
    for i in range(levels):
        total += k[i] ** 2 * (inward + f[i]) * f[i] + (2 + 2 * norm) * f[i]
        inward = f[i]
    for i in reversed(range(levels - 1)):
        total += 4 * f[i + 1] * f[i] + f[i]
        total += k[i] ** 2 * (2 * f[i] + f[i]) * f[i] + (2 + 2 * norm) * f[i]
    return total + f[0] * classes + classes


@pytest.mark.parametrize(
    ("channels", "levels", "filters", "kernel", "normalization", "classes"),
    [
        (1, 2, 3, 3, "none", 1),
        (3, 4, 2, 7, "none", 2),
        (1, 3, 4, 3, "batch", 1),
        (3, 4, 2, 5, "batch", 3),
    ],
)
def test_parameters_are_those_of_the_closed_formula(
    channels, levels, filters, kernel, normalization, classes, undrawn, trainable
):
    model = unet(
        (16, 16, channels),
        levels=levels,
        base_filters=filters,
        base_kernel=kernel,
        normalization=normalization,
        classes=classes,
    )
    assert trainable(model) == by_formula(
        channels, levels, filters, kernel, normalization == "batch", classes
    )


def test_the_decoder_repeats_the_kernels_and_dilations_of_the_encoder(undrawn):
    model = unet((16, 16, 1), levels=4, base_filters=2, base_kernel=7, base_dilation=3)
    convs = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    down = [(2, 7, 3), (4, 5, 2), (8, 3, 1), (16, 3, 1)]
    wanted = [row for row in [*down, *down[2::-1]] for _ in range(2)] + [(1, 1, 1)]
    assert [(c.filters, c.kernel_size[0], c.dilation_rate[0]) for c in convs] == wanted


def test_dropout_grows_with_the_level_on_both_ways(undrawn):
    model = unet((16, 16, 1), levels=4, base_filters=2, dropout=0.1)
    rates = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.2, 0.1])


def test_dropout_of_zero_leaves_no_dropout_layer(undrawn):
    model = unet((16, 16, 1), dropout=0, **SMALL)
    assert not [layer for layer in model.layers if isinstance(layer, layers.Dropout)]


def test_dropout_is_at_work_in_training_only(images_BHWC):
    model = unet((16, 32, 1), normalization="none", dropout=0.2, **SMALL)
    still, again = (np.array(model(images_BHWC, training=False)) for _ in range(2))
    moved, moved_again = (np.array(model(images_BHWC, training=True)) for _ in range(2))
    np.testing.assert_array_equal(still, again)
    assert not np.array_equal(moved, moved_again)


@pytest.mark.parametrize(
    ("size", "options", "sentence"),
    [
        ((40, 32), {"levels": 5}, r"multiple of 16 \(5 levels\). Received: 40x32; .*\[32,32\]"),
        ((32, 20), {"levels": 4}, r"multiple of 8 \(4 levels\). Received: 32x20; .*\[32,16\]"),
        ((32, 32), {"base_kernel": 6}, "base_kernel must be odd. Received: 6"),
        ((32, 32), {"dropout": 0.5}, "less than 1. Received: 0.5"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_value_received(size, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        unet((*size, 1), **options)
