"""Reader of image/mask folders: ROOT/{images,masks} or ROOT/{train,valid,test}/{images,masks}."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from pathlib import Path

from seg.contracts import Case, SegError, Slice
from seg.data.images import SUFFIXES

SIDES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}

log = logging.getLogger(__name__)


def read(root: str | Path, patient_pattern: str | None) -> list[Case]:
    """Pair images with masks by file name and group them by patient.

    Args:
        root: folder in one of the two layouts; an image and its mask share the name without ending.
        patient_pattern: regular expression whose first group is the patient, searched in that name;
            a slice without a match, and every slice where it is None, is a patient of its own.

    Returns:
        One case per patient (and side of a ready-made split), sorted by side and patient.

    Raises:
        SegError: no such folder or layout, an image without mask, a mask without image.
    """
    root = Path(root)
    if not root.is_dir():
        raise SegError(
            f"dataset.root: no folder {root.resolve()}; say where the data lies with "
            "dataset.root=PATH (layout: PATH/images and PATH/masks), read in README.md where to "
            "get it, or take dataset=phantom, which needs none"
        )
    try:
        pattern = re.compile(patient_pattern or "()")
    except re.error as error:
        raise SegError(
            f"dataset.reader.patient_pattern: {error}. Received: {patient_pattern}"
        ) from error
    if pattern.groups < 1:
        raise SegError(
            "dataset.reader.patient_pattern must have a group (...) around the patient. "
            f"Received: {patient_pattern}"
        )
    cases = []
    for side, folder in _sides(root):
        cases += _cases(folder, side, pattern if patient_pattern else None)
    unidentified = sum(not case.identified for case in cases)
    if unidentified:
        log.warning(
            "%d of %d slices name no patient (dataset.reader.patient_pattern=%s): each is split "
            "and scored as a patient of its own, so slices of one person may lie on two sides",
            unidentified,
            sum(len(case.slices) for case in cases),
            patient_pattern,
        )
    return cases


def natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which 2 comes before 10."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _sides(root: Path) -> list[tuple[str | None, Path]]:
    """Return the sides of a ready-made split and their folders, or the flat folder itself."""
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name in SIDES)
    if not folders:
        return [(None, root)]
    if (root / "images").is_dir():
        raise SegError(
            f"{root}: holds both images/ and {folders[0].name}/; keep either the flat folder or "
            "the ready-made split"
        )
    sides = {SIDES[folder.name]: folder for folder in folders}
    if len(sides) < len(folders):
        names = ", ".join(folder.name for folder in folders)
        raise SegError(f"{root}: two folders for one side ({names}); keep one of them")
    return sorted(sides.items())


def _cases(folder: Path, side: str | None, pattern: re.Pattern | None) -> list[Case]:
    slices: dict[str, list[Slice]] = defaultdict(list)
    unidentified = set()
    for name, image, mask in _pairs(folder):
        match = pattern.search(name) if pattern else None
        patient = match[1] if match else name
        if not match:
            unidentified.add(patient)
        slices[patient].append(Slice(id=name, image=image, mask=mask))
    return [
        Case(patient, tuple(members), side, patient not in unidentified)
        for patient, members in sorted(slices.items())
    ]


def _pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    images, masks = (_by_name(folder / kind) for kind in ("images", "masks"))
    if not images:
        raise SegError(f"{folder / 'images'}: no {'/'.join(SUFFIXES)} file; check dataset.root")
    for present, absent, other in ((images, masks, "mask"), (masks, images, "image")):
        lonely = sorted(present.keys() - absent.keys())
        if lonely:
            raise SegError(
                f"{present[lonely[0]]}: has no {other} of the same name in "
                f"{folder / (other + 's')} ({len(lonely)} such); add what is missing "
                "or take the file away"
            )
    return [(name, images[name], masks[name]) for name in sorted(images, key=natural)]


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise SegError(
            f"{folder}: no such folder; dataset.root must hold images/ and masks/, "
            "or train/, valid/, test/ with these two in each"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in files:
            raise SegError(
                f"{path}: shares its name with {files[path.stem].name}; keep one of the two"
            )
        files[path.stem] = path
    return files
