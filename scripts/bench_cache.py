"""Measure the caches: memory gained and speed while a training stream is read, by size of the data.

`python scripts/bench_cache.py`; each figure comes from a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

SIDE, BATCH = 512, 4
COUNTS = (200, 400, 800, 1600)


def write(folder: Path) -> None:
    """Write as many noisy pictures as the largest count asks for."""
    rng = np.random.default_rng(0)
    for i in range(max(COUNTS)):
        noise = rng.integers(0, 2**16, (SIDE, SIDE), np.uint16)
        cv2.imwrite(str(folder / f"image{i}.png"), noise)
        cv2.imwrite(str(folder / f"mask{i}.png"), (noise > 2**15).astype(np.uint8) * 255)


def measure(cache: str, n: int, folder: Path) -> None:
    """Read the first n pictures twice through the pipeline; say what it took."""
    from seg.contracts import Case, Classes, Slice
    from seg.data import pipeline
    from seg.data.cache import load

    slices = [Slice(str(i), folder / f"image{i}.png", folder / f"mask{i}.png") for i in range(n)]
    before, start = peak_mib(), time.perf_counter()
    loaded = load([Case("p", tuple(slices))], (SIDE, SIDE), 1, Classes(), cache, folder)
    stream = iter(pipeline.endless(loaded, BATCH, 0))
    passes = []
    for _ in range(2):
        for _ in range(n // BATCH):
            next(stream)
        passes.append(time.perf_counter() - start)
        start = time.perf_counter()
    first, second = (n / passed for passed in passes)
    gained = peak_mib() - before
    sys.stdout.write(f"{cache:8}{n:8}{gained:12} MiB{first:12.0f}/s{second:12.0f}/s\n")


def peak_mib() -> int:
    """Return the most memory that this process has held so far."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024


def main() -> None:
    """Write a table: slices per second are of the first pass, decoding included, and the second."""
    if len(sys.argv) > 1:
        measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
        return
    sys.stdout.write(
        f"{'cache':8}{'slices':>8}{'memory':>16}{'first pass':>14}{'second pass':>14}\n"
    )
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for cache in ("memory", "disk", "off"):
            for n in COUNTS:
                subprocess.run(
                    [sys.executable, __file__, cache, str(n), folder],
                    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                    stderr=subprocess.DEVNULL,
                    check=True,
                )


if __name__ == "__main__":
    main()
