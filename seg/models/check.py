"""Whether a model, whoever wrote it, fits the data.

Axes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from seg.contracts import SegError, first_line


def functional(model: keras.Model, input_shape: tuple[int, int, int]) -> keras.Model:
    """Give a model that is a class of its own an input of known shape (H, W, C).

    Raises:
        SegError: it is no model, or cannot be applied to such images.
    """
    if not isinstance(model, keras.Model):
        raise SegError(f"model: must be a keras.Model. Received: {type(model).__name__}")
    if getattr(model, "inputs", None):
        return model
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, _applied(model, inputs), name=model.name)


def require_fit(
    model: keras.Model, size: tuple[int, int], channels: int, classes: Sequence[int]
) -> None:
    """Give a model two images of noise, and look at what comes out.

    Args:
        model: on one device or several; its weights stay as they are.
        size: (height, width) of the images.
        channels: of the images.
        classes: the numbers of logits per pixel that the masks can teach.

    Raises:
        SegError: it does not take images (B, H, W, channels), does not give
            (B, H, W, one of `classes`), or gives NaN, or probabilities instead of logits.
    """
    wanted, taken = (None, *size, channels), model.input_shape
    if len(taken) != 4 or any(t not in (None, w) for t, w in zip(taken, wanted, strict=True)):
        raise SegError(
            f"model {model.name}: input must be {wanted}, with dataset.image_size and "
            f"dataset.channels as they are. Received: {taken}"
        )
    noise_BHWC = np.random.default_rng(0).uniform(size=(2, *size, channels)).astype(np.float32)
    # Logits of a picture far from 0..1 leave 0..1 themselves, probabilities never do.
    noise_BHWC[1] = 1000 * noise_BHWC[1] - 500
    output_BHWC = _applied(model, noise_BHWC)
    if not hasattr(output_BHWC, "shape"):
        raise SegError(
            f"model {model.name}: must have one output. Received: {type(output_BHWC).__name__} of "
            f"{len(output_BHWC)}; return keras.Model(inputs, the output that answers)"
        )
    output_BHWC = keras.ops.convert_to_numpy(output_BHWC)
    if output_BHWC.shape not in [(2, *size, n) for n in classes]:
        shapes = " or ".join(str((None, *size, n)) for n in classes)
        right_size = output_BHWC.shape[:-1] == (2, *size)
        advice = (
            f"set its number of classes, {classes[0]}, or dataset.labels"
            if right_size
            else "enlarge it to the size of the image"
        )
        raise SegError(
            f"model {model.name}: output must be {shapes}, a logit for each pixel and class. "
            f"Received: {(None, *output_BHWC.shape[1:])}; {advice}"
        )
    if not np.isfinite(output_BHWC[0]).all():
        raise SegError(f"model {model.name}: gives NaN or infinite values for an image of noise")
    finite = output_BHWC[np.isfinite(output_BHWC)]
    # Zeros alone are no probabilities but the first logits of a layer that starts from zeros.
    if finite.min() >= 0 and finite.max() <= 1 and finite.any():
        raise SegError(
            f"model {model.name}: must give logits, and gives probabilities, "
            f"{finite.min():.3g} to {finite.max():.3g}; build it without the sigmoid or "
            "softmax of its last layer"
        )


def require_savable(model: keras.Model) -> None:
    """Make a second model, with weights of its own, from what a .keras file would say of this one.

    Raises:
        SegError: the model would not come back.
    """
    # Not in a StatelessScope, which draws no weights: it refuses those that start from a number.
    try:
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    except Exception as error:
        raise SegError(
            f"model {model.name}: cannot be saved and loaded again "
            f"({first_line(error)}); give its classes get_config, register them "
            "with keras.saving.register_keras_serializable, and use no Lambda layer"
        ) from error


def _applied(model: keras.Model, images_BHWC: np.ndarray | KerasTensor) -> Any:  # noqa: ANN401
    try:
        return model(images_BHWC, training=False)
    except Exception as error:  # the model may be anyone's, and raise anything
        raise SegError(
            f"model {model.name}: cannot be applied to images {tuple(images_BHWC.shape)} "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
