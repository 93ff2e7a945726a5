"""The end of a sweep: the best job, its model registered, and where all jobs are seen."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from seg import runfolder

log = logging.getLogger(__name__)


class Ending(Callback):
    """What Hydra calls after the last job."""

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Name the best job, register its model where asked for, say where the charts are."""
        jobs = runfolder.jobs(Path(config.hydra.sweep.dir))
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
