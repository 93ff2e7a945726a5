"""What is done to the mask of a case before it is scored or written.

Axes: S slices, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from scipy import ndimage

from seg.contracts import SegError
from seg.models.manual import Cleanup


def cleaned(
    masks: Sequence[np.ndarray], cleanup: Cleanup, spacing_mm: tuple[float, float, float] | None
) -> Sequence[np.ndarray]:
    """Return the masks of a case, each class cleaned by itself.

    Components have full connectivity, 26 neighbours or 8 in a single slice; holes are what no path
    of face neighbours joins to the outside. Of a hole only the background is filled, not another
    class that lies in it. Slices that differ in size make no volume, and stay as they are.

    Args:
        masks: HW of each slice, bool, or index of each pixel's class, 0 the background.
        cleanup: what is done.
        spacing_mm: distance of slices, rows and columns; None where unknown.

    Raises:
        SegError: the smallest size is one in mm3, and the spacing is unknown.
    """
    if cleanup.min_size and cleanup.unit == "mm3" and spacing_mm is None:
        raise SegError(
            f"infer.min_size={cleanup.min_size:g} was chosen in mm3, and the spacing is unknown "
            "here; give infer.min_size=0, or as many pixels"
        )
    does = cleanup.fill_holes or cleanup.min_size or cleanup.largest_component
    if not does or len({mask.shape for mask in masks}) > 1:
        return masks
    voxel = 1 if cleanup.unit == "px" else prod(spacing_mm or (1,))
    mask_SHW = np.stack(masks)
    clean_SHW = np.zeros_like(mask_SHW)
    for index, box in enumerate(ndimage.find_objects(mask_SHW.astype(np.uint8)), start=1):
        if box is None:
            continue
        mask, clean = mask_SHW[box], clean_SHW[box]
        if len(mask_SHW) == 1:
            mask, clean = mask[0], clean[0]
        clean[_cleaned(mask == index, mask == 0, cleanup, voxel)] = index
    return clean_SHW


def _cleaned(inside: np.ndarray, free: np.ndarray, cleanup: Cleanup, voxel: float) -> np.ndarray:
    if cleanup.fill_holes:
        inside = inside | (_holes(inside) & free)
    if cleanup.min_size <= voxel and not cleanup.largest_component:
        return inside
    components, n = ndimage.label(inside, np.ones((3,) * inside.ndim))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    kept = sizes * voxel >= cleanup.min_size
    if cleanup.largest_component:
        kept &= np.arange(n + 1) == sizes.argmax()
    kept[0] = False
    return kept[components]


def _holes(inside: np.ndarray) -> np.ndarray:
    """Return what the rim of the picture does not reach."""
    apart, _ = ndimage.label(np.pad(~inside, 1, constant_values=True))
    holes = (apart != apart.flat[0]) & (apart > 0)
    return holes[(slice(1, -1),) * inside.ndim]
