"""Truth and prediction of a case in little memory, until all its slices are there.

Axes: S slices, H height, W width.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from seg.metrics.cases import Confusion, confusion


@dataclass
class Packed:
    """What has been added of a case, in the order of its slices; a kilobyte or so for each.

    Attributes:
        spacing_mm: distance of slices, rows and columns; None where unknown.
        counts: of the pixels of all slices.
        sizes: height and width of each slice.
    """

    spacing_mm: tuple[float, float, float] | None
    counts: Confusion = field(default_factory=Confusion)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    _pairs: list[tuple[bytes, bytes]] = field(default_factory=list)

    def add(self, truth_HW: np.ndarray, mask_HW: np.ndarray) -> None:
        """Add a slice: two bool arrays of one shape."""
        self.counts += confusion(truth_HW, mask_HW)
        self.sizes.append(truth_HW.shape)
        self._pairs.append((_pack(truth_HW), _pack(mask_HW)))

    def volumes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return truth and prediction, bool SHW; None where the slices differ in size."""
        if len(set(self.sizes)) > 1:
            return None
        truth_SHW, mask_SHW = (
            np.stack([_unpack(data, *self.sizes[0]) for data in masks])
            for masks in zip(*self._pairs, strict=True)
        )
        return truth_SHW, mask_SHW


def _pack(mask_HW: np.ndarray) -> bytes:
    # A mask is mostly empty: of 512 x 512 pixels a kilobyte is left.
    return zlib.compress(np.packbits(mask_HW), level=1)


def _unpack(data: bytes, height: int, width: int) -> np.ndarray:
    bits = np.frombuffer(zlib.decompress(data), np.uint8)
    return np.unpackbits(bits, count=height * width).view(bool).reshape(height, width)
