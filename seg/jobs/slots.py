"""A job's share of a machine: GPUs of its own where there are any, else cores of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

POLL_S = 0.5
FEW = 2


@dataclass(frozen=True)
class Slot:
    """What a job may use: GPUs as CUDA numbers them, or numbers of cores; all where empty."""

    gpus: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()

    def use(self) -> None:
        """Keep this process to it; to be called before TensorFlow is imported."""
        if self.gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        if self.cores:
            os.sched_setaffinity(0, self.cores)


def at_once(wanted: int) -> int:
    """Return how many jobs run at once: the number wanted, or one for each GPU, else two."""
    return wanted if wanted > 0 else len(gpus()) or FEW


@contextmanager
def leased(jobs_at_once: int, sweep: Path) -> Iterator[Slot]:
    """Wait until a share of the machine is free, and have it until left or killed.

    GPUs are shared out among all sweeps of a user on the machine, cores among the jobs of one.

    Args:
        jobs_at_once: that the machine is shared out among.
        sweep: folder of the sweep.
    """
    if found := gpus():
        home = Path(tempfile.gettempdir(), f"seg-gpus-{os.getuid()}")
        with _taken(found, jobs_at_once, home) as mine:
            yield Slot(gpus=tuple(mine))
    elif hasattr(os, "sched_getaffinity"):
        cores = sorted(map(str, os.sched_getaffinity(0)), key=int)
        with _taken(cores, jobs_at_once, sweep / "state" / "cores") as mine:
            yield Slot(cores=tuple(map(int, mine)))
    else:  # macOS has no way to keep a process to some cores
        yield Slot()


def gpus() -> list[str]:
    """Return the GPUs that this process may use, by their numbers or names."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    try:
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []


@contextmanager
def _taken(units: Sequence[str], shares: int, home: Path) -> Iterator[list[str]]:
    """Lock a share of the units, the first that are free."""
    home.mkdir(parents=True, exist_ok=True)
    share = max(1, len(units) // shares)
    with ExitStack() as held:
        while not (mine := _try(units, share, home, held)):
            time.sleep(POLL_S)
        yield mine


def _try(units: Sequence[str], share: int, home: Path, held: ExitStack) -> list[str]:
    """Lock as many units as a share has, or none."""
    mine: list[str] = []
    with FileLock(home / "choosing.lock"), ExitStack() as locks:
        for unit in units:
            try:
                locks.enter_context(FileLock(home / f"{unit}.lock").acquire(timeout=0))
            except Timeout:
                continue
            mine.append(unit)
            if len(mine) == share:
                held.enter_context(locks.pop_all())
                return mine
    return []
