"""UNet 3+ (Huang et al. 2020, arXiv 2004.08790): every decoder node sees every scale.

The paper's optional classification-guided module, which silences images without the organ, needs a
loss of its own and is left out; enlarging is bilinear, as in the paper, by up to 2**(levels-1).

Axes: B batch, H height, W width, F filters.
"""

from functools import partial

import keras
from keras import KerasTensor, layers

from seg.models.blocks import conv, enlarged, level_filters, side_logits
from seg.models.supervised import supervised


def unet3plus(
    input_shape: tuple[int | None, int | None, int],
    levels: int = 5,
    base_filters: int = 64,
    skip_filters: int = 64,
    normalization: str = "batch",
    activation: str = "relu",
    deep_supervision: bool = True,
    classes: int = 1,
    name: str = "unet3plus",
) -> keras.Model:
    """Build the model: images (B, H, W, C) in 0..1 to float32 logits (B, H, W, classes).

    Each node of the decoder has as many branches as there are levels. The finest node enlarges the
    bottom map before it convolves it: the largest of all maps, base_filters * 2**(levels-1) filters
    at full size.

    Args:
        input_shape: (H, W, C); H and W multiples of 2**(levels-1), or None.
        levels: 2 or more, the bottom included.
        base_filters: of the encoder's level 0, doubled at each level.
        skip_filters: of a branch; a node of the decoder has levels * skip_filters.
        normalization: "none", "batch", "instance" or "group", see `seg.models.blocks.normalized`.
        activation: name of a Keras activation.
        deep_supervision: the bottom and the coarser nodes learn too, see `seg.models.supervised`.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    filters = level_filters(input_shape, levels, base_filters)
    block = partial(conv, normalization=normalization, activation=activation)
    inputs = x_BHWF = keras.Input(input_shape)
    maps = []
    for level in range(levels):
        x_BHWF = layers.MaxPooling2D(2)(x_BHWF) if level else x_BHWF
        x_BHWF = block(block(x_BHWF, filters[level]), filters[level])
        maps.append(x_BHWF)
    for level in reversed(range(levels - 1)):
        # Here the coarser maps but the bottom are the decoder's, the others still the encoder's.
        sized = [_resized(x_BHWF, source, level) for source, x_BHWF in enumerate(maps)]
        branches = [block(x_BHWF, skip_filters) for x_BHWF in sized]
        maps[level] = block(layers.Concatenate()(branches), levels * skip_filters)
    outputs = [
        side_logits(x_BHWF, classes, 2**level, f"side_{level}" if level else "logits")
        for level, x_BHWF in enumerate(maps)
    ]
    return supervised(inputs, outputs, deep_supervision, name)


def _resized(x_BHWF: KerasTensor, source: int, level: int) -> KerasTensor:
    """Bring the map of the level `source` to the size of `level`."""
    if source < level:
        return layers.MaxPooling2D(2 ** (level - source))(x_BHWF)
    return enlarged(x_BHWF, 2 ** (source - level))
