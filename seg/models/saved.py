"""Models from disk, and whether a model fits the data."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import keras

import seg.models.swin  # noqa: F401  Keras finds only the layers of imported files
from seg.contracts import SegError


def load(path: Path) -> keras.Model:
    """Load a saved model for prediction.

    Raises:
        SegError: the file is not a model.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError, BadZipFile) as error:
        raise SegError(
            f"checkpoint: {path} is not a readable .keras file ({str(error).splitlines()[0]})"
        ) from error


def check_shapes(model: keras.Model, size: tuple[int, int], channels: int) -> None:
    """Compare a model's input and output with the data's.

    Raises:
        SegError: the input is not (H, W, channels) or the output not (H, W, 1), or the model ends
            in probabilities instead of logits.
    """
    last = getattr(model.layers[-1], "activation", None)
    if last in (keras.activations.sigmoid, keras.activations.softmax):
        raise SegError(
            f"model {model.name}: must give logits, and its last layer applies {last.__name__}; "
            "build it with activation=None there"
        )
    for what, got, wanted in (
        ("input", model.input_shape, (None, *size, channels)),
        ("output", model.output_shape, (None, *size, 1)),
    ):
        if any(g not in (None, w) for g, w in zip(got, wanted, strict=False)) or len(got) != 4:
            raise SegError(
                f"model {model.name}: {what} must be {wanted}, with dataset.image_size and "
                f"dataset.channels as they are. Received: {got}"
            )


def drop_training_state(path: Path) -> keras.Model:
    """Save a model again without its loss and optimizer, and return it, ready for prediction.

    What is left is a third of the size, and loads without this package unless the model has
    layers of its own.
    """
    model = load(path)
    aside = path.with_suffix(".tmp.keras")
    model.save(aside)
    aside.replace(path)
    return model
