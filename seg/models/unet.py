"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with kernel and dilation schedules.

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

import keras
from keras import layers

from seg.models.blocks import ConvSchedule, logits, require_multiple


def unet(
    input_shape: tuple[int, int, int],
    levels: int = 5,
    base_filters: int = 16,
    base_kernel: int = 3,
    base_dilation: int = 1,
    dropout: float = 0.05,
    normalization: str = "batch",
    activation: str = "relu",
    classes: int = 1,
    name: str = "unet",
) -> keras.Model:
    """Build the model; `seg.models.blocks.ConvSchedule` says what the numbers mean.

    Args:
        input_shape: (H, W, C); H and W multiples of 2**(levels-1).
        levels: bridge included.
        base_filters: of level 0, doubled at each level.
        base_kernel: odd side of level 0's kernels.
        base_dilation: of level 0's kernels.
        dropout: rate at level i is i times this.
        normalization: "none" or "batch" (synchronised between replicas).
        activation: name of a Keras activation.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    schedule = ConvSchedule(
        levels, base_filters, base_kernel, base_dilation, dropout, normalization, activation
    )
    require_multiple(input_shape, 2 ** (levels - 1), f"{levels} levels")
    inputs = keras.Input(input_shape)
    x_BHWF, skips = inputs, []
    for level in range(levels - 1):
        skips.append(schedule.double_conv(x_BHWF, level))
        x_BHWF = layers.MaxPooling2D(2)(skips[-1])
    x_BHWF = schedule.double_conv(x_BHWF, levels - 1)
    for level in reversed(range(levels - 1)):
        x_BHWF = layers.Conv2DTranspose(schedule.filters(level), 2, strides=2)(x_BHWF)
        x_BHWF = layers.Concatenate()([x_BHWF, skips[level]])
        x_BHWF = schedule.double_conv(x_BHWF, level)
    return keras.Model(inputs, logits(x_BHWF, classes), name=name)
