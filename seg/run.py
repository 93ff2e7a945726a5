"""The command line: `python -m seg.run dataset=spleen model=unet`."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from seg import runfolder
from seg.build import build, target
from seg.config import (
    CONFIG_ERRORS,
    MODEL_STAGES,
    classes,
    conf_dir,
    explain,
    how_to_get,
    image_size,
    validate,
)
from seg.contracts import SegError

if TYPE_CHECKING:
    import keras

    from seg.contracts import Augment, Case, Splits, Tracker

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the command line knows beyond the config: its overrides, and the sweep's folder."""

    augment: str = ""
    overrides: tuple[str, ...] = ()
    sweep: Path | None = None


def run(cfg: DictConfig, folder: Path, job: Job = Job()) -> float:  # noqa: B008
    """Run the stages of a validated config into an empty folder.

    Returns:
        The objective, NaN where no stage computes it.
    """
    # Imported here, so that --help and --cfg answer without TensorFlow.
    with runfolder.stderr_to(folder / "run.log"):
        from seg import devices, params, reproduce, summary, track
        from seg.data import split
        from seg.models import saved

    outputs = Path(cfg.paths.outputs)
    stages = [stage.name for stage in cfg.stages]
    uri = cfg.tracking.uri or track.default_uri(outputs)
    reproduce.seed_everything(cfg.seed)
    devices.set_numerics(cfg.trainer.precision.name, cfg.trainer.deterministic)
    with runfolder.stderr_to(folder / "run.log"):
        strategy = devices.strategy(cfg.trainer.devices, cfg.trainer.batch_size)
    OmegaConf.save(cfg, folder / "config.yaml")
    tags = reproduce.provenance() | {"devices": devices.describe(strategy)}
    to = (uri, cfg.tracking.experiment, f"{params.label(cfg)} {folder.name[-6:]}")
    results: dict[str, float] = {}
    with track.start(folder, *to, tags, outputs, job.sweep) as tracker:
        checkpoint = _checkpoint(cfg.checkpoint, uri, folder)
        with strategy.scope() if "train" in stages else nullcontext():
            model = _model(cfg, checkpoint) if MODEL_STAGES & {*stages} else None
        tracker.params(params.shown(cfg, job.overrides, job.augment, model))
        if "summary" in stages:
            results |= summary.summarize(model, folder / "summary", _input_shape(cfg))
        if stages != ["summary"]:
            splits = _splits(cfg, stages, checkpoint)
            runfolder.write_json(folder / "splits.json", split.as_json(splits))
            tracker.tag("data.leakage", str(bool(splits.leaks)).lower())
        if "describe" in stages:
            results |= _describe(cfg, splits, folder)
        if "train" in stages:
            results |= _train(cfg, model, splits, folder, tracker)
            model = saved.drop_training_state(folder / "model.keras")
            results |= _validate(cfg, model, splits.valid) if splits.valid else {}
            if cfg.tracking.log_model:
                tracker.model(model, reproduce.requirements())
        if {"evaluate", "infer"} & {*stages}:
            results |= _test(cfg, model, splits.test, stages, folder)
        runfolder.write_json(folder / "summary.json", results)
        tracker.metrics(results)
    return results.get(cfg.objective, math.nan)


def _input_shape(cfg: DictConfig) -> tuple[int, int, int]:
    return (*image_size(cfg), cfg.dataset.channels)


def _model(cfg: DictConfig, checkpoint: Path | None) -> keras.Model:
    """Load or build the model, and compare it with the data before any is read."""
    from seg.models import check, saved

    shape = _input_shape(cfg)
    if checkpoint:
        target("model", cfg.model)  # Keras finds only the layers of imported packages
        _require_labels(cfg, checkpoint)
        model = saved.load(checkpoint)
        if cfg.model.get("deep_supervision") and "train" in [stage.name for stage in cfg.stages]:
            log.warning("checkpoint: has the answer only, and goes on without deep supervision")
    else:
        model = check.functional(build("model", cfg.model, input_shape=shape), shape)
        model.name = cfg.model.name
    check.require_fit(model, shape[:2], shape[2], classes(cfg).logits)
    log.info("model %s: %s parameters", model.name, f"{model.count_params():,}")
    return model


def _require_labels(cfg: DictConfig, checkpoint: Path) -> None:
    """Refuse labels other than those that the run of a checkpoint has learned."""
    if not (known := checkpoint.parent / "config.yaml").exists():
        return
    learned = OmegaConf.select(OmegaConf.load(known), "dataset.labels")
    if dict(learned or {}) != dict(classes(cfg).labels):
        raise SegError(
            f"dataset.labels must be what the checkpoint has learned, {learned or 'null'}. "
            f"Received: {cfg.dataset.labels or 'null'}"
        )


def _splits(cfg: DictConfig, stages: list[str], checkpoint: Path | None) -> Splits:
    """Read and verify the cases and divide them, in sight of what a checkpoint has learned."""
    from seg.data import split

    data, leakage = cfg.dataset, cfg.dataset.leakage.name
    how = (data.fractions, data.split_seed, leakage, data.fold, data.folds)
    splits = split.by_patient(_cases(cfg), *how)
    split.require(splits, stages, cfg.trainer.monitor)
    if checkpoint and (known := checkpoint.parent / "splits.json").exists():
        trained_on = json.loads(known.read_text())
        splits = split.against_checkpoint(splits, trained_on, stages, leakage)
    return splits


def _cases(cfg: DictConfig) -> list[Case]:
    """Read a prepared dataset, or image/mask folders, which are verified first."""
    from seg.data import check, prepared

    data, root = cfg.dataset, Path(cfg.dataset.root).expanduser()
    if root.is_file():
        raise SegError(f"dataset.root: {root} is a file; an archive is given as dataset.source")
    home = _prepared(cfg, root) if data.raw and data.prepare else None
    if home:
        return prepared.read(home, data.on_bad.name, data.channels, classes(cfg))
    holds = root.is_dir() and any(not path.name.startswith(".") for path in root.iterdir())
    if not data.reader or (data.raw and not holds):
        lacks = "nothing to read in" if root.is_dir() else "no folder"
        raise SegError(f"dataset.root: {lacks} {root.resolve()}; {how_to_get(data)}")
    cases = build("dataset.reader", data.reader, root=root)
    return check.verified(cases, data.channels, classes(cfg), data.on_bad.name)


def _prepared(cfg: DictConfig, root: Path) -> Path | None:
    """Return the prepared dataset, made from its source where that is given or fetched."""
    from seg.data import prepare, prepared

    data = cfg.dataset
    plain = OmegaConf.to_container(data)
    recipe, fetch = {key: plain[key] for key in ("name", "raw", "prepare")}, plain["fetch"]
    if recipe["prepare"].get("merge_labels") is True:
        del recipe["prepare"]["merge_labels"]  # named as it was before there was a choice
    if data.download and (there := prepared.fitting(root, recipe, fetch)):
        return there[0]
    parts = (build("dataset.raw", data.raw), build("dataset.prepare", data.prepare))
    source = build("dataset.fetch", data.fetch, root=root) if data.download else data.source
    if not source:
        return prepared.find(root, recipe)
    about = {**data.about, "recipe": recipe, "fetched": fetch if data.download else None}
    return prepare.prepare(Path(source).expanduser(), root, *parts, about, data.on_bad.name)


def _augment(cfg: DictConfig) -> Augment | None:
    from seg.augment.chain import chain

    return chain(build("augment", cfg.augment), binary=not cfg.dataset.labels)


def _describe(cfg: DictConfig, splits: Splits, folder: Path) -> dict[str, float]:
    from seg import describe
    from seg.data import cache

    looks = (cfg.dataset.channels, classes(cfg))
    results = describe.describe(splits, *looks, folder / "describe")
    if splits.train and (augment := _augment(cfg)):
        slices = cache.load(splits.train, image_size(cfg), *looks, "off", folder)
        describe.augmented(splits.train, slices, augment, cfg.seed, folder / "describe")
    return results


def _train(
    cfg: DictConfig,
    model: keras.Model,
    splits: Splits,
    folder: Path,
    tracker: Tracker,
) -> dict[str, float]:
    """Fit, leave model.keras, history.csv and the curves in the folder, return how it went."""
    from seg import train
    from seg.data import cache, pipeline, split
    from seg.figures import plots

    data, plan = cfg.dataset, OmegaConf.to_object(cfg.trainer)
    how = (image_size(cfg), data.channels, classes(cfg), data.cache.name, folder)
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=build("optimizer", cfg.optimizer),
            loss=build("loss", cfg.loss),
            metrics=list(build("metrics", cfg.metrics).values()),
            jit_compile=plan.jit_compile,
        )
    learned = split.thinned(splits.train, data.empty_ratio, cfg.seed)
    slices, valid = cache.load(learned, *how), cache.load(splits.valid, *how)
    batches = pipeline.endless(slices, plan.batch_size, cfg.seed, _augment(cfg))
    steps = plan.steps_per_epoch or math.ceil(len(slices.ids) / plan.batch_size)
    for side, cases, n in (
        ("train", learned, len(slices.ids)),
        ("valid", splits.valid, len(valid.ids)),
    ):
        log.info("%s: %d slices of %d patients", side, n, len({case.patient for case in cases}))
    summary = train.fit(model, batches, steps, valid, plan, folder, tracker)
    plots.curves(folder / "history.csv", summary["best/epoch"], folder / "figures")
    return summary


def _predictions(cfg: DictConfig, model: keras.Model, cases: tuple[Case, ...]) -> Iterator:
    from seg import predict

    return predict.predict_cases(
        model, cases, image_size(cfg), classes(cfg), cfg.trainer.batch_size
    )


def _validate(cfg: DictConfig, model: keras.Model, cases: tuple[Case, ...]) -> dict[str, float]:
    from seg import evaluate

    rows = evaluate.score_cases(_predictions(cfg, model, cases), classes(cfg).names)
    return evaluate.summarize(rows, "val")


def _test(
    cfg: DictConfig, model: keras.Model, cases: tuple[Case, ...], stages: list[str], folder: Path
) -> dict[str, float]:
    """Predict the test cases once, for scores, for pictures, or for both."""
    from seg import evaluate, predict
    from seg.figures import plots

    predictions = _predictions(cfg, model, cases)
    if "infer" in stages:
        predictions = predict.saved(predictions, folder, classes(cfg))
    rows = evaluate.score_cases(predictions, classes(cfg).names)
    if "evaluate" not in stages:
        return {}
    evaluate.write_rows(rows, folder / "cases.csv")
    summary = evaluate.summarize(rows, "test")
    interval = (summary["test/dice_ci_low"], summary["test/dice_ci_high"])
    log.info(
        "test: Dice %.4f (95%% interval %.4f to %.4f) over %d patients",
        *(summary["test/dice"], *interval, summary["test/patients"]),
    )
    for name in classes(cfg).names:
        log.info("test: Dice of %s %.4f", name, summary[f"test/dice_{name}"])
    plots.case_scores(
        rows, "dice", summary["test/dice"], interval, folder / "figures" / "test_dice.png"
    )
    return summary


def new_folder(cfg: DictConfig) -> Path:
    """Make OUTPUTS/DATASET/MODEL/TIME-ID; MODEL is "checkpoint" or "data" where there is none."""
    model = "checkpoint" if cfg.checkpoint else cfg.model.name
    if not MODEL_STAGES & {stage.name for stage in cfg.stages}:
        model = "data"
    return runfolder.create(Path(cfg.paths.outputs) / cfg.dataset.name / model)


def _checkpoint(given: str | None, uri: str, folder: Path) -> Path | None:
    """Find the .keras file that `checkpoint` means: a file, a run folder or an MLflow run id."""
    from seg import track

    if given is None:
        return None
    path = Path(given)
    path = path / "model.keras" if path.is_dir() else path
    if path.exists():
        return path
    if path.suffix == ".keras":
        raise SegError(
            f"checkpoint: no file {path.resolve()}; give a .keras file, a run folder "
            "or an MLflow run id"
        )
    return track.fetch_model(given, uri, folder / "checkpoint")


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> float:
    """Validate, make the run's folder, run, print the folder; return the objective to sweepers."""
    cfg = validate(cfg)
    hydra_job = HydraConfig.get()
    multirun = hydra_job.mode == RunMode.MULTIRUN
    job = Job(
        augment=hydra_job.runtime.choices["augment"],
        overrides=tuple(hydra_job.overrides.task),
        sweep=Path(hydra_job.sweep.dir) if multirun else None,
    )
    folder = new_folder(cfg)
    with runfolder.logged(folder):
        log.info("run folder %s", folder)
        value = run(cfg, folder, job)
    sys.stdout.write(f"{folder}\n")
    return value


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print one sentence for an error; who sets HYDRA_FULL_ERROR=1 gets the traceback."""
    if kind is BrokenPipeError:
        return
    if kind is KeyboardInterrupt:
        sentence = "interrupted; what was finished is in the run's folder"
    elif issubclass(kind, SegError):
        sentence = str(error)
    elif issubclass(kind, CONFIG_ERRORS):
        sentence = explain(error)
    elif issubclass(kind, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        sentence = f"{where}{error.strerror}; check paths.outputs, paths.data and the disk"
    elif inside := re.search(r"PyFunc.*?^(\w+Error): (.+?)$", str(error), re.M | re.S):
        # TensorFlow wraps what is raised in the input pipeline into a page of its own.
        sentence = inside[2] if inside[1] == "SegError" else f"unexpected {inside[1]}: {inside[2]}"
    else:
        sentence = f"unexpected {kind.__name__}: {error}"
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
    sys.stderr.write(f"error: {sentence}{notes}\n")


def cli() -> None:
    """Run `main` with the log on standard error and errors as sentences."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("alembic", "mlflow", "absl", "tensorflow"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Hydra takes -m in the first place only.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "HYDRA_FULL_ERROR" not in os.environ:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets errors through, to be said by _say
        sys.excepthook = _say
    main()


if __name__ == "__main__":
    cli()
