"""UNet++ (Zhou et al. 2018, arXiv 1807.10165; 2020, arXiv 1912.05074): U-Nets of all depths in one.

Node X^{i,j} lies in level i and column j. Column 0 goes down; every further node reads all nodes
to its left and, enlarged, the node below the last of them. X^{0,j} is what a U-Net of j + 1 levels
ends with.

Axes: B batch, H height, W width, C channels, F filters.
"""

from __future__ import annotations

from functools import partial

import keras
from keras import KerasTensor, layers

from seg.models.blocks import (
    conv,
    level_filters,
    logits,
    require_rate,
    upsampled,
)
from seg.models.supervised import supervised


def unetpp(
    input_shape: tuple[int | None, int | None, int],
    levels: int = 5,
    base_filters: int = 32,
    dropout: float = 0.1,
    normalization: str = "batch",
    activation: str = "relu",
    upsampling: str = "transposed",
    deep_supervision: bool = True,
    classes: int = 1,
    name: str = "unetpp",
) -> keras.Model:
    """Build the model; the authors' code has dropout=0.5 and normalization="none".

    Args:
        input_shape: (H, W, C); H and W multiples of 2**(levels-1), or None.
        levels: bridge included.
        base_filters: of level 0, doubled at each level.
        dropout: rate after every convolution of a node, in 0..1.
        normalization: "none", "batch", "instance" or "group", see `seg.models.blocks.normalized`.
        activation: name of a Keras activation.
        upsampling: "transposed" or "bilinear", see `seg.models.blocks.upsampled`.
        deep_supervision: X^{0,1}, X^{0,2}, ... learn from the mask too; the answer is always that
            of the last, X^{0,levels-1}.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    filters = level_filters(input_shape, levels, base_filters)
    require_rate("dropout", dropout)
    node = partial(_node, dropout=dropout, normalization=normalization, activation=activation)

    inputs = keras.Input(input_shape)
    grid = [[node(inputs, filters[0])]]
    for level in range(1, levels):
        grid.append([node(layers.MaxPooling2D(2)(grid[-1][0]), filters[level])])
    for column in range(1, levels):
        for level in range(levels - column):
            below_BHWF = upsampled(grid[level + 1][column - 1], filters[level], upsampling)
            joined_BHWC = layers.Concatenate()([below_BHWF, *grid[level]])
            grid[level].append(node(joined_BHWC, filters[level]))

    *others, answer = grid[0][1:]
    outputs = [logits(answer, classes)]
    outputs += [logits(x, classes, f"logits_{column}") for column, x in enumerate(others, 1)]
    return supervised(inputs, outputs, deep_supervision, name)


def _node(
    x_BHWC: KerasTensor, filters: int, dropout: float, normalization: str, activation: str
) -> KerasTensor:
    """Convolve, normalize, activate and drop out, twice."""
    for _ in range(2):
        x_BHWC = conv(x_BHWC, filters, normalization=normalization, activation=activation)
        if dropout:
            x_BHWC = layers.Dropout(dropout)(x_BHWC)
    return x_BHWC
