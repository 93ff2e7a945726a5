"""What a sweep knows of its jobs: SWEEP/state/jobs/NNN.json, a file a job, each written at once."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

STATE = "state"
RUNNING, FINISHED, PRUNED, FAILED = "running", "finished", "pruned", "failed"


@dataclass(frozen=True)
class Record:
    """A job of a sweep.

    Attributes:
        job: its number, counted from 0.
        words: of the command line that would run it alone.
        state: running, until it has ended as finished, pruned or failed. A process that was killed
            leaves it running.
        folder: of its run; empty where it came to none.
        objective: NaN where none was computed.
        scores: of the validation, and its best epoch.
        data: digest of what the objective was computed on.
        said: of a failed job its error, of a pruned one when, in a line.
    """

    job: int
    words: tuple[str, ...]
    state: str = RUNNING
    folder: str = ""
    objective: float = math.nan
    scores: dict[str, float] = field(default_factory=dict)
    data: str = ""
    said: str = ""

    @property
    def ended(self) -> bool:
        """Say whether nothing is left to do."""
        return self.state != RUNNING

    def ends(self, state: str, **known: object) -> Record:
        """Return it as it has ended."""
        return dataclasses.replace(self, state=state, **known)


def write(sweep: Path, record: Record) -> None:
    """Write a record in the place of an earlier one."""
    write_whole(_file(sweep, record.job), json.dumps(dataclasses.asdict(record)))


def write_whole(file: Path, text: str) -> None:
    """Write a file of which, whenever the machine dies, there is all or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("w") as content:
        content.write(text)
        content.flush()
        os.fsync(content.fileno())
    part.replace(file)


def fail(sweep: Path, begun: Record, said: str) -> Record:
    """Write that a job has failed, unless another process has it, and return how it ended."""
    with lock(sweep, begun.job):
        known = read(sweep, begun.job) or begun
        if not known.ended:
            known = known.ends(FAILED, said=said)
            write(sweep, known)
    return known


def read(sweep: Path, job: int) -> Record | None:
    """Return the record of a job, None of one that has not begun."""
    try:
        values = json.loads(_file(sweep, job).read_text())
    except FileNotFoundError:
        return None
    return Record(**{**values, "words": tuple(values["words"])})


def forget(sweep: Path, job: int) -> None:
    """Have a job begin again."""
    _file(sweep, job).unlink(missing_ok=True)


def records(sweep: Path) -> list[Record]:
    """Return the records of all jobs that have begun, by number."""
    jobs = sorted(int(file.stem) for file in _file(sweep, 0).parent.glob("*.json"))
    return [known for job in jobs if (known := read(sweep, job))]


def lock(sweep: Path, job: int) -> FileLock:
    """Return the lock that a job's process holds while it lives."""
    file = _file(sweep, job).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(file)


def alive(sweep: Path, job: int) -> bool:
    """Say whether a process has the job."""
    try:
        with lock(sweep, job).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _file(sweep: Path, job: int) -> Path:
    return sweep / STATE / "jobs" / f"{job:03d}.json"
