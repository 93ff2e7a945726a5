"""Whether a model, whoever wrote it, fits the data.

Axes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from seg.contracts import SegError


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
        SegError: it is no model, does not take images (B, H, W, channels), does not give
            (B, H, W, one of `classes`), gives NaN, or probabilities instead of logits, or would
            not come back from a .keras file.
    """
    if not isinstance(model, keras.Model):
        raise SegError(f"model: must be a keras.Model. Received: {type(model).__name__}")
    wanted = (None, *size, channels)
    taken = model.input_shape if getattr(model, "inputs", None) else wanted
    if len(taken) != 4 or any(t not in (None, w) for t, w in zip(taken, wanted, strict=True)):
        raise SegError(
            f"model {model.name}: input must be {wanted}, with dataset.image_size and "
            f"dataset.channels as they are. Received: {taken}"
        )
    noise_BHWC = np.random.default_rng(0).uniform(size=(2, *size, channels)).astype(np.float32)
    # Logits of a picture far from 0..1 leave 0..1 themselves, probabilities never do.
    noise_BHWC[1] = 1000 * noise_BHWC[1] - 500
    output_BHWC = _output(model, noise_BHWC)
    if output_BHWC.shape not in [(2, *size, n) for n in classes]:
        shapes = " or ".join(str((None, *size, n)) for n in classes)
        raise SegError(
            f"model {model.name}: output must be {shapes}, a logit for each pixel and class. "
            f"Received: {(None, *output_BHWC.shape[1:])}; set its number of classes "
            f"(model.classes={classes[0]}), or dataset.labels"
        )
    if not np.isfinite(output_BHWC[0]).all():
        raise SegError(f"model {model.name}: gives NaN or infinite values for an image of noise")
    finite = output_BHWC[np.isfinite(output_BHWC)]
    if 0 <= finite.min() and finite.max() <= 1:
        raise SegError(
            f"model {model.name}: must give logits, and gives probabilities, "
            f"{finite.min():.3g} to {finite.max():.3g}; build it without its last activation "
            "(model.activation=null, model.classifier_activation=null or the like)"
        )
    _require_savable(model)


def _output(model: keras.Model, images_BHWC: np.ndarray) -> np.ndarray:
    try:
        return keras.ops.convert_to_numpy(model(images_BHWC, training=False))
    except Exception as error:  # the model may be anyone's, and raise anything
        raise SegError(
            f"model {model.name}: cannot be applied to images {images_BHWC.shape} "
            f"({type(error).__name__}: {str(error).strip().splitlines()[0]})"
        ) from error


def _require_savable(model: keras.Model) -> None:
    try:
        with keras.StatelessScope(initialize_variables=False):
            config = keras.saving.serialize_keras_object(model)
            keras.saving.deserialize_keras_object(config)
    except Exception as error:
        raise SegError(
            f"model {model.name}: cannot be saved and loaded again "
            f"({str(error).strip().splitlines()[0]}); give its classes get_config, register them "
            "with keras.saving.register_keras_serializable, and use no Lambda layer"
        ) from error
