"""What a job of a sweep costs beside a run alone, and whether memory grows from job to job.

python scripts/bench_sweep.py [JOBS]

CPU-seconds and peak resident memory of tiny runs: three alone, then JOBS (12) in one sweep, and the
process of the sweep itself when the first and when the last job ended.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

TINY = [
    "dataset.reader.patients=8",
    "dataset.reader.slices_per_patient=4",
    "dataset.reader.size=32",
    "dataset.image_size=32",
    "model.levels=2",
    "model.base_filters=4",
    "trainer.epochs=2",
    "trainer.batch_size=4",
]
ALONE = 3
MIB = 2**20


def measured(words: list[str], folder: Path) -> dict[int, list[tuple[str, float, float]]]:
    """Run a command; return of each of its processes: module, CPU-seconds, MiB, as they grew."""
    command = [sys.executable, "-m", "seg.run", *words]
    seen: dict[int, list[tuple[str, float, float]]] = {}
    with (folder / "log").open("a") as log:
        root = psutil.Popen(command, cwd=folder, stdout=log, stderr=log)
        while root.poll() is None:
            for process in (root, *root.children()):
                try:
                    line, times = process.cmdline(), process.cpu_times()
                    memory = process.memory_info().rss / MIB
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
                module = next((word for word in line if word.startswith("seg.")), "")
                if module:
                    cpu_s = times.user + times.system
                    seen.setdefault(process.pid, []).append((module, cpu_s, memory))
            time.sleep(0.1)
    if root.returncode:
        raise subprocess.CalledProcessError(root.returncode, command)
    return seen


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured(TINY, folder)  # makes the data and the store
        alone = [
            (of[-1][1], max(mib for *_, mib in of))
            for _ in range(ALONE)
            for of in measured(TINY, folder).values()
        ]
        seeds = f"seed=range({jobs})"
        processes = measured(["-m", *TINY, seeds], folder).values()
    cpu_s, mib = (statistics.median(column) for column in zip(*alone, strict=True))
    say(f"alone (median of {ALONE}): {cpu_s:.1f} CPU-s, {mib:.0f} MiB")
    own = [of for of in processes if of[0][0] == "seg.job"]
    for number, of in enumerate(own):
        peak = max(mib for *_, mib in of)
        say(f"job {number}: {of[-1][1]:.1f} CPU-s ({of[-1][1] / cpu_s:.2f}), {peak:.0f} MiB")
    (sweep,) = [of for of in processes if of[0][0] == "seg.run"]
    first = next(mib for _, _, mib in sweep[len(sweep) // jobs :])
    say(f"the sweep: {sweep[-1][1]:.1f} CPU-s in all, {first:.0f} to {sweep[-1][2]:.0f} MiB")


if __name__ == "__main__":
    main()
