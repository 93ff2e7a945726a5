"""Sharp U-Net (Zunair and Ben Hamza 2021, arXiv 2107.12461): a U-Net whose skips are sharpened.

Axes: B batch, H height, W width, F filters; h, w rows and columns of a kernel, M kernels a filter.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import KerasTensor, initializers, layers

from seg.models.blocks import ConvSchedule, logits, u_shape

# Sums to zero: of a flat region nothing passes, of an edge its contrast.
SHARPENING_hw = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], "float32")


def sharp(
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
    name: str = "sharp",
) -> keras.Model:
    """Build the model; arguments and errors as of `seg.models.unet.unet`.

    The skip of level i passes the layer `sharp_i`, whose kernel no training changes. The authors'
    notebook has base_filters=32, dropout=0 and normalization="none".
    """
    schedule = ConvSchedule(
        *(levels, base_filters, base_kernel, base_dilation, dropout),
        *(normalization, activation, upsampling),
    )
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, logits(u_shape(inputs, schedule, _sharpened), classes), name=name)


def _sharpened(skip_BHWF: KerasTensor, below: KerasTensor, level: int) -> KerasTensor:
    """Convolve each channel of a skip with the same constant kernel."""
    kernel_hwFM = SHARPENING_hw[:, :, None, None]
    return layers.DepthwiseConv2D(
        3,
        padding="same",
        use_bias=False,
        depthwise_initializer=initializers.Constant(kernel_hwFM),
        trainable=False,
        name=f"sharp_{level}",
    )(skip_BHWF)
