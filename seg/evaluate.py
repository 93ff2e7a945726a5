"""Scores per case, and what they say together."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from seg.contracts import Prediction, Scores
from seg.metrics import cases
from seg.metrics.packed import Packed
from seg.metrics.paired import interval

STRATA, FEWEST_TARGETS = ("small", "medium", "large"), 6
STRATA_COLUMNS = (
    *("stratum", "unit", "smallest", "largest", "patients", "cases"),
    *("score", "mean", "sd", "median", "ci_low", "ci_high"),
)
Row = dict[str, float | int | str]


def score_cases(
    predictions: Iterable[Prediction],
    names: Sequence[str] = (),
    tolerance_mm: float = 2.0,
    lesions: bool = False,
) -> list[Row]:
    """Put the slices of each case together and score them as one volume.

    Args:
        predictions: of cases in any order, the slices of each in that of the body.
        names: of the classes from index 1 on; none where there is one class without a name.
        tolerance_mm: up to which surfaces agree, for surface_dice.
        lesions: whether lesions are counted.

    Returns:
        A row per case: case, patient, slices, truth_px, predicted_px, truth_ml (NaN where the
        spacing is unknown), and the scores (NaN where undefined, see `seg.metrics.cases`; those
        that need a volume also where the slices differ in size). With names a row per case and
        class, each class against all other pixels, with the column class after patient.
    """
    packed: dict[tuple[str, str, str], Packed] = {}
    for prediction in predictions:
        case = prediction.case
        for index, name in enumerate(names or ("",), start=1):
            pair = packed.setdefault((case.name, case.patient, name), Packed(case.spacing_mm))
            pair.add(prediction.truth_HW == index, prediction.mask_HW == index)
    return [
        {
            "case": case,
            "patient": patient,
            **({"class": name} if name else {}),
            **_scored(pair, tolerance_mm, lesions),
        }
        for (case, patient, name), pair in packed.items()
    ]


def _scored(pair: Packed, tolerance_mm: float, lesions: bool) -> Row:
    counts, volumes = pair.counts, pair.volumes()
    found = (
        cases.of_volume(*volumes, pair.spacing_mm, tolerance_mm, lesions)
        if volumes
        else cases.of_counts(counts)
    )
    truth_px = counts.tp + counts.fn
    return {
        "slices": len(pair.sizes),
        "truth_px": truth_px,
        "predicted_px": counts.tp + counts.fp,
        "truth_ml": truth_px * math.prod(pair.spacing_mm) / 1000 if pair.spacing_mm else math.nan,
        **found.as_dict(),
    }


def write_rows(rows: list[Row], path: Path) -> None:
    """Write the rows of `score_cases` as CSV; an undefined score is an empty cell."""
    pd.DataFrame(rows).to_csv(path, index=False)


def write_table(rows: list[Row], path: Path) -> Path:
    """Write the rows of `score_cases` as the JSON that MLflow shows as a table; return the path."""
    pd.DataFrame(rows).to_json(path, orient="split", index=False)
    return path


def examples(rows: list[Row]) -> dict[str, list[tuple[str, str, float]]]:
    """Choose the cases with the highest, the middle and the lowest Dice, none twice.

    Dice of a case is the mean over its classes in which it is defined; a case without any is left
    out. Of fewer than eight cases each group has a third; one left over is among the worst, a
    second among the best, so that a single case is "worst": the one to look at.

    Returns:
        (case, patient, Dice) of up to 3 "best", 2 "median", those nearest the middle of the ranks,
        and 3 "worst", from the highest Dice down; a group without any case is not there.
    """
    defined: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row["dice"]):
            defined[row["case"], row["patient"]].append(row["dice"])
    ranked = sorted(
        ((*case, float(np.mean(values))) for case, values in defined.items()),
        key=lambda case: -case[-1],
    )
    n = len(ranked)
    best, median, worst = min(3, (n + 1) // 3), min(2, n // 3), min(3, (n + 2) // 3)
    first = min(n - worst - median, (n - median + 1) // 2)
    groups = {
        "best": ranked[:best],
        "median": ranked[first : first + median],
        "worst": ranked[n - worst :],
    }
    return {title: cases for title, cases in groups.items() if cases}


def summarize(rows: list[Row], side: str) -> dict[str, float]:
    """Describe the scores over patients, whose cases, and their classes, are averaged first.

    Cases of one person resemble each other: counted singly they would make the spread look small
    and the interval narrow. Patients are what is resampled, in a cluster bootstrap (Field and Welsh
    2007, J. R. Statist. Soc. B 69, 369-390).

    Returns:
        For each score NAME over the patients with a case in which it is defined: SIDE/NAME (mean),
        _sd (n - 1), _median, _ci_low and _ci_high (95% percentile bootstrap interval of the mean;
        NaN below two patients), and _undefined (how many rows it is not defined in);
        SIDE/dice_CLASS with its interval for each class that has a name; and the number of
        patients, of cases, of cases without any target, and of those in which something was
        predicted (false alarms).
    """
    summary: dict[str, float] = {}
    for name in Scores.names():
        found = _described(rows, name)
        summary[f"{side}/{name}"] = found.pop("mean")
        summary |= {f"{side}/{name}_{what}": value for what, value in found.items()}
        summary[f"{side}/{name}_undefined"] = sum(math.isnan(row[name]) for row in rows)
    for name, of_class in _by_class(rows).items():
        if name:
            found = _described(of_class, "dice")
            summary[f"{side}/dice_{name}"] = found["mean"]
            summary |= {f"{side}/dice_{name}_{end}": found[end] for end in ("ci_low", "ci_high")}
    return summary | _counts(rows, side)


def strata(rows: list[Row]) -> pd.DataFrame:
    """Describe the scores of small, medium and large targets apart, as `summarize` does of all.

    A third of the cases with target each; of equally large ones, that with the lower name counts
    as smaller. A mean over all hides that small targets are harder.

    Returns:
        A row per stratum and score: stratum; unit, smallest and largest of its targets (ml; px
        where the spacing of a case is unknown); patients, cases; score, its name; mean, sd, median,
        ci_low and ci_high over patients. With names of classes all that for each, in the column
        class before; none of one with a target in fewer than 6 cases.
    """
    known = all(not math.isnan(row["truth_ml"]) for row in rows if row["truth_px"])
    column = "truth_ml" if known else "truth_px"
    table = pd.DataFrame(
        [
            ({"class": name} if name else {}) | row
            for name, of_class in _by_class(rows).items()
            for row in _strata(of_class, column)
        ]
    )
    return table if len(table) else pd.DataFrame(columns=STRATA_COLUMNS)


def _strata(rows: list[Row], column: str) -> Iterator[Row]:
    """Return what `strata` says of one class."""
    targets = sorted(
        (row for row in rows if row["truth_px"]),
        key=lambda row: (row[column], row["case"], row["patient"]),
    )
    n = len(targets) if len(targets) >= FEWEST_TARGETS else 0
    for k, stratum in enumerate(STRATA if n else ()):
        part = targets[n * k // 3 : n * (k + 1) // 3]
        about = {
            "stratum": stratum,
            "unit": column.removeprefix("truth_"),
            "smallest": part[0][column],
            "largest": part[-1][column],
            "patients": len({row["patient"] for row in part}),
            "cases": len(part),
        }
        yield from (about | {"score": name} | _described(part, name) for name in Scores.names())


def _by_class(rows: list[Row]) -> dict[str, list[Row]]:
    """Sort rows by class; the one without a name is called ""."""
    classes: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row.get("class", "")].append(row)
    return classes


def _described(rows: list[Row], name: str) -> dict[str, float]:
    """Return mean, sd, median, ci_low and ci_high of a score over patients; NaN of too few."""
    values = _per_patient(rows, name)
    low, high = interval(values)
    return {
        "mean": float(np.mean(values)) if len(values) else math.nan,
        "sd": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        "median": float(np.median(values)) if len(values) else math.nan,
        "ci_low": low,
        "ci_high": high,
    }


def _counts(rows: list[Row], side: str) -> dict[str, float]:
    """Count patients and cases, whose rows, one for each class, are added up."""
    truth_px: Counter[tuple[str, str]] = Counter()
    predicted_px: Counter[tuple[str, str]] = Counter()
    for row in rows:
        case = row["case"], row["patient"]
        truth_px[case] += row["truth_px"]
        predicted_px[case] += row["predicted_px"]
    empty = [case for case, n in truth_px.items() if n == 0]
    return {
        f"{side}/patients": len({row["patient"] for row in rows}),
        f"{side}/cases": len(truth_px),
        f"{side}/cases_without_target": len(empty),
        f"{side}/false_alarms": sum(predicted_px[case] > 0 for case in empty),
    }


def _per_patient(rows: list[Row], name: str) -> np.ndarray:
    """Average a score over the cases of each patient in which it is defined; skip who has none."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row[name]):
            values[row["patient"]].append(row[name])
    return np.array([np.mean(of_patient) for of_patient in values.values()], float)
