"""Types of the fixed knobs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

Stage = Enum("Stage", ["prepare", "describe", "summary", "train", "evaluate", "infer"])
MODEL_STAGES = {"summary", "train", "evaluate", "infer"}
OnBad = Enum("OnBad", ["error", "skip"])
Leakage = Enum("Leakage", ["warn", "error"])
Cache = Enum("Cache", ["auto", "memory", "disk", "off"])
Tile = Enum("Tile", ["auto", "never"])
Written = Enum("Written", ["masks", "overlays", "probabilities"])
Precision = Enum("Precision", ["float32", "mixed_bfloat16", "mixed_float16"])


@dataclass
class Paths:
    """Roots of what is read and what is written."""

    data: str = MISSING
    outputs: str = MISSING


@dataclass
class About:
    """Where a dataset comes from, for messages and dataset.json."""

    address: str | None = MISSING
    files: str | None = MISSING
    licence: str | None = MISSING
    citation: str | None = MISSING


@dataclass
class Dataset:
    """Knobs of every dataset; `reader`, `fetch`, `raw` and `prepare` are the replaceable parts."""

    name: str = MISSING
    root: str = MISSING
    source: str | None = MISSING
    download: bool = MISSING
    on_bad: OnBad = MISSING
    image_size: Any = MISSING
    channels: int = MISSING
    mask_threshold: float = MISSING
    labels: Any = MISSING
    spacing_mm: list[float] | None = MISSING
    lesions: bool = MISSING
    surface_tolerance_mm: float = MISSING
    empty_ratio: float | None = MISSING
    cache: Cache = MISSING
    leakage: Leakage = MISSING
    fractions: list[float] = MISSING
    fold: int | None = MISSING
    folds: int = MISSING
    split_seed: int = MISSING
    reader: dict[str, Any] | None = MISSING
    fetch: dict[str, Any] | None = MISSING
    raw: dict[str, Any] | None = MISSING
    prepare: dict[str, Any] | None = MISSING
    about: About = field(default_factory=About)


@dataclass
class Trainer:
    """Knobs of the training loop."""

    epochs: int = MISSING
    batch_size: int = MISSING
    steps_per_epoch: int | None = MISSING
    monitor: str = MISSING
    early_stop_patience: int | None = MISSING
    lr_factor: float | None = MISSING
    lr_patience: int = MISSING
    precision: Precision = MISSING
    devices: str = MISSING
    deterministic: bool = MISSING
    jit_compile: bool = MISSING
    epoch_images: int = MISSING
    workers: list[str] | None = MISSING
    worker: int | None = MISSING


@dataclass
class Infer:
    """Knobs of the way from probabilities to masks; what is not typed may be "auto"."""

    threshold: Any = MISSING
    fill_holes: Any = MISSING
    min_size: Any = MISSING
    largest_component: Any = MISSING
    tta: Any = MISSING
    tile: Tile = MISSING
    overlap: float = MISSING


@dataclass
class Overlay:
    """Knobs of pictures of masks over images."""

    truth_colours: list[str] = MISSING
    prediction_colours: list[str] = MISSING
    outline_px: int = MISSING
    opacity: float = MISSING


@dataclass
class Tracking:
    """Knobs of the tracking server."""

    uri: str | None = MISSING
    experiment: str = MISSING
    log_model: bool = MISSING
    register: str | None = MISSING
    system_metrics: bool = MISSING


@dataclass
class Sweep:
    """Knobs of a sweep, and what its jobs are told."""

    resume: str | None = MISSING
    retry: bool = MISSING
    slots: int | None = MISSING
    job: int | None = MISSING


@dataclass
class Config:
    """An experiment: fixed knobs typed, replaceable parts free (their signature is their type)."""

    dataset: Dataset = field(default_factory=Dataset)
    model: Any = MISSING
    loss: Any = MISSING
    metrics: Any = MISSING
    augment: Any = MISSING
    optimizer: Any = MISSING
    trainer: Trainer = field(default_factory=Trainer)
    infer: Infer = field(default_factory=Infer)
    overlay: Overlay = field(default_factory=Overlay)
    tracking: Tracking = field(default_factory=Tracking)
    seed: int = MISSING
    stages: list[Stage] = MISSING
    checkpoint: str | None = MISSING
    objective: str = MISSING
    rerun: str | None = MISSING
    sweep: Sweep = field(default_factory=Sweep)
    paths: Paths = field(default_factory=Paths)


@dataclass
class Predict:
    """What `seg.predict` takes."""

    model: Any = MISSING
    input: str = MISSING
    output: str = MISSING
    write: list[Written] = MISSING
    batch_size: int = MISSING
    uri: str | None = MISSING
    outputs: str = MISSING
    infer: Infer = field(default_factory=Infer)
    overlay: Overlay = field(default_factory=Overlay)


ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(name="predict_schema", node=Predict)
