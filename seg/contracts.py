"""What the rooms of the house hand to each other; imports nothing of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np


class SegError(Exception):
    """A mistake a user can mend; the message says what, the value received, and what to do."""


class Pruned(Exception):
    """A trial of a search was stopped, since others did better after as many epochs."""

    def __init__(self, epoch: int, value: float) -> None:
        """Say after which epoch, and what the judged curve was then."""
        super().__init__(f"after epoch {epoch}, at {value:.4f}")
        self.epoch = epoch


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error itself where it has none."""
    return next(iter(str(error).strip().splitlines()), repr(error))


def case_name(patient: str, volume: str) -> str:
    """Name a case: its patient, and its volume where there are several."""
    return f"{patient}_{volume}" if volume else patient


@dataclass(frozen=True)
class Classes:
    """What the pixels of a mask file say; the index of a class is its place among `values`.

    Attributes:
        threshold: without labels, a pixel above this (of 0..255) is foreground.
        labels: value of the pixels of each class by its name, all others being background;
            empty: there is one class, which has no name, see threshold.
    """

    threshold: float = 127
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the classes but the background; none where there are no labels."""
        return tuple(self.labels)

    @property
    def values(self) -> tuple[int, ...]:
        """Return the pixel value that a mask is written with, by index, the background first."""
        return (0, *self.labels.values()) if self.labels else (0, 255)

    @property
    def logits(self) -> tuple[int, ...]:
        """Return how many logits per pixel a model may give."""
        return (len(self.values),) if self.labels else (1, 2)


@dataclass(frozen=True)
class Slice:
    """One 2D image with its mask on disk.

    Attributes:
        id: file name without ending, unique on its side of a split; names what is written of it.
        image: file of 8- or 16-bit grey or colour pixels.
        mask: file of the same height and width.
        target_px: pixels of the mask that are not background; None until `seg.data.check` has
            counted them.
    """

    id: str
    image: Path
    mask: Path
    target_px: int | None = None


@dataclass(frozen=True)
class Case:
    """One volume, or what is there of it: the unit of scoring. Its patient is that of splitting.

    Attributes:
        patient: name of the person, from the file names.
        slices: all slices of the case on one side of a split, in order along the body.
        side: the ready-made side ("train", "valid", "test") it lies in, None where there is none.
        identified: False where the file name named no patient and the slice stands for one.
        volume: what tells this case from others of the patient; empty where there is one only.
        spacing_mm: distance of slices, rows and columns; None where unknown.
    """

    patient: str
    slices: tuple[Slice, ...]
    side: str | None = None
    identified: bool = True
    volume: str = ""
    spacing_mm: tuple[float, float, float] | None = None

    @property
    def name(self) -> str:
        """Name the case, see `case_name`."""
        return case_name(self.patient, self.volume)

    @property
    def target_size(self) -> float:
        """Measure the target: in mm3, or in pixels where the spacing is unknown."""
        return sum(slice_.target_px or 0 for slice_ in self.slices) * prod(self.spacing_mm or (1,))


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
        case: the case that the slice belongs to.
        slice: where the image and the truth lie.
        truth_HW: bool, or with labels the index of each pixel's class.
        mask_HW: as truth_HW; bool where there is one class only.
    """

    case: Case
    slice: Slice
    truth_HW: np.ndarray
    mask_HW: np.ndarray


@dataclass(frozen=True)
class Scores:
    """What one case's prediction is worth; NaN where undefined.

    Definitions: `seg.metrics.cases`, for the distances and surface_dice `seg.metrics.surface`, for
    the lesions `seg.metrics.lesions`.

    Attributes:
        dice: 0..1, of all pixels of the case, as the four that follow.
        iou: 0..1.
        sensitivity: 0..1.
        specificity: 0..1.
        precision: 0..1.
        volume_difference: share of the true volume, -1 or more; below 0 too little is predicted.
        hd95_mm: mm, the less the better.
        assd_mm: mm, the less the better.
        surface_dice: 0..1.
        lesion_sensitivity: 0..1.
        lesion_false_positives: a count per case, the less the better.
    """

    dice: float
    iou: float
    sensitivity: float
    specificity: float
    precision: float
    volume_difference: float
    hd95_mm: float
    assd_mm: float
    surface_dice: float
    lesion_sensitivity: float
    lesion_false_positives: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the scores, in column order."""
        return tuple(score.name for score in fields(cls))

    @classmethod
    def gains(cls) -> tuple[str, ...]:
        """Return the names of the scores of which more is better, in column order."""
        others = ("volume_difference", "hd95_mm", "assd_mm", "lesion_false_positives")
        return tuple(name for name in cls.names() if name not in others)

    def as_dict(self) -> dict[str, float]:
        """Return the scores by name."""
        return asdict(self)


@dataclass(frozen=True)
class Source:
    """The files of one case as its publisher stores them.

    Attributes:
        patient: name of the person.
        volume: as in `Case`.
        side: the publisher's own side ("train", "valid", "test"), None where there is none.
        images: files of the image: the channels of a volume, or the slices of a tree, in order.
        labels: file of the label, or a file for each slice.
    """

    patient: str
    volume: str
    side: str | None
    images: tuple[Path, ...]
    labels: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Name the case, see `case_name`."""
        return case_name(self.patient, self.volume)


@dataclass(frozen=True)
class Scan:
    """The voxels of one case, in slices as they are to be looked at.

    Attributes:
        image_SHWC: float32 in the scanner's unit (HU in CT), or uint8 or uint16 pixels as stored.
        label_SHW: integer; None where the scan is to be predicted.
        spacing_mm: distance of slices, rows and columns; None where the format has none.
        known_labels: values that the publisher says the label holds; None where nothing is said.
    """

    image_SHWC: np.ndarray
    label_SHW: np.ndarray | None
    spacing_mm: tuple[float, float, float] | None = None
    known_labels: tuple[int, ...] | None = None


class SourceReader(Protocol):
    """What `dataset.raw` instantiates to: a publisher's format and where its files lie."""

    def find(self, root: Path) -> tuple[list[Source], dict[str, str]]:
        """Return the cases under `root`, and by name what is wrong with those that cannot be."""

    def load(self, source: Source) -> Scan:
        """Read one case; raise `SegError` naming the file that cannot be used."""


class CaseReader(Protocol):
    """What `dataset.reader` instantiates to: a function from a folder to cases."""

    def __call__(self, root: Path, **options: object) -> list[Case]:
        """Return the cases found under `root`; raise `SegError` where there are none."""


class Tracker(Protocol):
    """What training reports to; every call returns soon and never raises."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Send scalars by name ("val/dice")."""

    def image(self, file: Path, key: str, step: int) -> None:
        """Send a picture of the run's folder; the same key at several steps makes a slider."""


@runtime_checkable
class SpatialTransform(Protocol):
    """An augmentation that moves pixels: a map of points (see `seg.augment.geometry`)."""

    p: float

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return where in the input the points of the output lie, float32."""


@runtime_checkable
class IntensityTransform(Protocol):
    """An augmentation that changes grey values and leaves the mask alone."""

    p: float

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the changed image, float32; what leaves 0..1 is cut."""


@runtime_checkable
class MixTransform(Protocol):
    """An augmentation of a batch, whose samples take something of each other."""

    p: float
    blends_masks: bool

    def mix(
        self, images_BHWC: np.ndarray, masks_BHW1: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the mixed batch, float32; the arrays given stay as they are."""


class Augment(Protocol):
    """What training samples go through: `seg.augment.chain.Chain`."""

    mixing: tuple[MixTransform, ...]

    def sample(
        self, image_HWC: np.ndarray, mask_HW1: np.ndarray, seed: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sample k of a stream: image float32 over 0..1, mask uint8, as they came."""

    def batch(
        self, images_BHWC: np.ndarray, masks_BHW1: np.ndarray, seed: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return batch k of a stream, float32 both."""
