"""U^2-Net (Qin et al. 2020, arXiv 2005.09007): a U of stages that are U-shaped blocks themselves.

Axes: B batch, H height, W width, C channels, F filters.
"""

from collections.abc import Callable
from functools import partial

import keras
from keras import KerasTensor, layers

from seg.models.blocks import conv, enlarged, logits, require_multiple, side_logits
from seg.models.supervised import supervised

HEIGHTS = (7, 6, 5, 4, 4, 4)
FLAT = (False, False, False, False, True, True)
# Middle and output filters of stages 1 to 6 down and 1 to 5 up, in quarters of base_filters.
FULL = (
    ((2, 4), (2, 8), (4, 16), (8, 32), (16, 32), (16, 32)),
    ((1, 4), (2, 4), (4, 8), (8, 16), (16, 32)),
)
SMALL = (((1, 4),) * 6, ((1, 4),) * 5)


def u2net(
    input_shape: tuple[int | None, int | None, int],
    small: bool = False,
    base_filters: int = 64,
    normalization: str = "batch",
    activation: str = "relu",
    deep_supervision: bool = True,
    classes: int = 1,
    name: str = "u2net",
) -> keras.Model:
    """Build the model: images (B, H, W, C) in 0..1 to float32 logits (B, H, W, classes).

    The answer is a 1x1 convolution of the logits of six sides: the decoder's stages 1 to 5 and the
    encoder's stage 6. Stage 1 halves 5 times inside, the deepest of all maps is H/32 x W/32.

    Args:
        input_shape: (H, W, C); H and W multiples of 32, or None.
        small: take the filters of the paper's small setting, the same in all stages.
        base_filters: a multiple of 4, output filters of stage 1; all others are in proportion.
        normalization: "none", "batch", "instance" or "group", see `seg.models.blocks.normalized`.
        activation: name of a Keras activation.
        deep_supervision: the sides learn from the mask too, see `seg.models.supervised`.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    require_multiple(input_shape, 32, "stage 1 halves 5 times")
    if base_filters < 4 or base_filters % 4:
        raise ValueError(
            f"base_filters must be a multiple of 4. Received: {base_filters}; "
            f"take {max(4, round(base_filters / 4) * 4)}"
        )
    down, up = SMALL if small else FULL
    block = partial(conv, normalization=normalization, activation=activation)
    inputs = x_BHWF = keras.Input(input_shape)
    maps = []
    for stage, quarters in enumerate(down):
        x_BHWF = layers.MaxPooling2D(2)(x_BHWF) if stage else x_BHWF
        x_BHWF = _stage(x_BHWF, stage, quarters, base_filters, block)
        maps.append(x_BHWF)
    for stage, quarters in reversed(list(enumerate(up))):
        x_BHWF = layers.Concatenate()([enlarged(x_BHWF, 2), maps[stage]])
        x_BHWF = _stage(x_BHWF, stage, quarters, base_filters, block)
        maps[stage] = x_BHWF
    sides = [
        side_logits(x_BHWF, classes, 2**stage, f"side_{stage + 1}")
        for stage, x_BHWF in enumerate(maps)
    ]
    answer = logits(layers.Concatenate(dtype="float32")(sides), classes)
    return supervised(inputs, [answer, *sides], deep_supervision, name)


def rsu(
    x_BHWC: KerasTensor,
    height: int,
    middle_filters: int,
    filters: int,
    flat: bool = False,
    block: Callable[..., KerasTensor] = conv,
) -> KerasTensor:
    """Apply a residual U-block: (B, H, W, C) to (B, H, W, filters).

    A U of `height` convolutions down and one fewer up, whose output is added to that of the
    convolution before it. It halves `height` - 2 times, and its last convolution is dilated by 2;
    a flat one never halves, and convolution i is dilated by 2**i.

    Args:
        x_BHWC: H and W multiples of 2**(height-2), unless flat.
        height: RSU-7 has 7.
        middle_filters: of every convolution but the first and the last.
        filters: of these two.
        flat: the paper's RSU-4F.
        block: from features, filters and dilation to features.
    """
    dilations = [2**step for step in range(height)] if flat else [1] * (height - 1) + [2]
    scales = [1] * height if flat else [1] + [2] * (height - 2) + [1]
    x_BHWF = start_BHWF = block(x_BHWC, filters)
    skips = []
    for scale, dilation in zip(scales, dilations, strict=True):
        x_BHWF = layers.MaxPooling2D(scale)(x_BHWF) if scale > 1 else x_BHWF
        x_BHWF = block(x_BHWF, middle_filters, dilation=dilation)
        skips.append(x_BHWF)
    for step in reversed(range(height - 1)):
        x_BHWF = layers.Concatenate()([enlarged(x_BHWF, scales[step + 1]), skips[step]])
        x_BHWF = block(x_BHWF, middle_filters if step else filters, dilation=dilations[step])
    return layers.Add()([x_BHWF, start_BHWF])


def _stage(
    x_BHWC: KerasTensor,
    stage: int,
    quarters: tuple[int, int],
    base_filters: int,
    block: Callable[..., KerasTensor],
) -> KerasTensor:
    middle_filters, filters = (quarter * base_filters // 4 for quarter in quarters)
    return rsu(x_BHWC, HEIGHTS[stage], middle_filters, filters, FLAT[stage], block)
