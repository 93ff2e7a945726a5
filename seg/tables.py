"""Numbers and tables of what a run has left, in words, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seg.contracts import Scores

UNDEFINED = "undefined"
COARSE = ("_mm", "lesion_false_positives")  # told with two digits after the point
UNITS = {"_mm": "mm", "_ml": "ml", "_px": "px"}
WORDS = ("case", "patient", "class")
CHOSEN = {
    "infer/fill_holes": ("holes filled", ("no", "yes")),
    "infer/min_size": ("smallest component (mm³ or px)", ()),
    "infer/largest_component": ("only the largest component", ("no", "yes")),
    "infer/tta": ("mean over flips", ("no", "yes")),
}

Value = float | None
Summary = Mapping[str, Value]
Row = Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """Cells in words.

    Attributes:
        head: of the columns; empty: there is none.
        rows: cells.
        names: how many columns at the left are no numbers.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


@dataclass(frozen=True)
class Estimate:
    """A mean over patients, and its 95% interval, or why there is none."""

    name: str
    mean: str
    interval: str


def dice(summary: Summary, side: str) -> list[Estimate]:
    """Return the Dice of a side, then that of each class that has a name.

    Args:
        summary: as in summary.json, of a run that was scored on the side.
        side: "test" or "val".
    """
    start, end = f"{side}/dice_", "_ci_low"
    keys = [key for key in summary if key.startswith(start) and key.endswith(end)]
    classes = [name for key in keys if (name := key[len(start) : -len(end)])]
    return [
        _estimate(summary, f"{side}/dice"),
        *(_estimate(summary, f"{side}/dice_{name}", name) for name in classes),
    ]


def scores(summary: Summary, side: str) -> Table:
    """Return a row per score of a side that some case defines, then the Dice of each class."""
    rows = []
    for name in Scores.names():
        key = f"{side}/{name}"
        if name == "dice" or summary.get(key) is not None:
            found = _estimate(summary, key, name)
            rest = [number(summary[f"{key}_{what}"], name) for what in ("median", "sd")]
            undefined = exact(summary[f"{key}_undefined"])
            rows.append([label(name), found.mean, found.interval, *rest, undefined])
    for found in dice(summary, side)[1:]:
        rows.append([f"dice of {found.name}", found.mean, found.interval, "", "", ""])
    return Table(("score", "mean", "95% interval", "median", "sd", "undefined"), rows)


def strata(rows: Sequence[Row]) -> Table:
    """Return Dice by size of the target, of the rows of strata.csv."""
    of_dice = [row for row in rows if row["score"] == "dice"]
    named = bool(of_dice) and "class" in of_dice[0]
    head = [*(["class"] if named else []), "target", "patients", "cases"]
    cells = []
    for row in of_dice:
        mean, sd, median, low, high = (
            float(row[what]) if row[what] else None
            for what in ("mean", "sd", "median", "ci_low", "ci_high")
        )
        size = f"{float(row['smallest']):.4g} to {float(row['largest']):.4g} {row['unit']}"
        names = [*([row["class"]] if named else []), f"{row['stratum']}, {size}"]
        numbers = [number(mean), interval(mean, low, high), number(median), number(sd)]
        cells.append([*names, row["patients"], row["cases"], *numbers])
    return Table([*head, "mean Dice", "95% interval", "median", "sd"], cells, 1 + named)


def cases(rows: Sequence[Row]) -> Table:
    """Return the rows of cases.csv; an empty cell is an undefined score, an empty column goes."""
    head = [name for name in (rows[0] if rows else []) if any(row[name] for row in rows)]
    cells = [[_cell(name, row[name]) for name in head] for row in rows]
    return Table([label(name) for name in head], cells, sum(name in WORDS for name in head))


def data(sides: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return how much data each side has, as data.json says."""
    names = ("digest", "patients", "cases", "slices", "slices_with_target")
    rows = [[side, *(str(of.get(name, "")) for name in names)] for side, of in sides.items()]
    return Table(("side", *map(label, names)), rows, 2)


def origin(tags: Mapping[str, str]) -> Table:
    """Return which code ran under which versions, but neither who ran it nor where.

    Args:
        tags: as `seg.reproduce.provenance` returns them.
    """
    rows = []
    if commit := tags.get("mlflow.source.git.commit"):
        dirty = tags.get("git.dirty") == "true"
        rows += [["commit", commit], ["changed since", "yes, see changes.diff" if dirty else "no"]]
    start = "version."
    rows += [[key.removeprefix(start), tags[key]] for key in tags if key.startswith(start)]
    return Table((), rows + [[key, tags[key]] for key in ("python",) if key in tags], 2)


def chosen(summary: Summary) -> Table:
    """Return how masks are made of probabilities: what begins with infer/."""
    rows = []
    for key in summary:
        if key.startswith("infer/"):
            name, words = CHOSEN.get(key, (label(key.removeprefix("infer/")), ()))
            value = summary[key]
            rows.append([name, words[bool(value)] if words else exact(value)])
    return Table((), rows)


def numbers(summary: Summary) -> Table:
    """Return all of summary.json."""
    return Table((), [[key, exact(value)] for key, value in summary.items()])


def number(value: Value, name: str = "", digits: int = 3) -> str:
    """Write a score, rounded; those in mm, and counts, to two digits."""
    if value is None:
        return UNDEFINED
    return f"{value:.{2 if name.endswith(COARSE) else digits}f}"


def exact(value: Value, digits: int = 6) -> str:
    """Write a number with all that matters: integers in full."""
    if value is None:
        return UNDEFINED
    return f"{value:.{digits}g}" if value % 1 else f"{value:.0f}"


def label(name: str) -> str:
    """Write a column's name as words, with its unit.

    >>> label("truth_ml")
    'truth (ml)'
    """
    for end, unit in UNITS.items():
        if name.endswith(end):
            return f"{name.removesuffix(end).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def _estimate(summary: Summary, key: str, name: str = "") -> Estimate:
    mean, low, high = (summary[f"{key}{end}"] for end in ("", "_ci_low", "_ci_high"))
    score = key.partition("/")[2]
    return Estimate(name, number(mean, score), interval(mean, low, high, score))


def interval(mean: Value, low: Value, high: Value, name: str = "") -> str:
    """Write the interval of a mean, or why there is none."""
    if mean is None:
        return UNDEFINED
    if low is None:
        return "too few patients"
    return f"{number(low, name)} to {number(high, name)}"


def spread(low: float, high: float, digits: int = 3) -> str:
    """Say in a sentence which 95% interval there is; NaN: none.

    >>> spread(0.25, 0.5)
    '95% interval 0.250 to 0.500'
    >>> spread(math.nan, math.nan)
    'too few for an interval'
    """
    if math.isnan(low):
        return "too few for an interval"
    return f"95% interval {low:.{digits}f} to {high:.{digits}f}"


def _cell(name: str, text: str) -> str:
    if name in WORDS:
        return text
    if not text:
        return UNDEFINED
    if name in Scores.names():
        return number(float(text), name)
    return exact(float(text), 4) if name.endswith("_ml") else text
