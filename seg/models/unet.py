"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with kernel and dilation schedules."""

from __future__ import annotations

import keras

from seg.models.blocks import ConvSchedule, logits, u_shape


def unet(
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
    name: str = "unet",
) -> keras.Model:
    """Build the model; `seg.models.blocks.ConvSchedule` says what the numbers mean.

    Args:
        input_shape: (H, W, C); H and W multiples of 2**(levels-1), or None.
        levels: bridge included.
        base_filters: of level 0, doubled at each level.
        base_kernel: odd side of level 0's kernels.
        base_dilation: of level 0's kernels.
        dropout: rate at level i is i times this.
        normalization: "none", "batch", "instance" or "group", see `seg.models.blocks.normalized`.
        activation: name of a Keras activation.
        upsampling: "transposed" or "bilinear", see `seg.models.blocks.upsampled`.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is no such multiple, or an argument is out of range.
    """
    schedule = ConvSchedule(
        *(levels, base_filters, base_kernel, base_dilation, dropout),
        *(normalization, activation, upsampling),
    )
    inputs = keras.Input(input_shape)
    x_BHWF = u_shape(inputs, schedule, connect=lambda skip_BHWF, below, level: skip_BHWF)
    return keras.Model(inputs, logits(x_BHWF, classes), name=name)
