"""What the rooms of the house hand to each other; imports nothing of this package."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np


class SegError(Exception):
    """A mistake a user can mend; the message says what, the value received, and what to do."""


@dataclass(frozen=True)
class Slice:
    """One 2D image with its mask on disk.

    Attributes:
        id: file name without ending, unique on its side of a split; names what is written of it.
        image: file of 8- or 16-bit grey or colour pixels.
        mask: file of the same height and width.
    """

    id: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Case:
    """One patient: the unit of splitting and of scoring.

    Attributes:
        patient: name of the patient, from the file names.
        slices: all slices of the patient on one side of a split, in file-name order.
        side: the ready-made side ("train", "valid", "test") it lies in, None in a flat folder.
        identified: False where the file name named no patient and the slice stands for one.
    """

    patient: str
    slices: tuple[Slice, ...]
    side: str | None = None
    identified: bool = True


@dataclass(frozen=True)
class Splits:
    """The cases of each side; `leaks` names the patients that lie on more than one."""

    train: tuple[Case, ...]
    valid: tuple[Case, ...]
    test: tuple[Case, ...]
    leaks: tuple[str, ...] = ()

    def sides(self) -> dict[str, tuple[Case, ...]]:
        """Return the three sides by name, in the order train, valid, test."""
        return {"train": self.train, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class Prediction:
    """A predicted slice at the image's original size.

    Attributes:
        patient: the case that the slice belongs to.
        slice: where the image and the truth lie.
        truth_HW: bool.
        mask_HW: bool, probability >= threshold.
    """

    patient: str
    slice: Slice
    truth_HW: np.ndarray
    mask_HW: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Overlap of one case's truth and prediction, all its slices pooled; NaN where undefined.

    Definitions: `seg.metrics.cases`.
    """

    dice: float
    iou: float
    sensitivity: float
    specificity: float
    precision: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the scores, in column order."""
        return tuple(field.name for field in fields(cls))

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name."""
        return asdict(self)


class CaseReader(Protocol):
    """What `dataset.reader` instantiates to: a function from a folder to cases."""

    def __call__(self, root: Path, **options: object) -> list[Case]:
        """Return the cases found under `root`; raise `SegError` where there are none."""


class Tracker(Protocol):
    """What training reports to; every call returns soon and never raises."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Send scalars by name ("val/dice")."""

    def image(self, pixels_HWC: np.ndarray, key: str, step: int) -> None:
        """Send a uint8 RGB picture; the same key at several steps makes a slider."""


@runtime_checkable
class SpatialTransform(Protocol):
    """An augmentation that moves pixels: it draws an affine map (see `seg.augment.geometry`)."""

    p: float

    def matrix(self, seed: Any, size_HW: tuple[int, int]) -> Any:  # noqa: ANN401
        """Return a float32 (3, 3) tensor, equal for equal seeds."""


@runtime_checkable
class IntensityTransform(Protocol):
    """An augmentation that changes grey values and leaves the mask alone."""

    p: float

    def change(self, image_HWC: Any, seed: Any) -> Any:  # noqa: ANN401
        """Return the changed float32 image over 0..1, equal for equal seeds."""
