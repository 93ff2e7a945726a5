"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611) at output stride 16, with a ResNet encoder.

The paper's ResNet: plain convolutions in pyramid and decoder (its separable ones go with Xception),
the last stage dilated. Dropout after the pyramid is from the authors' code
(tensorflow/models, research/deeplab/model.py).

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
from keras import KerasTensor, layers, ops

from seg.models.blocks import (
    conv,
    enlarged,
    logits,
    require_at_least,
    require_multiple,
    require_rate,
)
from seg.models.encoders import feature_maps


def deeplabv3plus(
    input_shape: tuple[int | None, int | None, int],
    encoder: str = "resnet50",
    weights: str | None = None,
    filters: int = 256,
    low_level_filters: int = 48,
    dilations: Sequence[int] = (6, 12, 18),
    dropout: float = 0.1,
    normalization: str = "batch",
    activation: str = "relu",
    classes: int = 1,
    name: str = "deeplabv3plus",
) -> keras.Model:
    """Build the model; the encoder is the layer "encoder", to be frozen or saved by that name.

    Args:
        input_shape: (H, W, C); H and W multiples of 16, or None; C 1 or 3.
        encoder: "resnet50" or "resnet101".
        weights: of the encoder, see `seg.models.encoders.feature_maps`.
        filters: of each branch of the pyramid and of the decoder.
        low_level_filters: to which the features at stride 4 are reduced.
        dilations: of the pyramid's 3x3 convolutions, one branch each.
        dropout: rate after the pyramid.
        normalization: of pyramid and decoder, see `seg.models.blocks.normalized`; "instance" takes
            away what the pyramid learns from the mean of the map, a constant of each image.
        activation: of pyramid and decoder, name of a Keras activation.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    require_multiple(input_shape, 16, "the output stride of the encoder")
    require_rate("dropout", dropout)
    require_at_least("the number of dilations", len(dilations), 1)
    inputs = keras.Input(input_shape)
    maps = feature_maps(inputs, encoder, weights, dilated=True)
    block = partial(conv, normalization=normalization, activation=activation)
    x_BHWF = _pyramid(maps[16], filters, dilations, block)
    if dropout:
        x_BHWF = layers.Dropout(dropout)(x_BHWF)
    fine_BHWF = block(maps[4], low_level_filters, 1)
    x_BHWF = layers.Concatenate()([enlarged(x_BHWF, 4), fine_BHWF])
    x_BHWF = block(block(x_BHWF, filters), filters)
    enlarge = layers.UpSampling2D(4, interpolation="bilinear", dtype="float32", name="enlarge")
    return keras.Model(inputs, enlarge(logits(x_BHWF, classes)), name=name)


def _pyramid(
    x_BHWC: KerasTensor,
    filters: int,
    dilations: Sequence[int],
    block: Callable[..., KerasTensor],
) -> KerasTensor:
    """Look at (B, H, W, C) from several distances and at its mean, give (B, H, W, filters)."""
    branches = [block(x_BHWC, filters, 1)]
    branches += [block(x_BHWC, filters, dilation=dilation) for dilation in dilations]
    mean_B11C = layers.GlobalAveragePooling2D(keepdims=True)(x_BHWC)
    # Repeated over the map by a sum, which works for images of any size.
    branches.append(ops.zeros_like(branches[0]) + block(mean_B11C, filters, 1))
    return block(layers.Concatenate()(branches), filters, 1)
