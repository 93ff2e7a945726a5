"""Scores of one case that compare surfaces: how far they lie apart, and how much agrees.

The surface of a mask: its voxels of which a face neighbour is not in it; what lies outside the
volume counts as background. A stack of one slice is taken as 2D, since each of its voxels would be
surface. With A the surface voxels of the truth, B those of the prediction, and d the distances in
mm from the centre of each voxel of the one to the nearest centre of the other:

    hd95_mm       max(95th percentile of d(A, B), 95th percentile of d(B, A))
                  Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z
    assd_mm       (sum of d(A, B) + sum of d(B, A)) / (|A| + |B|)
                  Heimann et al. 2009, doi 10.1109/TMI.2009.2013851
    surface_dice  share of the voxels of A and B that are within tolerance_mm of the other: 0..1
                  Nikolov et al. 2021, doi 10.2196/26151

MedPy takes one percentile of both directions pooled, which differs. Nikolov et al. weigh the
elements of a surface by their area; here its voxels are counted.

    truth or prediction empty  hd95_mm and assd_mm are the diagonal of the volume, in mm, the
                               farthest that could be; surface_dice is 0
    both empty                 NaN
    spacing unknown            NaN

The diagonal is what the BraTS challenges give to a tumour that is missed (373.13 mm for 240 x 240 x
155 voxels of 1 mm), so that a mean does not get better by what was missed.

Axes: S slices, H height, W width.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

ROUNDING_MM = 1e-6  # three voxels of 0.1 mm are within 0.3 mm
VOXELS_PER_POINT = 20  # below it a distance transform is faster


def scores(
    truth_SHW: np.ndarray,
    mask_SHW: np.ndarray,
    spacing_mm: tuple[float, float, float] | None,
    tolerance_mm: float,
) -> dict[str, float]:
    """Return hd95_mm, assd_mm and surface_dice of two bool masks of one shape.

    Args:
        truth_SHW: all slices of the case.
        mask_SHW: what was predicted.
        spacing_mm: distance of slices, rows and columns.
        tolerance_mm: up to which surfaces agree.

    >>> truth = np.zeros((1, 4, 4), bool)
    >>> truth[0, 1:3, 1:3] = True
    >>> scores(truth, np.roll(truth, 1, axis=2), (5, 2, 2), tolerance_mm=1)
    {'hd95_mm': 2.0, 'assd_mm': 1.0, 'surface_dice': 0.5}
    """
    some = truth_SHW.any(), mask_SHW.any()
    if spacing_mm is None or not any(some):
        return dict.fromkeys(("hd95_mm", "assd_mm", "surface_dice"), float("nan"))
    truth, mask, spacing = truth_SHW, mask_SHW, np.array(spacing_mm, float)
    if len(truth) == 1:
        truth, mask, spacing = truth[0], mask[0], spacing[1:]
    if not all(some):
        farthest = float(np.linalg.norm(truth.shape * spacing))
        return {"hd95_mm": farthest, "assd_mm": farthest, "surface_dice": 0.0}
    return of_distances(*distances_mm(*map(surface, cropped(truth, mask)), spacing), tolerance_mm)


def of_distances(
    from_truth_mm: np.ndarray, from_mask_mm: np.ndarray, tolerance_mm: float
) -> dict[str, float]:
    """Return the scores that the distances of two surfaces, 1D arrays, make."""
    both = np.concatenate([from_truth_mm, from_mask_mm])
    ends = np.percentile(from_truth_mm, 95), np.percentile(from_mask_mm, 95)
    return {
        "hd95_mm": float(max(ends)),
        "assd_mm": float(both.mean()),
        "surface_dice": float(np.mean(both <= tolerance_mm + ROUNDING_MM)),
    }


def distances_mm(
    truth: np.ndarray, mask: np.ndarray, spacing_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Measure from each voxel of a surface to the nearest of the other, there and back, exactly.

    Both ways give the same. A tree is several times faster for organs and lesions, but many times
    slower for noise, whose points lie anywhere: `scripts/bench_metrics.py`.

    Args:
        truth: bool, the voxels of a surface, of any shape; not empty, like the other.
        mask: bool, of the same shape.
        spacing_mm: a number for each axis.
    """
    points = np.count_nonzero(truth) + np.count_nonzero(mask)
    by = by_tree if points * VOXELS_PER_POINT < truth.size else by_transform
    return by(truth, mask, spacing_mm), by(mask, truth, spacing_mm)


def by_tree(from_: np.ndarray, to: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Measure one direction of `distances_mm` with a tree of the points."""
    # Unbalanced, it is built and searched in half the time where much lies far away.
    tree = cKDTree(np.argwhere(to) * spacing_mm, balanced_tree=False, compact_nodes=False)
    return tree.query(np.argwhere(from_) * spacing_mm)[0]


def by_transform(from_: np.ndarray, to: np.ndarray, spacing_mm: np.ndarray) -> np.ndarray:
    """Measure one direction of `distances_mm` with a distance transform of the volume."""
    # Distances of every voxel would take as much time and memory again.
    nearest = ndimage.distance_transform_edt(
        ~to, sampling=spacing_mm, return_distances=False, return_indices=True
    )
    away = nearest[:, from_] - np.nonzero(from_)
    return np.linalg.norm(away.T * spacing_mm, axis=1)


def surface(mask: np.ndarray) -> np.ndarray:
    """Return the voxels of a bool mask of which a face neighbour is not in it."""
    padded, inside = np.pad(mask, 1), mask.copy()
    for axis, length in enumerate(mask.shape):
        for start in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(start, start + length)
            inside &= padded[tuple(window)]
    return mask & ~inside


def cropped(truth: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut both bool masks to the smallest box that holds what is in either; one is not empty."""
    either = truth | mask
    for axis in range(either.ndim):
        others = tuple(other for other in range(either.ndim) if other != axis)
        (filled,) = np.nonzero(either.any(axis=others))
        box = (slice(None),) * axis + (slice(filled[0], filled[-1] + 1),)
        either, truth, mask = either[box], truth[box], mask[box]
    return truth, mask
