"""The config of a command: its types, and what refuses a wrong one before anything is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seg.config.checks import contradictions, monitored_curves, wrong_inference
from seg.config.errors import CONFIG_ERRORS, explain
from seg.config.read import classes, conf_dir, how_to_get, image_size
from seg.config.schema import MODEL_STAGES, Config, Infer, Predict, Tile, Trainer
from seg.contracts import SegError

__all__ = [
    "CONFIG_ERRORS",
    "MODEL_STAGES",
    "Infer",
    "Tile",
    "Trainer",
    "classes",
    "conf_dir",
    "explain",
    "how_to_get",
    "image_size",
    "monitored_curves",
    "validate",
    "validate_prediction",
]


def validate(cfg: DictConfig) -> DictConfig:
    """Return the config resolved and typed.

    Raises:
        SegError: a key is unknown or mistyped, or values contradict each other.
    """
    cfg = _typed(cfg, Config)
    _refuse(contradictions(cfg))
    image_size(cfg)
    return cfg


def validate_prediction(cfg: DictConfig) -> DictConfig:
    """Return the config of `seg.predict` resolved and typed.

    Raises:
        SegError: a key is missing, unknown or mistyped, or a value is wrong.
    """
    for key in ("model", "input", "output"):
        if OmegaConf.is_missing(cfg, key):
            raise SegError(f"{key}=... is missing; python -m seg.predict --help says what it is")
    cfg = _typed(cfg, Predict)
    _refuse(
        [
            *wrong_inference(cfg.infer),
            (not cfg.write, "write must name one or more of masks, overlays, probabilities"),
            (
                cfg.batch_size < 1,
                f"batch_size must be 1 or more. Received: {cfg.batch_size}",
            ),
        ]
    )
    return cfg


def _typed(cfg: DictConfig, schema: type) -> DictConfig:
    try:
        # `+trainer.epohcs=5` passes Hydra: only a merge of plain values onto a fresh schema
        # refuses it.
        plain = OmegaConf.to_container(cfg, enum_to_str=True)
        merged = OmegaConf.merge(OmegaConf.structured(schema), plain)
        OmegaConf.resolve(merged)
    except OmegaConfBaseException as error:
        raise SegError(explain(error)) from error
    return cast(DictConfig, merged)


def _refuse(checks: Iterable[tuple[bool, str]]) -> None:
    for wrong, sentence in checks:
        if wrong:
            raise SegError(sentence)
