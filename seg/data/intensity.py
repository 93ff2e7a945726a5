"""Which intensities of a case become black and white; between them the scale is linear.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seg.contracts import SegError


class Intensity(Protocol):
    """What `dataset.prepare.intensity` instantiates to."""

    def bounds(self, image_SHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return per channel the intensity of black and that of white, float64 of shape C."""


@dataclass(frozen=True)
class Window:
    """A CT window, the same for every case (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT).

    Args:
        centre_hu: intensity of mid-grey, in HU.
        width_hu: from black to white, in HU.
    """

    centre_hu: float
    width_hu: float

    def __post_init__(self) -> None:
        """Refuse a window without width."""
        if not self.width_hu > 0:
            raise SegError(
                "dataset.prepare.intensity.width_hu must be more than 0. "
                f"Received: {self.width_hu:g}"
            )

    def bounds(self, image_SHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the window."""
        low = np.full(image_SHWC.shape[-1], self.centre_hu - self.width_hu / 2)
        return low, low + self.width_hu


@dataclass(frozen=True)
class Percentiles:
    """The range of a case's own foreground: every voxel that is not exactly 0, channel by channel.

    That is the body where the background was cut away; where it is noise, the noise counts too.

    Args:
        low_percent: share of the foreground that becomes black, 0..100.
        high_percent: share below white.
    """

    low_percent: float
    high_percent: float

    def __post_init__(self) -> None:
        """Refuse percentages out of order."""
        if not 0 <= self.low_percent < self.high_percent <= 100:
            raise SegError(
                "dataset.prepare.intensity: 0 <= low_percent < high_percent <= 100 must hold. "
                f"Received: {self.low_percent:g} and {self.high_percent:g}"
            )

    def bounds(self, image_SHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the two percentiles of each channel.

        Raises:
            SegError: a channel has no foreground, or one value only.
        """
        found = []
        for channel in np.moveaxis(image_SHWC, -1, 0):
            foreground = channel[channel != 0]
            if not foreground.size or foreground.min() == foreground.max():
                raise SegError("all voxels other than 0 are equal: nothing is to be seen in it")
            percents = (self.low_percent, self.high_percent)
            found.append(np.percentile(foreground, percents, overwrite_input=True))
        low, high = np.array(found, np.float64).T
        if (low == high).any():
            raise SegError(
                "the percentiles of its intensities coincide; widen dataset.prepare.intensity"
            )
        return low, high


@dataclass(frozen=True)
class AsStored:
    """The full range of 8- or 16-bit pixels, which keeps them as they are."""

    def bounds(self, image_SHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return 0 and the largest value of the format.

        Raises:
            SegError: the intensities are not those of pictures.
        """
        if image_SHWC.dtype.kind != "u":
            raise SegError(
                "a volume has no full range of its own: name seg.data.intensity.Percentiles or "
                "Window as prepare.intensity in the dataset's YAML"
            )
        low = np.zeros(image_SHWC.shape[-1])
        return low, low + np.iinfo(image_SHWC.dtype).max
