"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999): a U-Net whose skips are gated.

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from seg.models.blocks import ConvSchedule, logits, require_multiple


def attention(
    input_shape: tuple[int, int, int],
    levels: int = 5,
    base_filters: int = 16,
    base_kernel: int = 3,
    base_dilation: int = 1,
    dropout: float = 0.05,
    normalization: str = "batch",
    activation: str = "relu",
    classes: int = 1,
    name: str = "attention",
) -> keras.Model:
    """Build the model; arguments and errors as of `seg.models.unet.unet`.

    The gate of level i is the output of the layer `attention_i`: (B, H/2^(i+1), W/2^(i+1), 1)
    over 0..1.
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
        gated = _gate(skips[level], x_BHWF, schedule.filters(level), level)
        x_BHWF = layers.Conv2DTranspose(schedule.filters(level), 2, strides=2)(x_BHWF)
        x_BHWF = layers.Concatenate()([x_BHWF, gated])
        x_BHWF = schedule.double_conv(x_BHWF, level)
    return keras.Model(inputs, logits(x_BHWF, classes), name=name)


def _gate(skip_BHWF: KerasTensor, coarse: KerasTensor, filters: int, level: int) -> KerasTensor:
    """Weigh a skip (B, 2h, 2w, F) by additive attention to the coarser features (B, h, w, 2F)."""
    joint = layers.Add()(
        [
            layers.Conv2D(filters, 2, strides=2, use_bias=False)(skip_BHWF),
            layers.Conv2D(filters, 1)(coarse),
        ]
    )
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"attention_{level}")(
        layers.ReLU()(joint)
    )
    return layers.Multiply()([skip_BHWF, layers.UpSampling2D(2, interpolation="bilinear")(weight)])
