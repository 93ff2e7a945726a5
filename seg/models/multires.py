"""MultiResUNet (Ibtehaz and Rahman 2019, arXiv 1902.04049): inception-like blocks, longer skips.

What the paper leaves open (biases, normalizations without a scale, the order inside a block, the
rounding of widths) is as in the authors' code, whose number of parameters the paper prints.

Axes: B batch, H height, W width, C channels, F filters.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import KerasTensor, layers

from seg.models.blocks import (
    GROUPS,
    MOMENTUM,
    conv,
    level_filters,
    logits,
    normalized,
    require_rate,
    upsampled,
)

# The share of a block's filters in its three convolutions: the authors' sixth, third and half.
SHARES = (0.167, 0.333, 0.5)

# Most of the normalizations have no scale.
_shift = partial(conv, scale=False)


def multires(
    input_shape: tuple[int | None, int | None, int],
    levels: int = 5,
    base_filters: int = 32,
    alpha: float = 1.67,
    dropout: float = 0.0,
    normalization: str = "batch",
    activation: str = "relu",
    upsampling: str = "transposed",
    classes: int = 1,
    name: str = "multires",
) -> keras.Model:
    """Build the model.

    Args:
        input_shape: (H, W, C); H and W multiples of 2**(levels-1), or None.
        levels: bridge included.
        base_filters: of a U-Net's level 0, doubled at each level.
        alpha: filters of a MultiRes block over those of a U-Net's level.
        dropout: rate after every MultiRes block, in 0..1; the paper has none.
        normalization: "none", "batch" (of the logits too), "instance" or "group" (a block's
            widths are then rounded to multiples of 8), see `seg.models.blocks.normalized`.
        activation: name of a Keras activation.
        upsampling: "transposed" or "bilinear", see `seg.models.blocks.upsampled`.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    filters = level_filters(input_shape, levels, base_filters)
    require_rate("dropout", dropout)
    _require_widths(alpha, base_filters)
    style = {"normalization": normalization, "activation": activation}
    block = partial(_multires_block, alpha=alpha, dropout=dropout, **style)

    inputs = keras.Input(input_shape)
    x_BHWF, skips = inputs, []
    for level in range(levels - 1):
        x_BHWF = block(x_BHWF, filters[level])
        skips.append(_res_path(x_BHWF, filters[level], levels - 1 - level, **style))
        x_BHWF = layers.MaxPooling2D(2)(x_BHWF)
    x_BHWF = block(x_BHWF, filters[-1])
    for level in reversed(range(levels - 1)):
        x_BHWF = upsampled(x_BHWF, filters[level], upsampling)
        x_BHWF = block(layers.Concatenate()([x_BHWF, skips[level]]), filters[level])
    return keras.Model(inputs, _logits(x_BHWF, classes, normalization), name=name)


def _multires_block(
    x_BHWC: KerasTensor,
    filters: int,
    alpha: float,
    dropout: float,
    normalization: str,
    activation: str,
) -> KerasTensor:
    """See 3x3, 5x5 and 7x7 neighbourhoods by three convolutions in a row, and add the input."""
    widths = _widths(alpha * filters, normalization)
    shortcut_BHWF = _shift(x_BHWC, sum(widths), 1, normalization=normalization, activation=None)
    seen = []
    for width in widths:
        x_BHWC = _shift(x_BHWC, width, normalization=normalization, activation=activation)
        seen.append(x_BHWC)
    x_BHWF = normalized(layers.Concatenate()(seen), normalization)
    x_BHWF = _residual(shortcut_BHWF, x_BHWF, normalization, activation)
    return layers.Dropout(dropout)(x_BHWF) if dropout else x_BHWF


def _res_path(
    x_BHWC: KerasTensor, filters: int, length: int, normalization: str, activation: str
) -> KerasTensor:
    """Bring a skip nearer to the decoder's features by `length` residual convolutions."""
    for _ in range(length):
        shortcut_BHWF = _shift(x_BHWC, filters, 1, normalization=normalization, activation=None)
        x_BHWC = _shift(x_BHWC, filters, normalization=normalization, activation=activation)
        x_BHWC = _residual(shortcut_BHWF, x_BHWC, normalization, activation)
    return x_BHWC


def _residual(
    shortcut_BHWF: KerasTensor, x_BHWF: KerasTensor, normalization: str, activation: str
) -> KerasTensor:
    x_BHWF = layers.Activation(activation)(layers.Add()([shortcut_BHWF, x_BHWF]))
    return normalized(x_BHWF, normalization)


def _logits(x_BHWF: KerasTensor, classes: int, normalization: str) -> KerasTensor:
    if normalization != "batch":
        return logits(x_BHWF, classes)
    x_BHWC = layers.Conv2D(classes, 1, use_bias=False, dtype="float32")(x_BHWF)
    return layers.BatchNormalization(
        momentum=MOMENTUM, scale=False, synchronized=True, dtype="float32", name="logits"
    )(x_BHWC)


def _widths(block_filters: float, normalization: str) -> list[int]:
    widths = [int(block_filters * share) for share in SHARES]
    if normalization == "group":
        return [max(GROUPS, round(width / GROUPS) * GROUPS) for width in widths]
    return widths


def _require_widths(alpha: float, base_filters: int) -> None:
    if int(alpha * base_filters * SHARES[0]) < 1:
        raise ValueError(
            f"alpha * base_filters must be 6 or more, for a sixth of it to be a filter. "
            f"Received: {alpha} * {base_filters}; take base_filters=32"
        )
