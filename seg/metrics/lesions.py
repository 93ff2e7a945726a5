"""Scores of one case that count lesions instead of voxels, after Carass et al. 2017.

A lesion is a component of a mask, its voxels joined by faces, edges or corners: 26 neighbours in a
volume, 8 in a slice. It is found where at least one voxel of the other mask overlaps it.

    lesion_sensitivity      found true lesions / true lesions: 0..1
    lesion_false_positives  predicted lesions that overlap no true one: a count

Source: doi 10.1016/j.neuroimage.2016.12.064, whose false positive rate is the share of the
predicted lesions instead; a share says little where few are predicted.

    truth empty       lesion_sensitivity NaN; each predicted lesion is a false positive
    prediction empty  0 and 0
    both empty        NaN and 0

Axes: S slices, H height, W width.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from seg.metrics.surface import cropped


def scores(truth_SHW: np.ndarray, mask_SHW: np.ndarray) -> dict[str, float]:
    """Return lesion_sensitivity and lesion_false_positives of two bool masks of one shape.

    >>> truth, mask = np.array([[[1, 0, 0, 1, 1, 0, 0]], [[1, 0, 1, 0, 0, 0, 1]]], bool)
    >>> scores(truth[None], mask[None])
    {'lesion_sensitivity': 0.5, 'lesion_false_positives': 2.0}
    """
    if not (truth_SHW.any() or mask_SHW.any()):
        return {"lesion_sensitivity": float("nan"), "lesion_false_positives": 0.0}
    truth, mask = cropped(truth_SHW, mask_SHW)
    true, found = _count(truth, mask)
    predicted, right = _count(mask, truth)
    return {
        "lesion_sensitivity": found / true if true else float("nan"),
        "lesion_false_positives": float(predicted - right),
    }


def _count(mask: np.ndarray, other: np.ndarray) -> tuple[int, int]:
    """Count the components of a mask, and those of them that the other overlaps."""
    labels, n = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return n, len(np.unique(labels[mask & other]))
