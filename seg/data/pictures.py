"""Reader of trees of 2D pictures, an image file and a label file for each slice.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg.contracts import Scan, SegError, Source
from seg.data.images import read_image, read_label
from seg.data.pairs import pair


@dataclass(frozen=True)
class PicturePairs:
    """Slices told apart by a mask suffix, by parallel trees, or by any other layout of patterns.

    Args:
        image_pattern: see `seg.data.pairs`.
        label_pattern: see `seg.data.pairs`.
        channels: 1 to take the images as grey, 3 as colour.
    """

    image_pattern: str
    label_pattern: str
    channels: int

    def __post_init__(self) -> None:
        """Refuse channels that pictures do not have."""
        if self.channels not in (1, 3):
            raise SegError(f"dataset.raw.channels must be 1 or 3. Received: {self.channels}")

    def find(self, root: Path) -> tuple[list[Source], dict[str, str]]:
        """Pair the files."""
        return pair(root, self.image_pattern, self.label_pattern, "slice")

    def load(self, source: Source) -> Scan:
        """Read the slices of a case.

        Raises:
            SegError: a file cannot be read, or has another size than the others.
        """
        images, labels = [], []
        for image_path, label_path in zip(source.images, source.labels, strict=True):
            images.append(read_image(image_path, self.channels))
            labels.append(read_label(label_path))
            _check_size(image_path, images[-1], images[0])
            _check_size(label_path, labels[-1], images[0])
        return Scan(np.stack(images), np.stack(labels))


def _check_size(path: Path, pixels: np.ndarray, first: np.ndarray) -> None:
    if pixels.shape[:2] != first.shape[:2]:
        sizes = [" x ".join(map(str, array.shape[:2])) for array in (pixels, first)]
        raise SegError(
            f"{path}: is {sizes[0]} pixels, the first image of its case is {sizes[1]}; "
            "export the slices of a case and their labels at one size"
        )
