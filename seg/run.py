"""The command line: `python -m seg.run dataset=spleen model=unet`."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from seg import assist, parts, rerun, resume, runfolder
from seg.build import build
from seg.config import (
    CONFIG_ERRORS,
    MODEL_STAGES,
    conf_dir,
    explain,
    validate,
)
from seg.contracts import SegError, first_line
from seg.jobs import apart, record, slots

JOB = "sweep.job"
SCORES = ("val/", "best/")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the command line knows beyond the config.

    Attributes:
        augment: choice of that group.
        overrides: words that compose the config.
        sweep: folder of the sweep that it is a job of.
        number: within the sweep.
        search: of a trial, what `seg.jobs.prune.Prune` takes, but the pruner as a config.
    """

    augment: str = ""
    overrides: tuple[str, ...] = ()
    sweep: Path | None = None
    number: int | None = None
    search: Mapping[str, Any] | None = None


def run(cfg: DictConfig, folder: Path, job: Job = Job()) -> float:  # noqa: B008
    """Run a validated config into an empty folder, and report on it.

    Returns:
        The objective, NaN where no stage computes it.
    """
    # Imported here, so that --help and --cfg answer without TensorFlow.
    with runfolder.stderr_to(folder / "run.log"):
        from seg import devices, page, params, report, reproduce, stages, workers
        from seg.track import find
        from seg.track.run import NOTE, Target, start

    outputs = Path(cfg.paths.outputs)
    target = Target(
        find.chosen(cfg.tracking.uri, outputs),
        cfg.tracking.experiment,
        outputs,
        job.sweep and resume.identity(job.sweep),
    )
    strategy = parts.strategy(cfg, folder)
    cfg.checkpoint = find.pinned(cfg.checkpoint, target.uri)
    OmegaConf.save(cfg, folder / "config.yaml")
    tags = reproduce.provenance(folder, job.overrides) | {"devices": devices.describe(strategy)}
    if job.sweep:
        tags |= {"mlflow.source.name": report.command(job.overrides), JOB: str(job.number)}
    about = {NOTE: report.report(job.overrides, {}, {}, tags)}
    label, names = f"{params.label(cfg)} {folder.name[-6:]}", stages.names(cfg)
    tracked = start(folder, target, label, tags | about, cfg.tracking.system_metrics)
    with tracked as tracker, workers.together():
        checkpoint = parts.find_checkpoint(cfg.checkpoint, target.uri, folder)
        with strategy.scope() if "train" in names else nullcontext():
            model = parts.model(cfg, names, checkpoint) if MODEL_STAGES & {*names} else None
        tracker.params(params.shown(cfg, job.overrides, job.augment, model))
        splits, data = stages.split(cfg, checkpoint, folder, tracker)
        workers.require_same(strategy, "data", data)
        if cfg.rerun:
            was = rerun.earlier(cfg.rerun, target.uri)
            rerun.warn_of_differences(cfg.rerun, was, tags, data)
        results = stages.run(cfg, model, splits, folder, tracker, checkpoint, _callbacks(job))
        runfolder.write_json(folder / "summary.json", results)
        tracker.metrics(params.scores(results))
        leaks = splits.leaks if splits else ()
        strata = stages.strata(folder)
        text = report.report(job.overrides, results, data, tags, leaks, strata)
        (folder / "report.md").write_text(text)
        page.write(folder)
        tracker.tags({NOTE: text})
        judged = (results.get(cfg.objective, math.nan), data.get("valid", {}).get("digest", ""))
        if cfg.tracking.register and not job.sweep:
            tracker.register(cfg.tracking.register, cfg.objective, *judged)
        if job.sweep:
            scores = {key: value for key, value in results.items() if key.startswith(SCORES)}
            begun = record.Record(job.number, job.overrides, folder=str(folder.resolve()))
            known = {"objective": judged[0], "data": judged[1], "scores": scores}
            record.write(job.sweep, begun.ends(record.FINISHED, **known))
    return judged[0]


def _callbacks(job: Job) -> list:
    """Return what a trial of a search is trained under."""
    if not job.search:
        return []
    from seg import train
    from seg.jobs.prune import Prune

    pruner = build("hydra.sweeper.pruner", OmegaConf.create(job.search["pruner"]))
    curve = train.keras_name(job.search["curve"])
    return [Prune(**{**job.search, "pruner": pruner, "curve": curve})]


def new_folder(cfg: DictConfig) -> Path:
    """Make OUTPUTS/DATASET/MODEL/TIME-ID; MODEL is "checkpoint" or "data" where there is none."""
    model = "checkpoint" if cfg.checkpoint else cfg.model.name
    if not MODEL_STAGES & {stage.name for stage in cfg.stages}:
        model = "data"
    return runfolder.create(Path(cfg.paths.outputs) / cfg.dataset.name / model)


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="config")
def main(cfg: DictConfig) -> float:
    """Validate, make the run's folder, run, print the folder; return the objective to sweepers."""
    hydra_job = HydraConfig.get()
    words = [word for word in hydra_job.overrides.task if not word.startswith("sweep.")]
    job = Job(hydra_job.runtime.choices["augment"], tuple(words))
    if hydra_job.mode == RunMode.MULTIRUN:
        return _apart(cfg, job, hydra_job)
    cfg = _complete(cfg)
    if cfg.trainer.workers:
        # Or TensorFlow would say of workers which have ended that they have crashed.
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if cfg.trainer.worker:
        assist.assist(cfg)
        return math.nan
    folder = new_folder(cfg)
    with runfolder.logged(folder):
        log.info("run folder %s", folder)
        value = run(cfg, folder, job)
    sys.stdout.write(f"{folder}\n")
    return value


def _apart(cfg: DictConfig, job: Job, hydra_job: DictConfig) -> float:
    """Run a job of a sweep in a process of its own, unless it has ended before."""
    sweep, number = Path(hydra_job.sweep.dir).resolve(), cfg.sweep.job
    if number is None:
        raise SegError("hydra/sweeper must be grid or optuna, and hparams_search not null")
    begun = record.Record(number, job.overrides)
    known = record.read(sweep, number)
    if known and known.ended:
        return known.objective
    at_once = cfg.sweep.slots or hydra_job.launcher.get("n_jobs")
    try:
        told = {
            "config": OmegaConf.to_yaml(_complete(cfg)),
            "augment": job.augment,
            "overrides": job.overrides,
            "sweep": str(sweep),
            "number": number,
            "search": _search(hydra_job, number),
            "at_once": at_once and slots.at_once(at_once),
        }
        ended = apart.run(sweep, begun, told, named=bool(at_once))
    except Exception as error:
        record.fail(sweep, begun, first_line(error))
        raise
    sys.stdout.write(f"{ended.folder}\n")
    return ended.objective


def _search(hydra_job: DictConfig, number: int) -> dict[str, Any] | None:
    """Return by what a trial of a search is stopped early, if by anything."""
    sweeper = hydra_job.sweeper
    if not sweeper.get("pruner"):
        return None
    name = resume.identity(Path(hydra_job.sweep.dir))
    told = {"study": name, "url": sweeper.storage, "trial": number, "curve": sweeper.prune_on}
    return {**told, "pruner": OmegaConf.to_container(sweeper.pruner)}


def _complete(cfg: DictConfig) -> DictConfig:
    """Validate; of a rerun, take from the earlier config what the command line does not change."""
    cfg = validate(cfg)
    return _as_before(cfg) if cfg.rerun else cfg


def _as_before(cfg: DictConfig) -> DictConfig:
    """Take from the config of an earlier run what the command line does not change."""
    from seg.track import find

    uri = cfg.tracking.uri or find.default_uri(Path(cfg.paths.outputs))
    was = rerun.earlier(cfg.rerun, uri)
    base = validate(hydra.compose("config", overrides=[*was.overrides]))
    typed = [word for word in HydraConfig.get().overrides.task if word not in was.overrides]
    return validate(rerun.merged(was.config, base, cfg, typed))


def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
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


def prepare() -> None:
    """Have the log on standard error, and SIGTERM do what Ctrl-C does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in ("alembic", "mlflow", "absl", "tensorflow", "hydra", "hydra_plugins"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def talk() -> None:
    """Prepare, and have errors said in a sentence."""
    prepare()
    if "HYDRA_FULL_ERROR" not in os.environ:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra lets errors through, to be said by `say`
        sys.excepthook = say


def cli() -> None:
    """Run `main` with errors as sentences."""
    talk()
    sys.argv[1:] = resume.words(rerun.words(sys.argv[1:]))
    # Hydra takes -m in the first place only.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    main()


if __name__ == "__main__":
    cli()
