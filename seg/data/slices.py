"""The files of a prepared case: PNG slices, and last of all their rows of the manifest.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seg.contracts import Scan, SegError, Source, SourceReader
from seg.data.images import encode_png
from seg.data.prepared import MANIFEST, SPACING
from seg.data.recipe import Recipe


def write_case(
    case: Source, folder: Path, reader: SourceReader, recipe: Recipe, aside: Path
) -> None:
    """Write the slices of a case, and when all are there, their rows of the manifest."""
    scan = reader.load(case)
    size, by_slice = recipe.size(scan), len(case.labels) > 1
    with _naming(case.images[0]):
        low, high = recipe.bounds(scan)
    masks = []
    for k, label_HW in enumerate(scan.label_SHW):
        with _naming(case.labels[k if by_slice else 0]):
            masks.append(recipe.mask(label_HW, scan.known_labels, size))
    rows = [
        _facts(case, k, scan, recipe, mask_HW)
        | _written("image", case, k, recipe.image(image_HWC, low, high, size), aside)
        | _written("mask", case, k, mask_HW, aside)
        | {"source_image": name_below(case.images[k if by_slice else 0], folder)}
        | {"source_label": name_below(case.labels[k if by_slice else 0], folder)}
        for k, (image_HWC, mask_HW) in enumerate(zip(scan.image_SHWC, masks, strict=True))
    ]
    record = record_of(aside, case)
    pd.DataFrame(rows).to_csv(record.with_suffix(".part"), index=False)
    record.with_suffix(".part").rename(record)


def _written(kind: str, case: Source, k: int, pixels: np.ndarray, aside: Path) -> dict[str, str]:
    """Write a picture and return its columns of the manifest."""
    name, encoded = f"{kind}s/{case.name}_{k:03d}.png", encode_png(pixels)
    (aside / name).write_bytes(encoded)
    return {kind: name, f"{kind}_sha256": hashlib.sha256(encoded).hexdigest()}


def _facts(case: Source, k: int, scan: Scan, recipe: Recipe, mask_HW: np.ndarray) -> dict[str, Any]:
    """Return what the manifest says of a slice, but its files."""
    height, width = mask_HW.shape
    source_height, source_width = scan.label_SHW.shape[1:]
    spacing = recipe.spacing_mm(scan) or ("", "", "")
    return {
        "case": case.name,
        "patient": case.patient,
        "volume": case.volume,
        "split": case.side or "",
        "slice": k,
        "height": height,
        "width": width,
        "source_height": source_height,
        "source_width": source_width,
        **dict(zip(SPACING, spacing, strict=True)),
        "channels": scan.image_SHWC.shape[-1],
        "target_px": np.count_nonzero(mask_HW),
    }


def write_manifest(aside: Path, cases: Sequence[Source]) -> dict[str, int]:
    """Gather the rows of all cases, in their order, and count them."""
    records = [record_of(aside, case) for case in cases]
    tables = [
        pd.read_csv(record, dtype=str, keep_default_na=False)
        for record in records
        if record.exists()
    ]
    manifest = pd.concat(tables)
    manifest.to_csv(aside / MANIFEST, index=False)
    return {
        "cases": len(tables),
        "patients": manifest["patient"].nunique(),
        "slices": len(manifest),
        "slices_with_target": int((manifest["target_px"] != "0").sum()),
    }


def record_of(aside: Path, case: Source) -> Path:
    """Return the file that says that all of a case is written."""
    return aside / "cases" / f"{case.name}.csv"


def name_below(file: Path, folder: Path) -> str:
    """Name a file below a folder in UTF-8, whatever its archive was written in."""
    return os.fsencode(file.relative_to(folder).as_posix()).decode(errors="replace")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Put the file's name before an error that does not know it."""
    try:
        yield
    except SegError as error:
        raise SegError(f"{file}: {error}") from error
