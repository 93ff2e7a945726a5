"""How MLflow loads, to serve it, a model with layers of this package or of another but Keras.

Keras finds such layers only where what they come from has been imported.
"""

from __future__ import annotations

import importlib
import re
import zipfile
from pathlib import Path
from typing import Any

from mlflow import keras as mlflow_keras


def modules(file: Path) -> set[str]:
    """Return the modules that a .keras file's layers come from, those of Keras left out."""
    with zipfile.ZipFile(file) as opened:
        config = opened.read("config.json").decode()
    found = set(re.findall(r'"module": "([\w.]+)"', config))
    return {name for name in found if name.split(".")[0] not in ("keras", "builtins")}


def _load_pyfunc(path: str) -> Any:  # noqa: ANN401  MLflow names this function and what it gives
    for file in Path(path).rglob("*.keras"):
        for name in modules(file):
            importlib.import_module(name)
    return mlflow_keras._load_pyfunc(path)
