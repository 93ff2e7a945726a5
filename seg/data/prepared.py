"""Reader of prepared datasets (see `seg.data.prepare`)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from seg.contracts import Case, Classes, SegError, Slice
from seg.data.folder import SIDES

VERSION = 1  # of what is written; another one is prepared anew
MANIFEST, DESCRIPTION = "manifest.csv", "dataset.json"
DESCRIBED = {"recipe", "version", "left_out", "manifest_sha256"}
SPACING = ("slice_mm", "row_mm", "column_mm")

log = logging.getLogger(__name__)


def find(root: Path, recipe: Mapping[str, Any]) -> Path | None:
    """Return the dataset prepared with a recipe that `root` is or holds, None without any.

    Args:
        root: `dataset.root`.
        recipe: arguments of the reader and of the preparation, as in dataset.json.

    Raises:
        SegError: those there were prepared otherwise, several fit, or images/ lies beside them.
    """
    folders, found = _prepared(root), fitting(root, recipe)
    beside = [name for name in ("images", *SIDES) if (root / name).is_dir()]
    if not folders:
        return None
    if root not in folders and (beside or len(found) > 1):
        there = ", ".join(map(str, [*(found or folders), *beside]))
        raise SegError(f"dataset.root: several datasets lie in {root} ({there}); name one of them")
    if not found:
        made = _description(folders[-1])
        both = _complete(recipe), _complete(made["recipe"])
        differ = _differences(*both) or [f"version {made['version']}"]
        raise SegError(
            f"{folders[-1]} was prepared otherwise ({', '.join(differ)}): set the same again, or "
            "give dataset.source=PATH to prepare it anew"
        )
    return found[0]


def fitting(
    root: Path, recipe: Mapping[str, Any], fetched: Mapping[str, Any] | None = None
) -> list[Path]:
    """Return the datasets prepared with a recipe that `root` is or holds.

    Args:
        root: `dataset.root`.
        recipe: as in dataset.json.
        fetched: only those whose source was downloaded so (`dataset.fetch`).
    """
    made = {folder: _description(folder) for folder in _prepared(root)}
    return [
        folder
        for folder, description in made.items()
        if _complete(description["recipe"]) == _complete(recipe)
        and description["version"] == VERSION
        and fetched in (None, description.get("fetched"))
    ]


def _complete(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Say of a recipe from before labels could be kept apart that it merges them."""
    return {**recipe, "prepare": {"merge_labels": True, **recipe.get("prepare", {})}}


def _prepared(root: Path) -> list[Path]:
    return [root] if is_prepared(root) else sorted(filter(is_prepared, root.glob("prepared-*")))


def made_of(cases: Sequence[Case]) -> tuple[Mapping[str, Any], int]:
    """Return the recipe that cases were prepared with, and the channels of their sources.

    Nothing and 1 where they were not prepared.
    """
    homes = {slice_.image.parents[1] for case in cases for slice_ in case.slices}
    for home in filter(is_prepared, homes):
        table = pd.read_csv(home / MANIFEST, usecols=["channels"])
        return _complete(_description(home)["recipe"]), int(table["channels"].max())
    return {}, 1


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder is a prepared dataset; raise where it must not be looked into."""
    return (folder / MANIFEST).is_file() and (folder / DESCRIPTION).is_file()


def read(
    folder: Path,
    on_bad: str = "error",
    channels: int = 3,
    classes: Classes = Classes(),  # noqa: B008
) -> list[Case]:
    """Read the cases of a prepared dataset, after a look at every file's checksum.

    Args:
        folder: as `seg.data.prepare.prepare` returns it.
        on_bad: "error" refuses a dataset that cases were left out of, "skip" accepts it.
        channels: that images will be read with; fewer than there are gives a warning.
        classes: that masks will be read with.

    Raises:
        SegError: a file is missing or has changed; cases were left out; the masks hold other values
            than the labels.
    """
    description = _description(folder)
    if not (folder / MANIFEST).is_file():
        raise SegError(f"{folder / MANIFEST}: {_MISSING}")
    if sha256(folder / MANIFEST) != description["manifest_sha256"]:
        raise SegError(f"{folder / MANIFEST}: {_CHANGED}")
    _require_labels(folder, description["recipe"], classes)
    left_out = description["left_out"]
    if left_out and on_bad == "error":
        raise SegError(
            f"{folder}: {len(left_out)} cases were left out when it was prepared "
            f"({', '.join(list(left_out)[:5])}); take dataset.on_bad=skip to go on without them, "
            "or mend their files, take the folder away and prepare it anew"
        )
    if left_out:
        log.warning("%d cases were left out of %s: %s", len(left_out), folder, ", ".join(left_out))
    table = pd.read_csv(folder / MANIFEST, dtype=str, keep_default_na=False)
    _require_unchanged(folder, table)
    if channels == 1 and (table["channels"] == "3").any():
        log.warning("%s has 3 channels: dataset.channels=1 merges them by luminance", folder)
    log.info("data: %s, manifest %s", folder, description["manifest_sha256"][:12])
    groups = table.groupby(["patient", "volume", "split"], sort=False)
    return [_case(folder, *key, rows) for key, rows in groups]


def sha256(file: Path) -> str:
    """Return a file's checksum."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_CHANGED = "has changed since it was prepared; take the folder away and prepare it anew"
_MISSING = "is missing; take the folder away and prepare it anew"


def _require_unchanged(folder: Path, table: pd.DataFrame) -> None:
    files = [
        (folder / name, expected)
        for kind in ("image", "mask")
        for name, expected in zip(table[kind], table[f"{kind}_sha256"], strict=True)
    ]
    with ThreadPoolExecutor() as pool:
        sums = list(pool.map(lambda file: file[0].is_file() and sha256(file[0]), files))
    for (file, expected), found in zip(files, sums, strict=True):
        if found != expected:
            raise SegError(f"{file}: {_CHANGED if found else _MISSING}")


def _require_labels(folder: Path, recipe: Mapping[str, Any], classes: Classes) -> None:
    merged = _complete(recipe)["prepare"]["merge_labels"]
    if merged and classes.values != (0, 255):
        raise SegError(
            f"{folder} was prepared with dataset.prepare.merge_labels=true, its masks hold 255 "
            f"alone. Received: dataset.labels={dict(classes.labels)}; take "
            "dataset.prepare.merge_labels=false and give dataset.source=PATH to prepare it anew"
        )


def _case(folder: Path, patient: str, volume: str, side: str, rows: pd.DataFrame) -> Case:
    slices = tuple(
        Slice(Path(row.image).stem, folder / row.image, folder / row.mask, int(row.target_px))
        for row in rows.itertuples()
    )
    spacing = tuple(float(rows.iloc[0][column] or "nan") for column in SPACING)
    known = spacing[0] == spacing[0]
    return Case(patient, slices, side or None, volume=volume, spacing_mm=spacing if known else None)


def _description(folder: Path) -> dict:
    file = folder / DESCRIPTION
    if not file.is_file():
        raise SegError(f"{file}: {_MISSING}")
    try:
        description = json.loads(file.read_text())
    except ValueError:
        description = None
    if not isinstance(description, dict) or not DESCRIBED <= description.keys():
        raise SegError(f"{file}: {_CHANGED}")
    return description


def _differences(wanted: object, made: object, key: str = "dataset") -> list[str]:
    """Name the values that differ, as key=value of those that the dataset was made with."""
    if isinstance(wanted, Mapping) and isinstance(made, Mapping):
        in_one = [
            f"{key}.{name}={json.dumps(made.get(name))}" for name in wanted.keys() ^ made.keys()
        ]
        return sorted(in_one) + [
            line
            for name in filter(made.__contains__, wanted)
            for line in _differences(wanted[name], made[name], f"{key}.{name}")
        ]
    return [] if wanted == made else [f"{key}={json.dumps(made)}"]
