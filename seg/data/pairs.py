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
    labels = _matches(root, paths, "label_pattern", label_pattern, problems, {})
    images = _matches(root, paths, "image_pattern", image_pattern, problems, labels)
    if not images:
        raise SegError(
            f"dataset.source: none of the {len(paths)} files under {root} matches "
            f"dataset.raw.image_pattern={image_pattern}; there is, for instance, "
            f"{', '.join(str(path) for path in paths[:3]) or 'nothing'}"
        )
    usual = Counter(len(files) for files in images.values()).most_common(1)[0][0]
    by_slice = "slice" in re.compile(label_pattern).groupindex
    cases = []
    for key in sorted({*images, *labels}, key=lambda key: [_natural(part or "") for part in key]):
        made = Source(*key, *(tuple(_ordered(side.get(key, {}))) for side in (images, labels)))
        wrong = _mismatch(made, images.get(key, {}), labels.get(key, {}), by_slice, usual)
        if wrong:
            problems.setdefault(made.name, wrong)
        elif made.name not in problems:
            cases.append(made)
    twice = Counter(case.name for case in cases)
    problems |= {name: "two cases have this name" for name, count in twice.items() if count > 1}
    return [case for case in cases if case.name not in problems], problems


def _walk(root: Path) -> list[Path]:
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith((".", "__MACOSX")) and not _is_ours(Path(folder, name))
        ]
        found += [
            Path(folder, name).relative_to(root) for name in names if not name.startswith(".")
        ]
    return found


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
        side, part = SIDES.get(groups["side"]), groups["slice"] or groups["channel"]
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


def _mismatch(
    case: Source, images: dict[str, Path], labels: dict[str, Path], by_slice: bool, usual: int
) -> str | None:
    """Say what a case lacks, None where it is complete."""
    if not labels:
        return f"{case.images[0]}: has no label"
    if not images:
        return f"{case.labels[0]}: has no image"
    if by_slice:
        for part in images.keys() ^ labels.keys():
            present, other = (images, "label") if part in images else (labels, "image")
            return f"{present[part]}: has no {other}"
    elif len(images) != usual:
        return f"{case.images[0]}: has {len(images)} channels, the other cases have {usual}"
    return None


def _ordered(files: dict[str, Path]) -> list[Path]:
    return [files[part] for part in sorted(files, key=_natural)]


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which 2 comes before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def _safe(text: str) -> str:
    """Return a name that can stand in a file name."""
    return re.sub(r"[^\w.-]+", "-", text)
