"""Pictures and volumes predicted, and what is written of them.

Axes: S slices, H height, W width, C channels, N classes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path

import cv2
import numpy as np

from seg.contracts import Scan
from seg.data.images import FULL_SCALE
from seg.figures.pictures import WHITE, Style, captioned, grid, overlay, write_png
from seg.infer.cases import chosen_class
from seg.infer.cleanup import cleaned
from seg.infer.inputs import Input, Loaded
from seg.infer.members import Member, agreed, together

MOST_SLICES, IN_A_ROW = 12, 4


@dataclass(frozen=True)
class Wanted:
    """What is written of each file, below a folder.

    Attributes:
        folder: receives masks/NAME, overlays/NAME.png and probabilities/NAME. The mask of a volume
            is one in its own grid, of 1 or of the labels' values; that of a picture is a PNG, of
            255 or of these.
        kinds: which of them.
        style: of the overlays.
    """

    folder: Path
    kinds: Collection[str]
    style: Style


def predict(
    files: Sequence[tuple[Input, Loaded]], members: Sequence[Member], wanted: Wanted
) -> list[dict[str, object]]:
    """Predict files together, holding their masks and, where wanted, their probabilities.

    Returns:
        For each file mask, where it is written; slices; target_px; target_ml, where the spacing is
        known.

    Raises:
        SegError: a file has no contrast.
    """
    stream = together(members, [(loaded.scan, source.is_volume) for source, loaded in files])
    return [_written(source, loaded, stream, members, wanted) for source, loaded in files]


def _written(
    source: Input,
    loaded: Loaded,
    stream: Iterator[np.ndarray],
    members: Sequence[Member],
    wanted: Wanted,
) -> dict[str, object]:
    """Take the slices of a file from the stream, and write what is wanted of it."""
    manual, scan = members[0].manual, loaded.scan
    threshold, cleanup = agreed(members, source.is_volume)
    masks, kept = [], []
    for p_HWN in islice(stream, len(scan.image_SHWC)):
        masks.append(chosen_class(p_HWN, threshold))
        kept += [p_HWN] if "probabilities" in wanted.kinds else []
    mask_SHW = np.stack(cleaned(masks, cleanup, scan.spacing_mm)).astype(np.uint8)
    row: dict[str, object] = {"slices": len(mask_SHW), "target_px": np.count_nonzero(mask_SHW)}
    if scan.spacing_mm:
        row["target_ml"] = f"{row['target_px'] * prod(scan.spacing_mm) / 1000:.6g}"
    if "masks" in wanted.kinds:
        classes = manual.classes
        values = (0, 1) if source.is_volume and not classes.labels else classes.values
        written = np.array(values, np.min_scalar_type(max(values)))[mask_SHW]
        row["mask"] = loaded.write(wanted.folder / "masks" / source.name, written)
    if kept:
        _write_probabilities(np.stack(kept), source, loaded, manual.classes.names, wanted.folder)
    if "overlays" in wanted.kinds:
        picture = _picture(mask_SHW, members[0], scan, source.is_volume, wanted.style)
        write_png(wanted.folder / "overlays" / f"{source.name}.png", picture)
    return row


def _write_probabilities(
    p_SHWN: np.ndarray, source: Input, loaded: Loaded, names: Sequence[str], folder: Path
) -> None:
    """Write a file for each class: float32 of a volume, 16 bits from 0 to 1 of a picture."""
    several = p_SHWN.shape[-1] > 1
    for i, name in enumerate(names if several else ("",)):
        p_SHW = p_SHWN[..., i + several]
        if not source.is_volume:
            p_SHW = np.rint(p_SHW * FULL_SCALE).astype(np.uint16)
        end = f"_{name}" if several else ""
        loaded.write(folder / "probabilities" / f"{source.name}{end}", p_SHW)


def _picture(
    mask_SHW: np.ndarray, member: Member, scan: Scan, is_volume: bool, style: Style
) -> np.ndarray:
    """Draw the mask over what the model saw: of a volume over slices evenly spread over it."""
    names = member.manual.classes.names
    with_target = np.flatnonzero(mask_SHW.any(axis=(1, 2)))
    places = with_target if with_target.size else np.arange(len(mask_SHW))
    shown = {*places[np.linspace(0, len(places) - 1, min(MOST_SLICES, len(places))).astype(int)]}
    tiles = []
    for k, image_HWC in enumerate(member.images(scan, is_volume)):
        if k in shown:
            size = image_HWC.shape[1::-1]
            mask_HW = cv2.resize(mask_SHW[k], size, interpolation=cv2.INTER_NEAREST_EXACT)
            tile = overlay(image_HWC / FULL_SCALE, None, mask_HW, names, style)
            tiles.append(captioned(tile, [(f"slice {k}", WHITE)]) if is_volume else tile)
    return grid(tiles, min(IN_A_ROW, len(tiles))) if is_volume else tiles[0]
