"""U-Net whose encoder is an EfficientNet (Tan and Le 2019, arXiv 1905.11946).

The decoder is that of the U-Net (Ronneberger et al. 2015, arXiv 1505.04597), with one stage for
each halving of the encoder.

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from seg.models.blocks import (
    conv,
    logits,
    require_multiple,
    require_one_of,
    require_rate,
    upsampled,
)
from seg.models.encoders import STRIDES, feature_maps

VARIANTS = tuple(f"b{n}" for n in range(8))


def efficient(
    input_shape: tuple[int | None, int | None, int],
    variant: str = "b0",
    weights: str | None = None,
    decoder_filters: Sequence[int] = (256, 128, 64, 32, 16),
    dropout: float = 0.0,
    normalization: str = "batch",
    activation: str = "relu",
    upsampling: str = "transposed",
    classes: int = 1,
    name: str = "efficient",
) -> keras.Model:
    """Build the model; the encoder is the layer "encoder", to be frozen or saved by that name.

    Args:
        input_shape: (H, W, C); H and W multiples of 32, or None; C 1 or 3.
        variant: "b0" to "b7", the size of the encoder.
        weights: of the encoder, see `seg.models.encoders.feature_maps`.
        decoder_filters: of the five stages at strides 16, 8, 4, 2 and 1.
        dropout: rate between the two convolutions of a decoder stage; the encoder has its own.
        normalization: of the decoder, see `seg.models.blocks.normalized`.
        activation: of the decoder, name of a Keras activation.
        upsampling: "transposed" or "bilinear", see `seg.models.blocks.upsampled`.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    require_one_of("variant", variant, VARIANTS)
    require_rate("dropout", dropout)
    require_multiple(input_shape, STRIDES[-1], "the encoder halves it 5 times")
    if len(decoder_filters) != len(STRIDES):
        raise ValueError(
            "decoder_filters must be five numbers, for strides 16, 8, 4, 2 and 1. "
            f"Received: {list(decoder_filters)}"
        )
    inputs = keras.Input(input_shape)
    maps = feature_maps(inputs, f"efficientnet{variant}", weights)
    x_BHWF = maps[STRIDES[-1]]
    for filters, stride in zip(decoder_filters, (16, 8, 4, 2, 1), strict=True):
        x_BHWF = upsampled(x_BHWF, filters, upsampling)
        if stride in maps:
            x_BHWF = layers.Concatenate()([x_BHWF, maps[stride]])
        x_BHWF = conv(x_BHWF, filters, normalization=normalization, activation=activation)
        if dropout:
            x_BHWF = layers.Dropout(dropout)(x_BHWF)
        x_BHWF = conv(x_BHWF, filters, normalization=normalization, activation=activation)
    return keras.Model(inputs, logits(x_BHWF, classes), name=name)
