"""What the table of runs shows of a config: few and short values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from seg.config import MODEL_STAGES, image_size

if TYPE_CHECKING:
    import keras

OF_DATA = {
    "dataset": "dataset.name",
    "channels": "dataset.channels",
    "fold": "dataset.fold",
    "seed": "seed",
}
OF_MODEL = {"checkpoint": "checkpoint", "batch": "trainer.batch_size", "devices": "trainer.devices"}
OF_TRAINING = {
    "loss": "loss.name",
    "optimizer": "optimizer.name",
    "lr": "optimizer.learning_rate",
    "epochs": "trainer.epochs",
    "precision": "trainer.precision",
}
UNSENT = ("_sd", "_median", "_undefined")
UNSEEN = ("dataset.root", "dataset.source", "dataset.image_size", "paths.", "tracking.", "hydra.")


def label(cfg: DictConfig) -> str:
    """Name dataset, model and loss, or the stages or the checkpoint where these are not used."""
    stages = {stage.name for stage in cfg.stages}
    if not stages & MODEL_STAGES:
        return f"{cfg.dataset.name} {' '.join(sorted(stages))}"
    if cfg.checkpoint:
        return f"{cfg.dataset.name} checkpoint"
    if stages == {"summary"}:
        return f"{cfg.model.name} summary"
    return f"{cfg.dataset.name} {cfg.model.name} {cfg.loss.name}"


def scores(results: Mapping[str, float]) -> dict[str, float]:
    """Return what of summary.json is sent: all of Dice, of other scores mean and interval if any.

    The page of a run draws a chart for each; the file has the rest.
    """
    return {
        name: value
        for name, value in results.items()
        if "/dice" in name or not (name.endswith(UNSENT) or math.isnan(value))
    }


def shown(
    cfg: DictConfig, overrides: Sequence[str], augment: str, model: keras.Model | None
) -> dict[str, object]:
    """Return the choices, the usual knobs, and what was swept.

    Args:
        cfg: validated.
        overrides: of the command line, KEY=VALUE.
        augment: the choice of that group, if known.
        model: None where no stage uses one.
    """
    trains = any(stage.name == "train" for stage in cfg.stages)
    names = OF_DATA | (OF_MODEL if model else {}) | (OF_TRAINING if trains else {})
    values = {name: OmegaConf.select(cfg, key) for name, key in names.items()}
    params = {
        name: getattr(value, "name", value) for name, value in values.items() if value is not None
    }
    if model:
        params |= {"model": model.name, "parameters": model.count_params()}
        params["size"] = "x".join(map(str, image_size(cfg)))
    if trains:
        params["augment"] = augment or ("on" if cfg.augment else "off")
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if "." in key and key not in names.values() and not key.startswith(UNSEEN):
            params[key] = value[:100]
    return params
