"""Attention U-Net (Oktay et al. 2018, arXiv 1804.03999): a U-Net whose skips are gated.

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers

from seg.models.blocks import ConvSchedule, enlarged, logits, u_shape


def attention(
    input_shape: tuple[int | None, int | None, int],
    levels: int = 5,
    base_filters: int = 16,
    base_kernel: int = 3,
    base_dilation: int = 1,
    dropout: float = 0.05,
    normalization: str = "batch",
    activation: str = "relu",
    upsampling: str = "transposed",
    classes: int = 1,
    name: str = "attention",
) -> keras.Model:
    """Build the model; arguments and errors as of `seg.models.unet.unet`.

    The gate of level i is the output of the layer `attention_i`: (B, H/2^(i+1), W/2^(i+1), 1)
    over 0..1.
    """
    schedule = ConvSchedule(
        *(levels, base_filters, base_kernel, base_dilation, dropout),
        *(normalization, activation, upsampling),
    )
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, logits(u_shape(inputs, schedule, _gated), classes), name=name)


def _gated(skip_BHWF: KerasTensor, below: KerasTensor, level: int) -> KerasTensor:
    """Weigh a skip (B, 2h, 2w, F) by additive attention to the features below (B, h, w, 2F)."""
    filters = skip_BHWF.shape[-1]
    joint = layers.Add()(
        [
            layers.Conv2D(filters, 2, strides=2, use_bias=False)(skip_BHWF),
            layers.Conv2D(filters, 1)(below),
        ]
    )
    weight = layers.Conv2D(1, 1, activation="sigmoid", name=f"attention_{level}")(
        layers.ReLU()(joint)
    )
    return layers.Multiply()([skip_BHWF, enlarged(weight, 2)])
