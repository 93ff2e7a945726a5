"""Reader of prepared datasets (see `seg.data.prepare`)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from seg.contracts import Case, SegError, Slice
from seg.data.folder import SIDES

MANIFEST, DESCRIPTION = "manifest.csv", "dataset.json"
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
    folders = _prepared(root)
    found = fitting(root, recipe)
    beside = [name for name in ("images", *SIDES) if root not in folders and (root / name).is_dir()]
    if folders and not found and not beside:
        differ = ", ".join(_differences(recipe, _description(folders[-1])["recipe"]))
        raise SegError(
            f"{folders[-1]} was prepared otherwise ({differ}): set the same again, or give "
            "dataset.source=PATH to prepare it anew"
        )
    if len(found) > 1 or (found and beside):
        there = ", ".join([str(folder) for folder in found] + beside)
        raise SegError(f"dataset.root: several datasets lie in {root} ({there}); name one of them")
    return found[0] if found else None


def fitting(root: Path, recipe: Mapping[str, Any]) -> list[Path]:
    """Return the datasets prepared with a recipe that `root` is or holds."""
    return [folder for folder in _prepared(root) if _description(folder)["recipe"] == recipe]


def _prepared(root: Path) -> list[Path]:
    return [root] if is_prepared(root) else sorted(filter(is_prepared, root.glob("prepared-*")))


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder is a prepared dataset."""
    return (folder / MANIFEST).is_file() and (folder / DESCRIPTION).is_file()


def read(folder: Path, on_bad: str = "error") -> list[Case]:
    """Read the cases of a prepared dataset, after a look at every file's checksum.

    Args:
        folder: as `seg.data.prepare.prepare` returns it.
        on_bad: "error" refuses a dataset that cases were left out of, "skip" accepts it.

    Raises:
        SegError: a file is missing or has changed; cases were left out.
    """
    description = _description(folder)
    if sha256(folder / MANIFEST) != description["manifest_sha256"]:
        raise SegError(f"{folder / MANIFEST}: {_CHANGED}")
    left_out = description["left_out"]
    if left_out and on_bad == "error":
        raise SegError(
            f"{folder}: {len(left_out)} cases were left out when it was prepared "
            f"({', '.join(list(left_out)[:5])}); take dataset.on_bad=skip to go on without them"
        )
    if left_out:
        log.warning("%d cases were left out of %s: %s", len(left_out), folder, ", ".join(left_out))
    table = pd.read_csv(folder / MANIFEST, dtype=str, keep_default_na=False)
    _require_unchanged(folder, table)
    groups = table.groupby(["patient", "volume", "split"], sort=False)
    return [_case(folder, *key, rows) for key, rows in groups]


def sha256(file: Path) -> str:
    """Return a file's checksum."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_CHANGED = "has changed since it was prepared; take the folder away and prepare it anew"


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
            raise SegError(f"{file}: {_CHANGED if found else 'is missing; prepare it anew'}")


def _case(folder: Path, patient: str, volume: str, side: str, rows: pd.DataFrame) -> Case:
    slices = tuple(
        Slice(Path(row.image).stem, folder / row.image, folder / row.mask)
        for row in rows.itertuples()
    )
    spacing = tuple(float(rows.iloc[0][column] or "nan") for column in SPACING)
    known = spacing[0] == spacing[0]
    return Case(patient, slices, side or None, volume=volume, spacing_mm=spacing if known else None)


def _description(folder: Path) -> dict:
    try:
        return json.loads((folder / DESCRIPTION).read_text())
    except ValueError as error:
        raise SegError(f"{folder / DESCRIPTION}: {_CHANGED}") from error


def _differences(wanted: object, made: object, key: str = "dataset") -> list[str]:
    """Name the values that differ, as key=value of those that the dataset was made with."""
    if isinstance(wanted, Mapping) and isinstance(made, Mapping):
        names = dict.fromkeys([*wanted, *made])
        return [
            line
            for name in names
            for line in _differences(wanted.get(name), made.get(name), f"{key}.{name}")
        ]
    return [] if wanted == made else [f"{key}={json.dumps(made)}"]
