"""What must be known of a trained model to use it, kept in its .keras file."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seg.contracts import Classes, SegError

MEMBER = "seg.json"


@dataclass(frozen=True)
class Cleanup:
    """What is done to the mask of a case, for each class by itself, in this order.

    Attributes:
        fill_holes: background that the mask encloses becomes part of it.
        min_size: smaller components go.
        largest_component: only the largest stays.
        unit: of min_size, "mm3" or "px"; empty: mm3 of a case whose spacing is known, else px.
    """

    fill_holes: bool = False
    min_size: float = 0.0
    largest_component: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Manual:
    """How a model's masks are made.

    Attributes:
        size: (height, width) of the model's input.
        channels: of its images, 1 or 3.
        labels: `seg.contracts.Classes.labels`.
        seen: largest height and width, in pixels, of the images that it has learned from; None
            where that is not known.
        stacked: whether it has learned from cases of several slices.
        sequences: how many volumes its images are made of.
        raw: format of the publisher's files, as `dataset.raw`; None where it learned from pictures
            as they were.
        prepare: how slices became pictures, as `dataset.prepare`; None likewise.
        flips: axes along which training images were flipped: "horizontal", "vertical".
        threshold: a pixel whose probability is at least this is foreground; of one class only.
        cleanup: what is done to the mask of a case.
        flipped: whether the mean is taken over all `flips` of an image.
    """

    size: tuple[int, int]
    channels: int
    labels: Mapping[str, int]
    seen: tuple[int, int] | None
    stacked: bool
    sequences: int = 1
    raw: Mapping[str, Any] | None = None
    prepare: Mapping[str, Any] | None = None
    flips: tuple[str, ...] = ()
    threshold: float = 0.5
    cleanup: Cleanup = field(default_factory=Cleanup)
    flipped: bool = False

    @property
    def of_volumes(self) -> bool:
        """Say whether it has learned from volumes."""
        return bool(self.raw and "plane" in self.raw)

    def told(self) -> dict[str, float]:
        """Return what was chosen, as numbers by name."""
        cleanup = {key: value for key, value in asdict(self.cleanup).items() if key != "unit"}
        values = {"threshold": self.threshold, **cleanup, "tta": self.flipped}
        return {f"infer/{name}": float(value) for name, value in values.items()}

    def said(self) -> str:
        """Say in words what was chosen."""
        cleanup = self.cleanup
        words = {
            f"threshold {self.threshold:g}": len(self.labels) < 2,
            "holes filled": cleanup.fill_holes,
            f"components from {cleanup.min_size:g} {cleanup.unit or 'mm3 or px'} on": (
                cleanup.min_size > 0
            ),
            "the largest component": cleanup.largest_component,
            f"mean over {2 ** len(self.flips)} flips": self.flipped,
        }
        return ", ".join(word for word, so in words.items() if so) or "nothing chosen"

    @property
    def classes(self) -> Classes:
        """Return what the pixels of its masks say."""
        return Classes(labels=self.labels)


def write(manual: Manual, path: Path) -> None:
    """Put a manual into a .keras file that has none; a full disk leaves the file as it was."""
    aside = path.with_suffix(".tmp.keras")
    shutil.copy(path, aside)
    with zipfile.ZipFile(aside, "a") as file:
        file.writestr(MEMBER, json.dumps(asdict(manual), indent=2))
    aside.replace(path)


def read(path: Path) -> Manual | None:
    """Return the manual of a .keras file, None where it has none or is none.

    Raises:
        SegError: another version of this package wrote it.
    """
    try:
        with zipfile.ZipFile(path) as file:
            known = json.loads(file.read(MEMBER))
    except (KeyError, zipfile.BadZipFile):
        return None
    try:
        seen = known["seen"] and tuple(known["seen"])
        known |= {"size": tuple(known["size"]), "seen": seen, "flips": tuple(known["flips"])}
        return Manual(**{**known, "cleanup": Cleanup(**known["cleanup"])})
    except (KeyError, TypeError) as error:
        raise SegError(
            f"{path}: says how it is used in the words of another version of seg ({error}); "
            "evaluate it with that one, or train again"
        ) from error
