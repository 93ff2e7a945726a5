"""A model as others run it: intensities in, probabilities out, at one size.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np
from keras import KerasTensor, ops


@dataclass(frozen=True)
class Scale:
    """What a pixel of the input says.

    Attributes:
        black: intensity that becomes 0.
        white: intensity that becomes 1.
        steps: between them, to the nearest of which the training images were rounded; None where
            the input is such an image, which is rounded already.
    """

    black: float
    white: float
    steps: int | None = None


def deployed(model: keras.Model, size: tuple[int, int], scale: Scale) -> keras.Model:
    """Return a model from float32 intensities (B, H, W, C) to float32 probabilities (B, H, W, N).

    N is 1, the foreground's, or the number of classes.

    Args:
        model: images over 0..1 to logits, of `in_float32`.
        size: (height, width), which layers that enlarge must know.
        scale: of the intensities.
    """
    images_BHWC = keras.Input((*size, model.input_shape[-1]), dtype="float32", name="image")
    logits_BHWN = model(_scaled(images_BHWC, scale), training=False)
    several = logits_BHWN.shape[-1] > 1
    p_BHWN = ops.softmax(logits_BHWN, axis=-1) if several else ops.sigmoid(logits_BHWN)
    return keras.Model(images_BHWC, p_BHWN, name=model.name)


def _scaled(images_BHWC: KerasTensor, scale: Scale) -> KerasTensor:
    """Scale to 0..1 as `seg.data.recipe.Recipe.image` does, to the last bit."""
    black, white = np.float32((scale.black, scale.white))
    black, span = float(black), float(white - black)
    if scale.steps is None:
        return ops.clip((images_BHWC - black) / span, 0, 1)
    # Every 40th HU of a window of 400 lies half-way between two steps, and the last bit says to
    # which it goes. A file would not divide by a constant, but multiply by its reciprocal.
    span_BHWC = span * ops.sign(ops.abs(images_BHWC) + 1)
    scaled_BHWC = ops.clip((images_BHWC - black) / span_BHWC, 0, 1)
    return ops.round(scaled_BHWC * scale.steps) / scale.steps


def in_float32(model: keras.Model) -> str:
    """Have all layers compute in float32, whatever they were trained in, for any runtime has that.

    Returns:
        The precision it was trained in: a name of a `keras.DTypePolicy`.
    """
    found = {layer.dtype_policy.name for layer in model._flatten_layers()}
    for layer in model._flatten_layers():
        layer.dtype_policy = "float32"
        if isinstance(layer, keras.layers.Normalization):
            # Tensors, which the converter to ONNX would take for further inputs.
            layer.mean = np.asarray(layer.mean, np.float32)
            layer.variance = np.asarray(layer.variance, np.float32)
    return max(found - {"float32"}, default="float32")
