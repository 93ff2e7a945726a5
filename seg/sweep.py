"""The end of a sweep: the best job, its model registered, and where all jobs are seen."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

JOBS = "jobs.jsonl"

log = logging.getLogger(__name__)


def note(sweep: Path, folder: Path, objective: float, data: str) -> None:
    """Write down that a job of a sweep is done.

    Args:
        sweep: folder of the sweep.
        folder: of the job's run.
        objective: NaN where none was computed.
        data: digest of what it was computed on.
    """
    entry = {"folder": str(folder.resolve()), "objective": objective, "data": data}
    with (sweep / JOBS).open("a") as jobs:
        jobs.write(json.dumps(entry) + "\n")


class Ending(Callback):
    """What Hydra calls after the last job."""

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Name the best job, register its model where asked for, say where the charts are."""
        file = Path(config.hydra.sweep.dir) / JOBS
        jobs = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        judged = [job for job in jobs if not math.isnan(job["objective"])]
        if not judged:
            return
        best = max(judged, key=lambda job: job["objective"])
        objective, folder = config.objective, Path(best["folder"])
        log.info(
            "sweep: %d jobs, the best by %s, %.4f: %s",
            *(len(jobs), objective, best["objective"], folder),
        )
        from seg.track import run

        if name := config.tracking.register:
            run.register(folder, name, objective, best["objective"], best["data"])
        for line in run.where(folder, of_sweep=True):
            log.info("%s", line)
