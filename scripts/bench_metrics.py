"""Measure the scores of surfaces: CPU-seconds per volume, by a tree and by a distance transform.

`python scripts/bench_metrics.py`; both ways of `seg.metrics.surface` in turn on made-up volumes,
and the one that `seg.metrics` takes. No data is needed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from scipy import ndimage

from seg.metrics import surface

ROUNDS = 3
TOLERANCE_MM = 2.0


def organ(rng: np.random.Generator) -> np.ndarray:
    """Return 90 slices of 512 x 512 with an uneven ellipsoid of 90 x 300 x 300 voxels."""
    sides = np.ogrid[-1:1:90j, -1:1:300j, -1:1:300j]
    bumps = ndimage.zoom(rng.standard_normal((5, 15, 15)), (18, 20, 20), order=1)
    mask = np.zeros((90, 512, 512), bool)
    mask[:, 106:406, 106:406] = sum(side**2 for side in sides) + 0.15 * bumps < 0.85
    return mask


def lesions(rng: np.random.Generator) -> np.ndarray:
    """Return 182 x 218 x 182 voxels with 60 balls, 2 to 6 voxels in radius."""
    mask = np.zeros((182, 218, 182), bool)
    for radius in rng.integers(2, 7, 60):
        start = [int(rng.integers(n // 4, 3 * n // 4)) for n in mask.shape]
        ball = sum(side**2 for side in np.ogrid[(slice(-radius, radius + 1),) * 3]) <= radius**2
        mask[tuple(slice(at, at + 2 * radius + 1) for at in start)] |= ball
    return mask


def pairs() -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Make what is measured: its name, truth, prediction, and the spacing in mm."""
    rng = np.random.default_rng(0)
    for name, make, spacing in (("organ", organ, (3, 0.8, 0.8)), ("lesions", lesions, (1, 1, 1))):
        truth, other, spacing_mm = make(rng), make(rng), np.array(spacing, float)
        yield f"{name}, one voxel off", truth, np.roll(truth, 1, axis=2), spacing_mm
        yield f"{name}, eroded", truth, ndimage.binary_erosion(truth), spacing_mm
        yield f"{name}, another one", truth, other, spacing_mm
    part = organ(rng)[35:55]
    noisy = part ^ (rng.random(part.shape) < 0.05)
    yield "20 slices, 5% noise", part, noisy, np.array((3, 0.8, 0.8))
    yield "slice, one pixel off", truth[90], np.roll(truth[90], 1, axis=1), spacing_mm[1:]


def measured(
    by: Callable[..., np.ndarray] | None,
    truth: np.ndarray,
    mask: np.ndarray,
    spacing_mm: np.ndarray,
) -> list[float]:
    """Return HD95, ASSD and surface Dice, of distances measured in one way; None: as chosen."""
    there, back = (surface.surface(of) for of in surface.cropped(truth, mask))
    distances = (
        (by(there, back, spacing_mm), by(back, there, spacing_mm))
        if by
        else surface.distances_mm(there, back, spacing_mm)
    )
    return list(surface.of_distances(*distances, TOLERANCE_MM).values())


def main() -> None:
    """Write a table; the ways take turns, the median of some rounds is shown."""
    head = f"{'truth and prediction':24}{'tree':>10}{'transform':>12}{'taken':>10}{'HD95':>12}\n"
    sys.stdout.write(head)
    for name, truth, mask, spacing_mm in pairs():
        ways = (surface.by_tree, surface.by_transform, None)
        seconds: list[list[float]] = [[] for _ in ways]
        for _ in range(ROUNDS):
            found = []
            for way, spent in zip(ways, seconds, strict=True):
                start = time.process_time()
                found.append(measured(way, truth, mask, spacing_mm))
                spent.append(time.process_time() - start)
            if not np.allclose(found[0], found[1]):
                raise SystemExit(f"{name}: {found[0]} by the tree, {found[1]} by the transform")
        tree, transform, taken = (median(spent) for spent in seconds)
        sys.stdout.write(
            f"{name:24}{tree:8.3f} s{transform:10.3f} s{taken:8.3f} s{found[0][0]:9.2f} mm\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
