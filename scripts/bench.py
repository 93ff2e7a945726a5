"""Figures of the main job: start-up, training speed, and how far a mere threshold gets.

Usage: python scripts/bench.py [--data FOLDER]; every figure is measured now, on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from seg.contracts import Case, Classes
from seg.data.check import verified
from seg.data.images import brightest, read_mask
from seg.data.split import by_patient
from seg.data.synthetic import phantom


def seconds(*arguments: str, cwd: str) -> tuple[float, str]:
    """Run Python with arguments; return the wall time and the standard output."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, done.stdout


def threshold_baseline(train: tuple[Case, ...], test: tuple[Case, ...]) -> tuple[int, float, float]:
    """Choose the grey level with the best mean Dice per case on `train`; score it on `test`.

    Returns:
        The level, its Dice on `test`, and the best Dice of any level chosen on `test` itself.
    """

    def curve(cases: tuple[Case, ...]) -> np.ndarray:
        rows = []
        for case in cases:
            grey = np.stack([brightest(slice_.image) for slice_ in case.slices])
            truth = np.stack([read_mask(slice_.mask, Classes()) for slice_ in case.slices])
            above = [grey > level for level in range(255)]
            total = np.array([mask.sum() + truth.sum() for mask in above])
            shared = np.array([(mask & truth).sum() for mask in above])
            rows.append(np.where(total > 0, 2 * shared / np.maximum(total, 1), np.nan))
        return np.nanmean(rows, axis=0)

    level = int(curve(train).argmax())
    return level, float(curve(test)[level]), float(curve(test).max())


def main() -> None:
    """Measure and write a table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=None, help="keep the phantom here (default: forget it)")
    with tempfile.TemporaryDirectory() as folder:
        data = parser.parse_args().data or f"{folder}/data"
        imported, _ = seconds("-c", "import seg.run", cwd=folder)
        helped, _ = seconds("-m", "seg.run", "--help", cwd=folder)
        shown, _ = seconds("-m", "seg.run", "--cfg", "job", cwd=folder)
        whole, out = seconds("-m", "seg.run", f"paths.data={data}", cwd=folder)
        summary = json.loads(Path(folder, out.splitlines()[-1], "summary.json").read_text())
        cases = phantom(
            f"{data}/phantom",
            patients=40,
            slices_per_patient=8,
            size=128,
            empty_fraction=0.1,
            noise=0.06,
            seed=0,
        )
        splits = by_patient(verified(cases, 1, Classes()), (0.6, 0.15, 0.25), seed=0)
        level, dice, oracle = threshold_baseline(splits.train, splits.test)
    rows = {
        "import seg.run": f"{imported:.2f} s",
        "--help": f"{helped:.2f} s",
        "--cfg job": f"{shown:.2f} s",
        "python -m seg.run": f"{whole:.0f} s",
        "  test Dice per case": f"{summary['test/dice']:.3f} "
        f"({summary['test/dice_ci_low']:.3f} to {summary['test/dice_ci_high']:.3f})",
        "  training": f"{summary['train/images_per_s']:.0f} images/s",
        f"threshold at {level}, chosen on train": f"test Dice {dice:.3f}",
        "best threshold, chosen on test": f"test Dice {oracle:.3f}",
    }
    for name, figure in rows.items():
        sys.stdout.write(f"{name:40}{figure}\n")


if __name__ == "__main__":
    main()
