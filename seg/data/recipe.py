"""How the slices of a case become pictures.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg.contracts import Scan, SegError
from seg.data.intensity import Intensity


@dataclass(frozen=True)
class Recipe:
    """What `dataset.prepare` instantiates to.

    Args:
        intensity: what becomes black and white.
        known_labels: values that a label may hold; None: those that the publisher's dataset.json
            names, any where there is none.
        target_labels: values that are foreground; None: every one but 0.
        square_pixels: resize the coarser of a slice's two directions to the finer one's spacing.
        bits: of the images' grey values, 8 or 16.
        merge_labels: True: foreground is 255 in a mask; False: it keeps its values, of 1..255, to
            be named in `dataset.labels`.
    """

    intensity: Intensity
    known_labels: list[int] | None
    target_labels: list[int] | None
    square_pixels: bool
    bits: int
    merge_labels: bool = True

    def __post_init__(self) -> None:
        """Refuse a depth that PNG does not have, and targets that cannot be."""
        if self.intensity is None:
            raise SegError("dataset.prepare.intensity must not be null")
        if self.bits not in (8, 16):
            raise SegError(f"dataset.prepare.bits must be 8 or 16. Received: {self.bits}")
        targets, known = self.target_labels, self.known_labels
        if targets is not None and not targets:
            raise SegError(
                "dataset.prepare.target_labels must name a value, or be null. Received: []"
            )
        if targets is not None and known is not None and not set(targets) <= set(known):
            raise SegError(
                f"dataset.prepare.target_labels must be among known_labels={known}. "
                f"Received: {targets}"
            )

    def size(self, scan: Scan) -> tuple[int, int]:
        """Return height and width of the prepared slices."""
        height, width = scan.image_SHWC.shape[1:3]
        if not self.square_pixels or scan.spacing_mm is None:
            return height, width
        _, row_mm, column_mm = scan.spacing_mm
        fine = min(row_mm, column_mm)
        return max(1, round(height * row_mm / fine)), max(1, round(width * column_mm / fine))

    def spacing_mm(self, scan: Scan) -> tuple[float, float, float] | None:
        """Return the distance of slices, rows and columns after preparation."""
        if scan.spacing_mm is None:
            return None
        sides = zip(scan.spacing_mm[1:], scan.image_SHWC.shape[1:3], self.size(scan), strict=True)
        row_mm, column_mm = (mm * before / after for mm, before, after in sides)
        return scan.spacing_mm[0], row_mm, column_mm

    def bounds(self, scan: Scan) -> tuple[np.ndarray, np.ndarray]:
        """Return the intensities that become black and white, per channel.

        Raises:
            SegError: the scan has no contrast, or channels that a picture cannot hold.
        """
        channels = scan.image_SHWC.shape[-1]
        if channels not in (1, 3):
            raise SegError(f"has {channels} channels, a picture has 1 or 3")
        return self.intensity.bounds(scan.image_SHWC)

    def image(
        self, image_HWC: np.ndarray, low: np.ndarray, high: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray:
        """Return uint8 or uint16 HWC, resized bilinearly."""
        low, high = np.float32(low), np.float32(high)
        scaled = np.clip((image_HWC - low) / (high - low), 0, 1)
        if size != scaled.shape[:2]:
            scaled = cv2.resize(scaled, size[::-1], interpolation=cv2.INTER_LINEAR)
        dtype = np.uint8 if self.bits == 8 else np.uint16
        return np.rint(scaled * np.iinfo(dtype).max).astype(dtype).reshape(*size, -1)

    def mask(
        self, label_HW: np.ndarray, published: tuple[int, ...] | None, size: tuple[int, int]
    ) -> np.ndarray:
        """Return uint8 HW, of 0 and 255 or of labels, resized to the nearest pixel centre.

        Raises:
            SegError: the label holds a value that is not known, or that a mask cannot keep.
        """
        known = published if self.known_labels is None else self.known_labels
        if known is not None and not set(self.target_labels or known) <= set(known):
            raise SegError(
                f"dataset.prepare.target_labels={self.target_labels} are not among the labels of "
                f"the publisher's dataset.json, {', '.join(map(str, known))}"
            )
        if known is not None and not np.isin(label_HW, known).all():
            unknown = sorted(set(np.unique(label_HW).tolist()) - set(known))
            raise SegError(
                f"holds the label {', '.join(map(str, unknown[:5]))}"
                f"{', ...' if len(unknown) > 5 else ''}, known are {', '.join(map(str, known))}; "
                "set dataset.prepare.known_labels, and dataset.prepare.target_labels for the target"
            )
        targets = self.target_labels
        target_HW = label_HW != 0 if targets is None else np.isin(label_HW, targets)
        if self.merge_labels:
            mask_HW = target_HW.astype(np.uint8) * 255
        else:
            mask_HW = _kept(np.where(target_HW, label_HW, 0))
        if size != mask_HW.shape:
            mask_HW = cv2.resize(mask_HW, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return mask_HW


def _kept(label_HW: np.ndarray) -> np.ndarray:
    """Return a label as uint8."""
    low, high = int(label_HW.min()), int(label_HW.max())
    if low < 0 or high > 255:
        raise SegError(
            f"holds the label {low if low < 0 else high}, a mask keeps 1 to 255: name those that "
            "are meant in dataset.prepare.target_labels, or set dataset.prepare.merge_labels=true"
        )
    return label_HW.astype(np.uint8)
