"""The one sampling of a chain: points of the output, and the input shown there.

Points lie in a grid of at most `FINEST` cells along the longer side, with a cell's margin. Between
them the map is interpolated bilinearly: straight maps exactly so, smooth ones nearly.
Axes: H height, W width, C channels, 2 the coordinates x and y in pixels from the centre.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

FINEST = 128


def grid_step(size_HW: tuple[int, int]) -> int:
    """Return the distance of neighbouring points, in pixels."""
    return -(-max(size_HW) // FINEST)


@lru_cache(maxsize=8)
def grid(size_HW: tuple[int, int]) -> np.ndarray:
    """Return the points of a picture that is not moved, float32, read-only."""
    step = grid_step(size_HW)
    rows, columns = (
        (np.arange(-1, -(-side // step) + 1) + 0.5) * step - side / 2 for side in size_HW
    )
    points_HW2 = np.stack(np.meshgrid(columns, rows), -1).astype(np.float32)
    points_HW2.flags.writeable = False
    return points_HW2


def warp(
    image_HWC: np.ndarray, mask_HW1: np.ndarray, points_HW2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Show at each point of the grid what the input has there; outside of it both are zero.

    Args:
        image_HWC: float32; interpolated bilinearly, at positions of 1/32 pixel.
        mask_HW1: uint8; the nearest value.
        points_HW2: the points of `grid`, moved.
    """
    height, width = image_HWC.shape[:2]
    step = grid_step((height, width))
    centre = np.float32([(width - 1) / 2, (height - 1) / 2])
    from_corner = (points_HW2 + centre).astype(np.float32, copy=False)
    everywhere = cv2.resize(from_corner, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    everywhere = everywhere[step : step + height, step : step + width]
    image = cv2.remap(image_HWC, everywhere, None, cv2.INTER_LINEAR)
    mask = cv2.remap(mask_HW1, everywhere, None, cv2.INTER_NEAREST)
    return image.reshape(image_HWC.shape), mask.reshape(mask_HW1.shape)
