"""The command line: `python -m seg.run dataset=spleen model=unet`."""

from __future__ import annotations

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

from seg import parts, rerun, runfolder
from seg.build import build
from seg.config import (
    CONFIG_ERRORS,
    MODEL_STAGES,
    classes,
    conf_dir,
    explain,
    image_size,
    validate,
)
from seg.contracts import SegError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from seg.contracts import Augment, Case, Splits, Tracker

NOTE = "mlflow.note.content"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the command line knows beyond the config: its overrides, and the sweep's folder."""

    augment: str = ""
    overrides: tuple[str, ...] = ()
    sweep: Path | None = None


def run(cfg: DictConfig, folder: Path, job: Job = Job()) -> float:  # noqa: B008
    """Run the stages of a validated config into an empty folder, and report on them.

    Returns:
        The objective, NaN where no stage computes it.
    """
    # Imported here, so that --help and --cfg answer without TensorFlow.
    with runfolder.stderr_to(folder / "run.log"):
        from seg import devices, params, report, reproduce
        from seg.track import find
        from seg.track.run import Target, start

    outputs = Path(cfg.paths.outputs)
    target = Target(
        cfg.tracking.uri or find.default_uri(outputs),
        cfg.tracking.experiment,
        outputs,
        job.sweep and job.sweep.name,
    )
    reproduce.seed_everything(cfg.seed)
    devices.set_numerics(cfg.trainer.precision.name, cfg.trainer.deterministic)
    with runfolder.stderr_to(folder / "run.log"):
        strategy = devices.strategy(cfg.trainer.devices, cfg.trainer.batch_size)
    OmegaConf.save(cfg, folder / "config.yaml")
    tags = reproduce.provenance(folder, job.overrides) | {"devices": devices.describe(strategy)}
    about = {NOTE: report.report(job.overrides, {}, {}, tags)}
    name = f"{params.label(cfg)} {folder.name[-6:]}"
    with start(folder, target, name, tags | about, cfg.tracking.system_metrics) as tracker:
        results, data, leaks = _stages(cfg, folder, job, strategy, target.uri, tags, tracker)
        runfolder.write_json(folder / "summary.json", results)
        tracker.metrics(results)
        text = report.report(job.overrides, results, data, tags, leaks)
        (folder / "report.md").write_text(text)
        tracker.tags({NOTE: text})
        judged = (results.get(cfg.objective, math.nan), data.get("valid", {}).get("digest", ""))
        if cfg.tracking.register and not job.sweep:
            tracker.register(cfg.tracking.register, cfg.objective, *judged)
    if job.sweep:
        runfolder.note_job(job.sweep, folder, *judged)
    return judged[0]


def _stages(
    cfg: DictConfig,
    folder: Path,
    job: Job,
    strategy: tf.distribute.Strategy,
    uri: str,
    tags: dict[str, str],
    tracker: Tracker,
) -> tuple[dict[str, float], dict[str, dict], tuple[str, ...]]:
    """Run the stages, and return their results, what data they had, and patients that leak."""
    from seg import params, reproduce, summary
    from seg.models import saved

    stages = [stage.name for stage in cfg.stages]
    results: dict[str, float] = {}
    data, splits = {}, None
    checkpoint = parts.find_checkpoint(cfg.checkpoint, uri, folder)
    with strategy.scope() if "train" in stages else nullcontext():
        model = parts.model(cfg, stages, checkpoint) if MODEL_STAGES & {*stages} else None
    augment = parts.augment(cfg, model) if {"describe", "train"} & {*stages} else None
    tracker.params(params.shown(cfg, job.overrides, job.augment, model))
    if "summary" in stages:
        results |= summary.summarize(model, folder / "summary", parts.input_shape(cfg))
    if stages != ["summary"]:
        splits, data = _split(cfg, stages, checkpoint, folder, tracker)
    if cfg.rerun:
        rerun.warn_of_differences(cfg.rerun, rerun.earlier(cfg.rerun, uri), tags, data)
    if "describe" in stages:
        results |= _describe(cfg, splits, augment, folder)
    if "train" in stages:
        results |= _train(cfg, model, splits, augment, folder, tracker)
        model = saved.drop_training_state(folder / "model.keras")
        results |= _validate(cfg, model, splits.valid) if splits.valid else {}
        if cfg.tracking.log_model:
            tracker.model(model, folder / "model.keras", reproduce.requirements())
    if {"evaluate", "infer"} & {*stages}:
        results |= _test(cfg, model, splits.test, stages, folder, tracker)
    return results, data, splits.leaks if splits else ()


def _split(
    cfg: DictConfig, stages: list[str], checkpoint: Path | None, folder: Path, tracker: Tracker
) -> tuple[Splits, dict[str, dict]]:
    """Divide the cases, and leave in the folder and with the tracker which they are."""
    from seg.data import digest, split

    splits = parts.splits(cfg, stages, checkpoint)
    data = {side: digest.contents(cases) for side, cases in splits.sides().items() if cases}
    runfolder.write_json(folder / "splits.json", split.as_json(splits))
    runfolder.write_json(folder / "data.json", data)
    tracker.dataset(cfg.dataset.name, str(Path(cfg.dataset.root).resolve()), data)
    tracker.tags({"data.leakage": str(bool(splits.leaks)).lower()})
    return splits, data


def _describe(
    cfg: DictConfig, splits: Splits, augment: Augment | None, folder: Path
) -> dict[str, float]:
    from seg import describe
    from seg.data import cache

    looks = (cfg.dataset.channels, classes(cfg))
    results = describe.describe(splits, *looks, folder / "describe")
    if splits.train and augment:
        slices = cache.load(splits.train, image_size(cfg), *looks, "off", folder)
        describe.augmented(splits.train, slices, augment, cfg.seed, folder / "describe")
    return results


def _train(
    cfg: DictConfig,
    model: keras.Model,
    splits: Splits,
    augment: Augment | None,
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
    batches = pipeline.endless(slices, plan.batch_size, cfg.seed, augment)
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
    cfg: DictConfig,
    model: keras.Model,
    cases: tuple[Case, ...],
    stages: list[str],
    folder: Path,
    tracker: Tracker,
) -> dict[str, float]:
    """Predict the test cases once, for scores, for pictures, or for both."""
    from seg import evaluate, predict
    from seg.figures import plots

    predictions = _predictions(cfg, model, cases)
    if "infer" in stages:
        predictions = predict.saved(predictions, folder, classes(cfg))
    hardest = predict.Hardest()
    rows = evaluate.score_cases(hardest.watch(predictions), classes(cfg).names)
    if "evaluate" not in stages:
        return {}
    evaluate.write_rows(rows, folder / "cases.csv")
    tracker.table(evaluate.write_table(rows, folder / "cases.json"))
    summary = evaluate.summarize(rows, "test")
    interval = (summary["test/dice_ci_low"], summary["test/dice_ci_high"])
    log.info(
        "test: Dice %.4f (95%% interval %.4f to %.4f) over %d patients",
        *(summary["test/dice"], *interval, summary["test/patients"]),
    )
    for name in classes(cfg).names:
        log.info("test: Dice of %s %.4f", name, summary[f"test/dice_{name}"])
    figures = folder / "figures"
    plots.case_scores(rows, "dice", summary["test/dice"], interval, figures / "test_dice.png")
    hardest.draw(evaluate.extremes(rows), figures / "worst_best.png", classes(cfg))
    return summary


def new_folder(cfg: DictConfig) -> Path:
    """Make OUTPUTS/DATASET/MODEL/TIME-ID; MODEL is "checkpoint" or "data" where there is none."""
    model = "checkpoint" if cfg.checkpoint else cfg.model.name
    if not MODEL_STAGES & {stage.name for stage in cfg.stages}:
        model = "data"
    return runfolder.create(Path(cfg.paths.outputs) / cfg.dataset.name / model)


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> float:
    """Validate, make the run's folder, run, print the folder; return the objective to sweepers."""
    cfg = validate(cfg)
    hydra_job = HydraConfig.get()
    if cfg.rerun:
        cfg = _as_before(cfg)
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


def _as_before(cfg: DictConfig) -> DictConfig:
    """Take from the config of an earlier run what the command line does not change."""
    from seg.track import find

    uri = cfg.tracking.uri or find.default_uri(Path(cfg.paths.outputs))
    was = rerun.earlier(cfg.rerun, uri)
    base = validate(hydra.compose("config", overrides=[*was.overrides]))
    return validate(rerun.merged(was.config, base, cfg))


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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if "HYDRA_FULL_ERROR" not in os.environ:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets errors through, to be said by _say
        sys.excepthook = _say
    sys.argv[1:] = rerun.words(sys.argv[1:])
    # Hydra takes -m in the first place only.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    main()


if __name__ == "__main__":
    cli()
