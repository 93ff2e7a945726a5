"""Scores per case, and what they say together."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from seg.contracts import Prediction, Scores
from seg.metrics.cases import Confusion, confusion, scores
from seg.metrics.paired import interval

Row = dict[str, float | int | str]


def score_cases(predictions: Iterable[Prediction], names: Sequence[str] = ()) -> list[Row]:
    """Pool the slices of each case and score them.

    Args:
        predictions: of cases in any order.
        names: of the classes from index 1 on; none where there is one class without a name.

    Returns:
        A row per case: case, patient, slices, truth_px, predicted_px, and the scores (NaN where
        undefined, see `seg.metrics.cases`). With names a row per case and class, each class
        against all other pixels, with the column class after patient.
    """
    counts: dict[tuple[str, str, str], Confusion] = defaultdict(Confusion)
    slices: Counter[tuple[str, str]] = Counter()
    for prediction in predictions:
        case = prediction.case.name, prediction.case.patient
        slices[case] += 1
        for index, name in enumerate(names or ("",), start=1):
            truth_HW, mask_HW = prediction.truth_HW == index, prediction.mask_HW == index
            counts[*case, name] += confusion(truth_HW, mask_HW)
    return [
        {
            "case": case,
            "patient": patient,
            **({"class": name} if name else {}),
            "slices": slices[case, patient],
            "truth_px": pooled.tp + pooled.fn,
            "predicted_px": pooled.tp + pooled.fp,
            **scores(pooled).as_dict(),
        }
        for (case, patient, name), pooled in counts.items()
    ]


def write_rows(rows: list[Row], path: Path) -> None:
    """Write the rows of `score_cases` as CSV; an undefined score is an empty cell."""
    pd.DataFrame(rows).to_csv(path, index=False)


def write_table(rows: list[Row], path: Path) -> Path:
    """Write the rows of `score_cases` as the JSON that MLflow shows as a table; return the path."""
    pd.DataFrame(rows).to_json(path, orient="split", index=False)
    return path


def extremes(rows: list[Row], most: int = 4) -> dict[str, list[tuple[str, str, float]]]:
    """Choose the cases with the lowest and with the highest Dice, none twice.

    Dice of a case is the mean over its classes in which it is defined; a case without any is left
    out. Of fewer than two times `most` cases the lower half, or one more, is the worst.

    Returns:
        (case, patient, Dice) of up to `most` cases each: "worst", the lowest first, and "best",
        the highest first; a group without any case is not there.
    """
    defined: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row["dice"]):
            defined[row["case"], row["patient"]].append(row["dice"])
    ranked = sorted(
        ((*case, float(np.mean(values))) for case, values in defined.items()),
        key=lambda case: case[-1],
    )
    half = math.ceil(len(ranked) / 2)
    groups = {"worst": ranked[: min(most, half)], "best": ranked[half:][::-1][:most]}
    return {title: cases for title, cases in groups.items() if cases}


def summarize(rows: list[Row], side: str) -> dict[str, float]:
    """Describe the scores over patients, whose cases, and their classes, are averaged first.

    Cases of one person resemble each other: counted singly they would make the spread look small
    and the interval narrow. Patients are what is resampled, in a cluster bootstrap (Field and Welsh
    2007, J. R. Statist. Soc. B 69, 369-390).

    Returns:
        For each score NAME over the patients with a case in which it is defined: SIDE/NAME (mean),
        _sd (n - 1), _ci_low and _ci_high (95% percentile bootstrap interval of the mean; NaN below
        two patients); for Dice also _median and _undefined (how many rows it is not defined in);
        SIDE/dice_CLASS with its interval for each class that has a name; and the number of
        patients, of cases, of cases without any target, and of those in which something was
        predicted (false alarms).
    """
    summary: dict[str, float] = {}
    for name in Scores.names():
        values = _per_patient(rows, name)
        low, high = interval(values)
        summary |= {
            f"{side}/{name}": float(np.mean(values)) if len(values) else np.nan,
            f"{side}/{name}_sd": float(np.std(values, ddof=1)) if len(values) > 1 else np.nan,
            f"{side}/{name}_ci_low": low,
            f"{side}/{name}_ci_high": high,
        }
        if name == "dice":
            summary[f"{side}/dice_median"] = float(np.median(values)) if len(values) else np.nan
            summary[f"{side}/dice_undefined"] = sum(math.isnan(row["dice"]) for row in rows)
    for name in dict.fromkeys(row["class"] for row in rows if "class" in row):
        values = _per_patient([row for row in rows if row["class"] == name], "dice")
        low, high = interval(values)
        summary |= {
            f"{side}/dice_{name}": float(np.mean(values)) if len(values) else np.nan,
            f"{side}/dice_{name}_ci_low": low,
            f"{side}/dice_{name}_ci_high": high,
        }
    return summary | _counts(rows, side)


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
