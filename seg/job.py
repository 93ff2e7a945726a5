"""The process of one job of a sweep; `seg.jobs.apart` starts it and says what to do."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from omegaconf import OmegaConf

from seg import resume, runfolder
from seg.config import validate
from seg.contracts import Pruned, first_line
from seg.jobs import record, slots
from seg.run import Job, new_folder, prepare, run, say

log = logging.getLogger(__name__)


def main() -> None:
    """Run the job that standard input tells of, unless it has ended, and write how it ended."""
    told = json.loads(sys.stdin.readline())
    prepare()
    # Slurm's warning of the time limit is for the launcher, which may begin the job again.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    sweep, number = Path(told["sweep"]), told["number"]
    if record.alive(sweep, number):
        log.info("job %d is under way in another process, whose end is waited for", number)
    with record.lock(sweep, number):
        before = record.read(sweep, number)
        if before and before.ended:
            return
        if before and before.folder:
            _take_apart(before)
        at_once = told["at_once"]
        with slots.leased(at_once, sweep) if at_once else nullcontext(slots.Slot()) as slot:
            slot.use()
            _run(told, sweep, number)


def _take_apart(before: record.Record) -> None:
    """End the run of an earlier process that was killed, and take it out of the sweep."""
    from seg.track.run import settle

    log.info("job %d was interrupted before: %s", before.job, before.folder)
    settle(Path(before.folder), "KILLED", apart=True)


def _run(told: Mapping, sweep: Path, number: int) -> None:
    cfg = validate(OmegaConf.create(told["config"]))
    folder = new_folder(cfg).resolve()
    job = Job(told["augment"], tuple(told["overrides"]), sweep, number, told["search"])
    begun = record.Record(number, job.overrides, folder=str(folder))
    record.write(sweep, begun)
    with runfolder.logged(folder):
        log.info("job %d: %s", number, " ".join(resume.swept(sweep, job.overrides)) or "as it is")
        try:
            run(cfg, folder, job)
        except Pruned as pruned:
            log.info("pruned %s", pruned)
            record.write(sweep, begun.ends(record.PRUNED, said=str(pruned)))
        except Exception as error:
            record.write(sweep, begun.ends(record.FAILED, said=first_line(error)))
            raise


def _end_with_the_parent() -> None:
    """Stop as by Ctrl-C when standard input ends, which its writer keeps open while it lives."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:  # noqa: BLE001  said, and told by the status
        say(type(error), error, None)
        sys.exit(1)
