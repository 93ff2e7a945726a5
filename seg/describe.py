"""What the data is, before anything learns from it: tables, a plot, sheets of samples.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from seg.contracts import Augment, Case, Classes, Slice, Splits
from seg.data.cache import Slices
from seg.data.images import FULL_SCALE, read_image, read_mask
from seg.data.prepared import SPACING
from seg.figures.pictures import sheet, write_png
from seg.figures.plots import statistics

SAMPLES = 16
AUGMENTED, VARIANTS = 6, 4
BATCH_SLICES = 32
NO_SPACING = (None, None, None)
OF_CLASS = "target_px_"

Member = tuple[str, Case, Slice]
Row = dict[str, float | int | str | None]


def describe(splits: Splits, channels: int, classes: Classes, folder: Path) -> dict[str, float]:
    """Write slices.csv, statistics.csv, statistics.png and a samples_SIDE.png for each side.

    Intensities are those of all channels, of full scale; a percentile is the smallest value that
    at least so many percent of the pixels do not exceed, sd that of all pixels. Shares of the
    target in statistics.csv are over the slices that have one. Any class but the background is
    target; with labels there are also the pixels (slices.csv) and the slices of each class.

    Args:
        splits: at least one slice; a side without any has no row and no sheet.
        channels: 1 to read grey, 3 to read RGB.
        classes: what the masks' pixels say.
        folder: is made.

    Returns:
        data/SIDE_patients, data/SIDE_slices and data/SIDE_slices_with_target of the three sides.

    Raises:
        SegError: a file cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = [
        (side, case, slice_)
        for side, cases in splits.sides().items()
        for case in cases
        for slice_ in case.slices
    ]
    table, pixels = _measured(members, channels, classes)
    by_side = {str(side): part for side, part in table.groupby("split", sort=False)}
    rows = [_statistics(side, part, pixels[side]) for side, part in by_side.items()]
    rows.append(_statistics("all", table, np.sum(list(pixels.values()), axis=0)))
    table.to_csv(folder / "slices.csv", index=False, float_format="%.6g")
    pd.DataFrame(rows).to_csv(folder / "statistics.csv", index=False, float_format="%.6g")
    statistics(table, pixels, folder / "statistics.png")
    for side, part in by_side.items():
        chosen = part.index[samples(part["patient"], part["target_px"] > 0)]
        pairs = (_pair(members[i][2], channels, classes) for i in chosen)
        write_png(folder / f"samples_{side}.png", sheet(pairs))
    counts = {str(row["split"]): row for row in rows}
    return {
        f"data/{side}_{name}": counts.get(side, {}).get(name, 0)
        for side in splits.sides()
        for name in ("patients", "slices", "slices_with_target")
    }


def augmented(
    cases: Sequence[Case], slices: Slices, augment: Augment, seed: int, folder: Path
) -> None:
    """Write samples_augmented.png: some training slices, each with variants beside it.

    Drawn as `seg.data.pipeline.endless` draws, at the model's size.

    Args:
        cases: of the training side.
        slices: of the same cases.
        augment: not None.
        seed: of the run.
        folder: exists.
    """
    patients = [case.patient for case in cases for _ in case.slices]
    shown = samples(patients, slices.has_target, AUGMENTED)
    columns = [slices.samples(shown)]
    for batch in range(VARIANTS):
        numbers = enumerate(shown, start=batch * len(shown))
        pairs = [augment.sample(*slices.sample(i), seed, k) for k, i in numbers]
        images, masks = (np.stack(part).astype(np.float32) for part in zip(*pairs, strict=True))
        columns.append(augment.batch(images, masks, seed, batch))
    titles = ["", *(f"variant {n} of " for n in range(1, VARIANTS + 1))]
    tiles = (
        (images[row], masks[row, ..., 0] > 0, title + slices.ids[i])
        for row, i in enumerate(shown)
        for title, (images, masks) in zip(titles, columns, strict=True)
    )
    write_png(folder / "samples_augmented.png", sheet(tiles, columns=len(columns)))


def samples(patients: Sequence[str], has_target: Sequence[bool], n: int = SAMPLES) -> list[int]:
    """Choose up to `n` slices of a side that show it: their positions, ascending.

    At least three quarters have a target where there are so many. Each goes to a patient that has
    the fewest so far; patients are evenly spaced over the side, and slices over their patient.
    """
    groups: dict[bool, dict[str, list[int]]] = {kind: defaultdict(list) for kind in (True, False)}
    for i, (patient, kind) in enumerate(zip(patients, has_target, strict=True)):
        groups[bool(kind)][patient].append(i)
    n_with, n_without = (sum(map(len, groups[kind].values())) for kind in (True, False))
    n_with = min(n_with, max(n - n // 4, n - n_without))
    taken: Counter[str] = Counter()
    chosen = []
    for kind, most in ((True, n_with), (False, n - n_with)):
        places = _places({p: len(slices) for p, slices in groups[kind].items()}, taken, most)
        for i, (patient, slices) in enumerate(groups[kind].items()):
            # One patient shows a slice near one end, the next one further on.
            step, start = len(slices) / max(places[patient], 1), (i + 0.5) / len(groups[kind])
            chosen += [slices[int((k + start) * step)] for k in range(places[patient])]
        taken += places
    return sorted(chosen)


def _places(room: dict[str, int], taken: Counter[str], n: int) -> Counter[str]:
    """Hand up to `n` places to patients with room, each to one that has the fewest so far."""
    places: Counter[str] = Counter()
    while left := n - places.total():
        loads = {p: taken[p] + places[p] for p, most in room.items() if places[p] < most}
        least = min(loads.values(), default=None)
        if least is None:
            break
        fewest = [p for p, load in loads.items() if load == least]
        step = max(len(fewest) / left, 1)
        places.update(fewest[int((k + 0.5) * step)] for k in range(min(left, len(fewest))))
    return places


def _measured(
    members: Sequence[Member], channels: int, classes: Classes
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return a row per slice, and by side how often each grey value occurs; holds few images."""
    rows = []
    pixels = {side: np.zeros(FULL_SCALE + 1, np.int64) for side, _, _ in members}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(members), BATCH_SLICES):
            batch = members[start : start + BATCH_SLICES]
            measured = pool.map(lambda m: _measure(m, channels, classes), batch)
            for (side, _, _), (row, counts) in zip(batch, measured, strict=True):
                rows.append(row)
                pixels[side] += counts
    return pd.DataFrame(rows), pixels


def _measure(member: Member, channels: int, classes: Classes) -> tuple[Row, np.ndarray]:
    side, case, slice_ = member
    mask_HW = read_mask(slice_.mask, classes)
    target_HW = mask_HW > 0
    counts = np.bincount(read_image(slice_.image, channels).ravel(), minlength=FULL_SCALE + 1)
    row: Row = {
        "split": side,
        "patient": case.patient,
        "case": case.name,
        "slice": slice_.id,
        "height_px": mask_HW.shape[0],
        "width_px": mask_HW.shape[1],
        **dict(zip(SPACING, case.spacing_mm or NO_SPACING, strict=True)),
        "target_px": int(target_HW.sum()),
        "target_share": float(target_HW.mean()),
    }
    for index, name in enumerate(classes.names, start=1):
        row[f"{OF_CLASS}{name}"] = int((mask_HW == index).sum())
    return row | _intensity(counts, "mean", "sd", "min", "p1", "p50", "p99", "max"), counts


def _statistics(side: str, table: pd.DataFrame, pixels: np.ndarray) -> Row:
    shares = table.loc[table["target_px"] > 0, "target_share"]
    row: Row = {
        "split": side,
        "patients": table["patient"].nunique(),
        "cases": table.groupby(["split", "patient", "case"]).ngroups,
        "slices": len(table),
        "slices_with_target": len(shares),
    }
    for column in filter(lambda name: name.startswith(OF_CLASS), table):
        row[f"slices_with_target_{column.removeprefix(OF_CLASS)}"] = int((table[column] > 0).sum())
    row |= {f"target_share_{name}": shares.agg(name) for name in ("mean", "min", "median", "max")}
    row |= {
        f"{length}_px_{end}": table[f"{length}_px"].agg(end)
        for length in ("height", "width")
        for end in ("min", "max")
    }
    return row | _intensity(pixels, "mean", "sd", "p1", "p50", "p99")


def _intensity(counts: np.ndarray, *names: str) -> Row:
    """Return the named facts of grey values over 0..1 that occur `counts` times each."""
    present = np.flatnonzero(counts)
    grey, counts = present / FULL_SCALE, counts[present]
    n = counts.sum()
    mean = counts @ grey / n
    sd = np.sqrt(counts @ (grey - mean) ** 2 / n)
    facts = {"mean": mean, "sd": sd, "min": grey[0], "max": grey[-1]}
    # 100 times the count of pixels up to each value: whole numbers, so that no rounding decides.
    below = 100 * np.cumsum(counts)
    facts |= {f"p{p}": grey[np.searchsorted(below, p * n)] for p in (1, 50, 99)}
    return {f"intensity_{name}": float(facts[name]) for name in names}


def _pair(slice_: Slice, channels: int, classes: Classes) -> tuple[np.ndarray, np.ndarray, str]:
    image_HWC = read_image(slice_.image, channels).astype(np.float32) / FULL_SCALE
    return image_HWC, read_mask(slice_.mask, classes) > 0, slice_.id
