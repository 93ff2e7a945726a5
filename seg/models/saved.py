"""Models from disk."""

from __future__ import annotations

import importlib
from pathlib import Path
from zipfile import BadZipFile

import keras
import yaml

import seg.models.swin
import seg.models.transunet  # noqa: F401  Keras finds only the layers of imported files
from seg.contracts import SegError, first_line
from seg.models.supervised import DeeplySupervised


def load(path: Path) -> keras.Model:
    """Load a saved model for prediction: its answer, without what deep supervision adds.

    Raises:
        SegError: the file is not a model, or its run has one of a package that is not installed.
    """
    _import_layers(path.parent / "config.yaml")
    try:
        model = keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError, BadZipFile) as error:
        if "Could not locate" in str(error):
            raise SegError(
                f"checkpoint: {path} has layers of another package; give model= (and "
                "model._target_=) as in training"
            ) from error
        raise SegError(
            f"checkpoint: {path} is not a readable .keras file ({first_line(error)})"
        ) from error
    return model.answering() if isinstance(model, DeeplySupervised) else model


def _import_layers(config: Path) -> None:
    """Import the package of a run's model, since Keras finds only the layers of those."""
    known = yaml.safe_load(config.read_text()) if config.is_file() else None
    target = ((known or {}).get("model") or {}).get("_target_")
    try:
        importlib.import_module(target.rpartition(".")[0]) if target else None
    except ImportError as error:
        raise SegError(f"checkpoint: {config} has a model of {target} ({error})") from error


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
