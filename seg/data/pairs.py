"""Pairing of a publisher's image and label files by two patterns with named groups.

Groups: `patient` names the person; `volume` tells several scans of one apart; `side` is the
publisher's own split; `slice` orders the files of a case that is stored slice by slice; `channel`
orders the image files of one that is stored sequence by sequence. An image and its label agree in
all but the channel.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from pathlib import Path

from seg.contracts import SegError, Source
from seg.data.folder import SIDES

GROUPS = {"patient", "volume", "side", "slice", "channel"}

Key = tuple[str, str, str | None]
Files = dict[Key, dict[str, Path]]


def pair(root: Path, image_pattern: str, label_pattern: str) -> tuple[list[Source], dict[str, str]]:
    """Find the cases under a folder.

    Args:
        root: unpacked folder of the publisher; hidden files and macOS droppings are passed over.
        image_pattern: regular expression searched in the path below `root` (with `/`).
        label_pattern: the same for labels.

    Returns:
        The complete cases in natural order, and by name what is wrong with the others.

    Raises:
        SegError: a pattern is no pattern or names an unknown group; no image matches.
    """
    paths = sorted(_walk(root))
    problems: dict[str, str] = {}
    for group in ("slice", "volume", "side"):
        if (f"(?P<{group}>" in image_pattern) != (f"(?P<{group}>" in label_pattern):
            raise SegError(
                f"dataset.raw: image_pattern and label_pattern must both have the group {group} or "
                f"neither. Received: {image_pattern} and {label_pattern}"
            )
    labels = _matches(root, paths, "label_pattern", label_pattern, problems, {})
    images = _matches(root, paths, "image_pattern", image_pattern, problems, labels)
    if not images:
        raise SegError(
            f"dataset.source: none of the {len(paths)} files under {root} matches "
            f"dataset.raw.image_pattern={image_pattern}; there is, for instance, "
            f"{', '.join(str(path) for path in paths[:3]) or 'nothing'}"
        )
    by_slice = "slice" in re.compile(image_pattern).groupindex
    channels = Counter(frozenset(files) for files in images.values()).most_common(1)[0][0]
    cases: dict[str, Source] = {}
    for key in sorted({*images, *labels}, key=lambda key: [_natural(part or "") for part in key]):
        case = Source(*key, *(tuple(_ordered(files.get(key, {}))) for files in (images, labels)))
        wrong = _mismatch(case, images[key], labels[key], None if by_slice else channels)
        if case.name in cases:
            first, second = (c.images + c.labels for c in (cases[case.name], case))
            wrong = f"{first[0]} and {second[0]}: are of two cases with one name, {case.name}"
        if wrong:
            problems.setdefault(case.name, wrong)
        cases[case.name] = case
    return [case for name, case in cases.items() if name not in problems], problems


def listings(root: Path) -> list[Path]:
    """Return the publisher's dataset.json files, at the top of `root` or one folder below."""
    found = sorted({*root.glob("dataset.json"), *root.glob("*/dataset.json")})
    return [listing for listing in found if not _is_ours(listing.parent)]


def _walk(root: Path) -> list[Path]:
    """Return the files below a folder, relative to it, also those behind links to folders."""
    found, seen = [], {root.resolve()}
    try:
        for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
            below = {Path(folder, name).resolve(): name for name in sorted(subfolders)}
            subfolders[:] = [
                name
                for real, name in below.items()
                if real not in seen
                and not name.startswith((".", "__MACOSX"))
                and not _is_ours(real)
            ]
            seen |= below.keys()
            found += [
                Path(folder, name).relative_to(root) for name in names if not name.startswith(".")
            ]
    except OSError as error:
        raise SegError(
            f"{error.filename}: cannot be searched ({error.strerror}); change its permissions"
        ) from error
    return found


def _raise(error: OSError) -> None:
    raise error


def _is_ours(folder: Path) -> bool:
    """Tell what an earlier preparation left in a folder that is source and root at once."""
    return (folder / "manifest.csv").exists() and (folder / "dataset.json").exists()


def _matches(
    root: Path, paths: list[Path], key: str, pattern: str, problems: dict[str, str], labels: Files
) -> Files:
    """Return the files that match by case, and within a case by slice or channel.

    A patient AHN_0002 without channel looks like channel 0002 of a patient AHN: `labels` decides.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SegError(f"dataset.raw.{key}: {error}. Received: {pattern}") from error
    named = set(compiled.groupindex)
    if "patient" not in named or named - GROUPS:
        raise SegError(
            f"dataset.raw.{key}: must have a group (?P<patient>...) and none besides "
            f"{', '.join(sorted(GROUPS))}. Received: {pattern}"
        )
    files: Files = defaultdict(dict)
    for path in paths:
        match = compiled.search(path.as_posix())
        if not match:
            continue
        groups = defaultdict(str, {name: text or "" for name, text in match.groupdict().items()})
        patient, volume = (_safe(groups[name]) for name in ("patient", "volume"))
        side, part = _side(root / path, groups["side"]), groups["slice"] or groups["channel"]
        if not patient:
            raise SegError(f"{root / path}: dataset.raw.{key}={pattern} finds no patient's name")
        if groups["channel"] and (patient, volume, side) not in labels:
            whole = _safe(path.as_posix()[match.start("patient") : match.end("channel")])
            if (whole, volume, side) in labels:
                patient, part = whole, ""
        members = files[patient, volume, side]
        if part in members:
            name = f"{patient}_{volume}" if volume else patient
            problems[name] = f"{root / members[part]} and {path.name} stand for the same; keep one"
        members[part] = root / path
    return files


def _side(path: Path, text: str) -> str | None:
    if text and text.lower() not in SIDES:
        raise SegError(
            f"{path}: the group side of dataset.raw must be one of {', '.join(SIDES)}. "
            f"Received: {text}"
        )
    return SIDES.get(text.lower())


def _mismatch(
    case: Source,
    images: dict[str, Path],
    labels: dict[str, Path],
    channels: frozenset[str] | None,
) -> str | None:
    """Say what a case lacks, None where it is complete; `channels` of most cases, None: slices."""
    if not labels:
        return f"{case.images[0]}: has no label"
    if not images:
        return f"{case.labels[0]}: has no image"
    if channels is None:
        for part in sorted(images.keys() ^ labels.keys()):
            present, other = (images, "label") if part in images else (labels, "image")
            return f"{present[part]}: has no {other}"
    unnamed = len(images) == 1 and "" in {*images, *(channels or ())}
    if channels and images.keys() != channels and not (unnamed and len(channels) == 1):
        have, usual = (", ".join(sorted(names)) or "one" for names in (images, channels))
        return f"{case.images[0]}: has the channels {have}, other cases have {usual}"
    return None


def _ordered(files: dict[str, Path]) -> list[Path]:
    return [files[part] for part in sorted(files, key=_natural)]


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which 2 comes before 10."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def _safe(text: str) -> str:
    """Return a name that can stand in a file name, another one for every other text."""
    return re.sub(r"[^\w.-]", lambda character: f"%{ord(character[0]):02X}", text)
