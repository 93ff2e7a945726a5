"""Types of the fixed knobs, and the checks that refuse a wrong config before anything is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seg.contracts import Classes, Scores, SegError

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


def conf_dir() -> str:
    """Return the absolute folder of the YAML files, in a checkout or in an installed wheel."""
    inside = Path(__file__).parent / "conf"
    return str(inside if inside.is_dir() else Path(__file__).parents[1] / "conf")


def validate(cfg: DictConfig) -> DictConfig:
    """Return the config resolved and typed.

    Raises:
        SegError: a key is unknown or mistyped, or values contradict each other.
    """
    cfg = _typed(cfg, Config)
    _refuse(_contradictions(cfg))
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
            *_wrong_inference(cfg.infer),
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


def _contradictions(cfg: DictConfig) -> list[tuple[bool, str]]:
    dataset, trainer = cfg.dataset, cfg.trainer
    stages = [stage.name for stage in cfg.stages]
    curves = _curves(cfg)
    monitored = monitored_curves(cfg)
    objectives = [f"val/{name}" for name in Scores.gains()]
    fractions = list(dataset.fractions)
    return [
        (
            cfg.tracking.register is not None
            and not ("train" in stages and cfg.tracking.log_model),
            "tracking.register needs the stage train and tracking.log_model=true: a model is "
            f"registered when it is sent. Received: {cfg.tracking.register}",
        ),
        (
            not re.fullmatch(r"[^/:.%\"'@]+", cfg.tracking.register or "none"),
            "tracking.register: a name has none of / : . % @ and quotes. "
            f"Received: {cfg.tracking.register}",
        ),
        (
            dataset.channels not in (1, 3),
            f"dataset.channels must be 1 (grey) or 3 (colour). Received: {dataset.channels}",
        ),
        (
            len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6,
            f"dataset.fractions must be three shares (train, valid, test) that sum to 1. "
            f"Received: {fractions}",
        ),
        (
            not stages or len(set(stages)) < len(stages),
            f"stages must name one or more of {', '.join(Stage.__members__)}, each once. "
            f"Received: {stages}",
        ),
        (
            "train" not in stages and {"evaluate", "infer"} & {*stages} and cfg.checkpoint is None,
            f"checkpoint must name a trained model when stages ({', '.join(stages)}) leave out "
            "train: a .keras file, a run folder or an MLflow run id. Received: null",
        ),
        (
            cfg.objective not in objectives,
            f"objective must be one of {', '.join(objectives)} (a model is never chosen by its "
            f"test score). Received: {cfg.objective}",
        ),
        *(
            (
                not 0 <= seed < 2**32,
                f"{key} must be 0 or more and less than 2^32. Received: {seed}",
            )
            for key, seed in (("seed", cfg.seed), ("dataset.split_seed", dataset.split_seed))
        ),
        (
            dataset.fold is not None and not 0 <= dataset.fold < dataset.folds,
            f"dataset.fold must be one of the dataset.folds={dataset.folds} folds, counted from 0. "
            f"Received: {dataset.fold}",
        ),
        (
            dataset.folds < 2,
            f"dataset.folds must be 2 or more. Received: {dataset.folds}",
        ),
        (
            not 0 <= dataset.mask_threshold < 255,
            f"dataset.mask_threshold must be 0 or more and below 255. "
            f"Received: {dataset.mask_threshold:g}",
        ),
        *_wrong_labels(cfg),
        (
            dataset.spacing_mm is not None
            and (len(dataset.spacing_mm) != 3 or min(dataset.spacing_mm) <= 0),
            "dataset.spacing_mm must be null, or the distance of slices, rows and columns. "
            f"Received: {dataset.spacing_mm}",
        ),
        (
            dataset.surface_tolerance_mm < 0,
            "dataset.surface_tolerance_mm must be 0 or more. "
            f"Received: {dataset.surface_tolerance_mm}",
        ),
        *_wrong_inference(cfg.infer),
        (
            dataset.empty_ratio is not None and dataset.empty_ratio < 0,
            f"dataset.empty_ratio must be 0 or more, or null. Received: {dataset.empty_ratio}",
        ),
        (
            dataset.download and dataset.source is not None,
            f"dataset.download=true fetches the source: leave out dataset.source={dataset.source}",
        ),
        (
            dataset.download and dataset.fetch is None,
            f"dataset.download: no program can fetch {dataset.name}; {how_to_get(dataset)}",
        ),
        (
            dataset.source is not None and not (dataset.source and dataset.raw and dataset.prepare),
            f"dataset.source={dataset.source}: needs a path, and a dataset whose YAML has raw and "
            "prepare; dataset.root=FOLDER reads images and masks",
        ),
        (
            trainer.jit_compile and trainer.deterministic,
            "trainer.jit_compile=true needs trainer.deterministic=false: Keras turns XLA off "
            "where sums must keep their order",
        ),
        (
            trainer.jit_compile and bool(re.fullmatch(r"cpu:([2-9]|[1-9]\d+)", trainer.devices)),
            "trainer.jit_compile=true needs trainer.devices=cpu or GPUs: TensorFlow has no XLA for "
            f"several virtual devices of a CPU. Received: {trainer.devices}",
        ),
        *_wrong_workers(trainer, stages),
        (
            trainer.workers is not None and cfg.sweep.job is not None,
            "trainer.workers must be null in a sweep, whose jobs train on one machine each. "
            f"Received: {trainer.workers}",
        ),
        (
            trainer.lr_factor is not None
            and OmegaConf.is_dict(OmegaConf.select(cfg, "optimizer.learning_rate")),
            "trainer.lr_factor must be null where optimizer.learning_rate is a schedule. "
            f"Received: {trainer.lr_factor}",
        ),
        (
            not re.fullmatch(r"auto|(cpu|gpu)(:[1-9]\d*)?", trainer.devices),
            f"trainer.devices must be auto, cpu, cpu:N, gpu or gpu:N. Received: {trainer.devices}",
        ),
        (
            bool(set(curves) & set(Scores.names())),
            f"metrics: a curve must not have the name of a reported score "
            f"({', '.join(Scores.names())}). Received: {', '.join(curves)}",
        ),
        (
            trainer.monitor not in monitored,
            f"trainer.monitor must be one of {', '.join(monitored)}. Received: {trainer.monitor}",
        ),
        *(
            (
                value is not None and value < least,
                f"{key} must be {least} or more. Received: {value}",
            )
            for key, least, value in (
                ("sweep.slots", 1, cfg.sweep.slots),
                ("trainer.epochs", 1, trainer.epochs),
                ("trainer.batch_size", 1, trainer.batch_size),
                ("trainer.steps_per_epoch", 1, trainer.steps_per_epoch),
                ("trainer.early_stop_patience", 1, trainer.early_stop_patience),
                ("trainer.lr_patience", 1, trainer.lr_patience),
                ("trainer.epoch_images", 0, trainer.epoch_images),
            )
        ),
        (
            trainer.lr_factor is not None and not 0 < trainer.lr_factor < 1,
            f"trainer.lr_factor must lie between 0 and 1, or be null. "
            f"Received: {trainer.lr_factor}",
        ),
    ]


def _wrong_inference(infer: DictConfig) -> list[tuple[bool, str]]:
    """Check `infer`: of each key whether it is wrong, and the sentence that says so."""
    switches = ("fill_holes", "largest_component", "tta")
    numbers = (("threshold", "a number in 0..1", 1.0), ("min_size", "0 or more", float("inf")))
    return [
        *(
            (
                infer[key] not in ("auto", True, False) or type(infer[key]) not in (str, bool),
                f"infer.{key} must be auto, true or false. Received: {infer[key]}",
            )
            for key in switches
        ),
        *(
            (
                infer[key] != "auto"
                and (type(infer[key]) not in (int, float) or not 0 <= infer[key] <= most),
                f"infer.{key} must be auto, or {said}. Received: {infer[key]}",
            )
            for key, said, most in numbers
        ),
        (
            not 0 <= infer.overlap < 1,
            f"infer.overlap must be 0 or more and below 1. Received: {infer.overlap}",
        ),
    ]


def _wrong_workers(trainer: DictConfig, stages: list[str]) -> list[tuple[bool, str]]:
    """Check `trainer.workers`, and which of them this is."""
    workers, worker = trainer.workers, trainer.worker
    if workers is None:
        return [(worker is not None, f"trainer.worker={worker} needs trainer.workers")]
    several = 2 <= len(set(workers)) == len(workers)
    return [
        (
            not several or not all(re.fullmatch(r"[^\s/:]+:\d{1,5}", word) for word in workers),
            "trainer.workers must be null, or two or more HOST:PORT, the same list for each. "
            f"Received: {workers}",
        ),
        (
            worker not in range(len(workers)),
            f"trainer.worker must say which of {len(workers)} trainer.workers this is, counted "
            f"from 0. Received: {'null' if worker is None else worker}",
        ),
        (
            "train" not in stages or trainer.jit_compile or "cpu:" in trainer.devices,
            "trainer.workers needs the stage train, trainer.jit_compile=false, and not cpu:N. "
            f"Received: {', '.join(stages)}; {trainer.jit_compile}; {trainer.devices}",
        ),
    ]


def _curves(cfg: DictConfig) -> list[str]:
    return ["loss", *(metric.name for metric in (cfg.metrics or {}).values() if metric)]


def monitored_curves(cfg: DictConfig) -> list[str]:
    """Return the curves of training by which a run can be judged while it goes on."""
    return [f"{side}/{curve}" for side in ("val", "train") for curve in _curves(cfg)]


def _wrong_labels(cfg: DictConfig) -> list[tuple[bool, str]]:
    """Check `dataset.labels`, whose names become columns and scores: test/dice_NAME_ci_low."""
    dataset = cfg.dataset
    given = dataset.labels
    if given is not None and not (OmegaConf.is_dict(given) and 1 <= len(given) <= 254):
        sentence = "dataset.labels must be null, or {NAME: VALUE, ...} of 1 to 254 classes."
        return [(True, f"{sentence} Received: {given}")]
    labels = dict(given or {})
    values = [*labels.values()]
    taken = {"sd", "ci_low", "ci_high", "median", "undefined"}
    merged = OmegaConf.select(cfg, "dataset.prepare.merge_labels")
    return [
        *(
            (
                not str(name).isidentifier()
                or name in taken
                or name.endswith(("_ci_low", "_ci_high")),
                "dataset.labels: a name is a word of letters, digits and _, but not "
                f"{', '.join(sorted(taken))}. Received: {name}",
            )
            for name in labels
        ),
        (
            not all(type(value) is int and 0 < value < 2**16 for value in values)
            or len(set(values)) < len(values),
            "dataset.labels: values must be whole numbers in 1..65535, no two the same. "
            f"Received: {labels}",
        ),
        (
            merged is False and not labels,
            "dataset.prepare.merge_labels=false needs the names of the values that masks keep: "
            "dataset.labels={NAME: VALUE, ...}. Received: null",
        ),
        (
            merged is True
            and values not in ([], [255])
            and (dataset.source is not None or dataset.download),
            "dataset.labels needs dataset.prepare.merge_labels=false, or prepared masks are 0 and "
            f"255. Received: {labels}",
        ),
    ]


def classes(cfg: DictConfig) -> Classes:
    """Return what the pixels of the dataset's masks say."""
    labels = dict(cfg.dataset.labels or {})
    # By value, or who types the names in another order would swap what a checkpoint has learned.
    return Classes(cfg.dataset.mask_threshold, dict(sorted(labels.items(), key=lambda x: x[1])))


def how_to_get(dataset: DictConfig) -> str:
    """Say in words how a dataset comes into a run."""
    about = dataset.about
    itself = " (or dataset.download=true, which does both)" if dataset.fetch else ""
    raw = f"download {about.files} from {about.address} and give dataset.source=PATH{itself}; "
    return (
        raw if dataset.raw and about.address else ""
    ) + "dataset.root=FOLDER reads image/mask folders, dataset=phantom needs no data"


def image_size(cfg: DictConfig) -> tuple[int, int]:
    """Return `dataset.image_size` as (height, width).

    Raises:
        SegError: it is neither a positive number nor two of them.
    """
    value = cfg.dataset.image_size
    sides = [value, value] if isinstance(value, int) else value
    if not OmegaConf.is_list(sides) and not isinstance(sides, list):
        sides = []
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise SegError(
            f"dataset.image_size must be a number of pixels, or [height, width]. Received: {value}"
        )
    return sides[0], sides[1]


def explain(error: BaseException) -> str:
    """Turn an error of Hydra or OmegaConf into one sentence that says what to type."""
    lines = [line.strip() for e in _chain(error) for line in str(e).splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be understood ({lines[0]}); put the argument in quotes, "
            "and a value with spaces or signs in its own: 'stages=[train,evaluate]', "
            "'key=\"a value\"'"
        )
    text = " ".join(lines)
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several:
        return f"{several[1]}: several values are a sweep, -m is to be added; a list is [a,b]"
    unknown = re.search(r"Key '([^']+)' (?:is )?not in '?(\w+)'?", text)
    choice = re.search(r"Could not find '([\w/]+)/([^'/]+)'", text)
    if choice and choice[1] == "hydra/launcher":
        return (
            f"hydra/launcher={choice[2]}: no such launcher is installed; joblib is, and "
            "pip install -e '.[slurm]' brings submitit_slurm and submitit_local"
        )
    if choice:
        group, name = choice.groups()
        options = sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))
        return f"{group}={name}: no such choice; take one of {', '.join(options)}"
    if unknown:
        return _unknown_key(unknown[1], unknown[2], text)
    full_key = re.search(r"full_key: (\S+)", text)
    said = next((line for line in lines if not line.startswith("Error merging override")), text)
    return f"{full_key[1]}: {said}" if full_key else said


def _unknown_key(name: str, owner: str, text: str) -> str:
    full_key = re.search(r"full_key: (\S+)", text)
    key = full_key[1] if full_key else name
    schema = {
        c.__name__: c
        for c in (Config, Dataset, About, Trainer, Infer, Overlay, Tracking, Sweep, Paths, Predict)
    }.get(owner)
    files = Path(conf_dir()).glob(f"{key.partition('.')[0]}/*.yaml")
    in_files = {k for file in files for k in re.findall(r"^ *(\w+):", file.read_text(), re.M)}
    known = list(schema.__dataclass_fields__) if schema else sorted(in_files)
    close = difflib.get_close_matches(name, known, n=1)
    prefix = key[: -len(name)] if key.endswith(name) else ""
    hint = f"did you mean {prefix}{close[0]}?" if close else "see --help for the keys there are"
    if close == [name] or (not schema and not close):
        hint = f"this choice has it not, see --help; +{key}=VALUE adds it for a part of your own"
    return f"{key}: no such key; {hint}"


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__cause__)]


CONFIG_ERRORS = (HydraException, OmegaConfBaseException)
