"""Pairing of a publisher's image and label files by two patterns with named groups.

Groups: `patient` names the person; `volume` tells several scans of one apart; `side` is the
publisher's own split; `slice` orders the files of a case that is stored slice by slice; `channel`
orders the image files of one that is stored sequence by sequence. An image and its label agree in
what all groups but the channel find.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

from seg.contracts import SegError, Source, case_name
from seg.data.folder import SIDES, natural
from seg.data.prepared import is_prepared

Key = tuple[str, str, str | None]
Files = dict[Key, dict[str, Path]]


def pair(
    root: Path, image_pattern: str, label_pattern: str, part: str
) -> tuple[list[Source], dict[str, str]]:
    """Find the cases under a folder.

    Args:
        root: unpacked folder of the publisher; hidden files and macOS droppings are passed over.
        image_pattern: regular expression searched in the path below `root` (with `/`).
        label_pattern: the same for labels.
        part: what several files of a case are, "slice" or "channel"; labels have no channels.

    Returns:
        The complete cases in natural order, and by name what is wrong with the others.

    Raises:
        SegError: a pattern is none, names an unknown group, or takes a file that the other takes;
            no image matches; some cases have a side and some none.
    """
    patterns = _compiled(image_pattern, label_pattern, part)
    paths = sorted(_walk(root))
    problems: dict[str, str] = {}
    labels = _matches(root, paths, patterns["label_pattern"], part, problems, {})
    images = _matches(root, paths, patterns["image_pattern"], part, problems, labels)
    _require_apart(root, paths, image_pattern, images, labels)
    usual = Counter(frozenset(files) for files in images.values()).most_common(1)[0][0]
    sides = Counter(key[:2] for key in {*images, *labels})
    cases = []
    for key in sorted({*images, *labels}, key=lambda key: [natural(part or "") for part in key]):
        patient, volume, side = key
        if sides[patient, volume] > 1:  # slices of one name would overwrite each other
            volume = f"{volume}_{side}".strip("_")
        case = Source(patient, volume, side, _ordered(images[key]), _ordered(labels[key]))
        wrong = _mismatch(case, images[key], labels[key], usual if part == "channel" else None)
        if wrong:
            problems.setdefault(case.name, wrong)
        cases.append(case)
    return _alone_of_their_name(cases, problems), problems


def _alone_of_their_name(cases: list[Source], problems: dict[str, str]) -> list[Source]:
    """Return the cases without problem, after adding that of a name which two of them have."""
    first: dict[str, Source] = {}
    for case in cases:
        if case.name in first:
            files = [(c.images + c.labels)[0] for c in (first[case.name], case)]
            problems[case.name] = f"{files[0]} and {files[1]}: are of two cases with one name"
        first[case.name] = case
    return [case for case in cases if case.name not in problems]


def _compiled(image_pattern: str, label_pattern: str, part: str) -> dict[str, re.Pattern]:
    """Compile the patterns and compare their groups with those that a format has."""
    both = {"image_pattern": image_pattern, "label_pattern": label_pattern}
    compiled = {}
    for key, pattern in both.items():
        try:
            compiled[key] = re.compile(pattern)
        except re.error as error:
            raise SegError(f"dataset.raw.{key}: {error}. Received: {pattern}") from error
        named = {*compiled[key].groupindex}
        allowed = {"patient", "volume", "side", part}
        if "patient" not in named or named - allowed:
            raise SegError(
                f"dataset.raw.{key}: must have a group (?P<patient>...) and of the others only "
                f"{', '.join(sorted(allowed - {'patient'}))}. Received: {pattern}"
            )
    of_images, of_labels = ({*compiled[key].groupindex} for key in both)
    if of_images - {"channel"} != of_labels or "channel" in of_labels:
        raise SegError(
            "dataset.raw: image_pattern and label_pattern must have the same groups (channel is "
            f"one of images). Received: {image_pattern} and {label_pattern}"
        )
    return compiled


def _require_apart(
    root: Path, paths: list[Path], pattern: str, images: Files, labels: Files
) -> None:
    if not images:
        raise SegError(
            f"dataset.source: none of the {len(paths)} files under {root} matches "
            f"dataset.raw.image_pattern={pattern}; there is, for instance, "
            f"{', '.join(map(str, paths[:3])) or 'nothing'}"
        )
    of_images, of_labels = (
        {file for members in files.values() for file in members.values()}
        for files in (images, labels)
    )
    if both := of_images & of_labels:
        raise SegError(
            f"{min(both)}: matches both dataset.raw.image_pattern={pattern} and label_pattern; "
            "a file is one or the other"
        )
    sided = {key[2] is not None for key in images}
    if len(sided) > 1:
        bare = next(min(files.values()) for key, files in images.items() if key[2] is None)
        raise SegError(f"{bare}: has no side, other images have one; mend dataset.raw")


def listings(root: Path) -> list[Path]:
    """Return the publisher's dataset.json files, at the top of `root` or one folder below."""
    found = sorted({*root.glob("dataset.json"), *root.glob("*/dataset.json")})
    return [listing for listing in found if not is_prepared(listing.parent)]


def _walk(root: Path) -> list[Path]:
    """Return the files below a folder, relative to it, also those behind links that lead away."""
    found, seen, top = [], set(), root.resolve()
    try:
        for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
            kept = []
            for name in sorted(subfolders):
                path = Path(folder, name)
                real = path.resolve()
                twice = path.is_symlink() and (real.is_relative_to(top) or real in seen)
                if twice or name.startswith((".", "__MACOSX")) or is_prepared(path):
                    continue
                seen |= {real} if path.is_symlink() else set()
                kept.append(name)
            subfolders[:] = kept
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


def _matches(
    root: Path,
    paths: list[Path],
    pattern: re.Pattern,
    part: str,
    problems: dict[str, str],
    labels: Files,
) -> Files:
    """Return the files that match by case, and within a case by slice or channel.

    A patient AHN_0002 without channel looks like channel 0002 of a patient AHN: `labels` decides.
    """
    files: Files = defaultdict(dict)
    for path in paths:
        match = pattern.search(path.as_posix())
        if not match:
            continue
        groups = defaultdict(str, {name: text or "" for name, text in match.groupdict().items()})
        patient, volume = (_safe(groups[name]) for name in ("patient", "volume"))
        side, number = _side(root / path, groups["side"]), groups[part]
        if not patient:
            raise SegError(f"{root / path}: dataset.raw finds no patient in it ({pattern.pattern})")
        if groups["channel"] and (patient, volume, side) not in labels:
            whole = _safe(path.as_posix()[match.start("patient") : match.end("channel")])
            if (whole, volume, side) in labels:
                patient, number = whole, ""
        members = files[patient, volume, side]
        first = members.setdefault(number, root / path)
        if first != root / path and not _is_copy(first, root / path):
            problems[case_name(patient, volume)] = (
                f"{first} and {root / path}: stand for the same; keep one"
            )
    return files


def _is_copy(one: Path, other: Path) -> bool:
    """Tell whether two files have one name and content, as those of a tree packed twice."""
    try:
        return one.name == other.name and filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


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


def _ordered(files: dict[str, Path]) -> tuple[Path, ...]:
    return tuple(files[part] for part in sorted(files, key=natural))


def _safe(text: str) -> str:
    """Return a name that can stand in a file name, another one for every other text."""
    return re.sub(r"[^\w.-]", lambda character: f"%{ord(character[0]):02X}", text)
