"""Scores per case, and what they say together."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from seg.contracts import Prediction, Scores
from seg.metrics.cases import Confusion, confusion, scores

Row = dict[str, float | int | str]


def score_cases(predictions: Iterable[Prediction]) -> list[Row]:
    """Pool the slices of each case and score them.

    Returns:
        A row per case: case, patient, slices, truth_px, predicted_px, and the scores (NaN where
        undefined, see `seg.metrics.cases`).
    """
    counts: dict[tuple[str, str], Confusion] = defaultdict(Confusion)
    slices: Counter[tuple[str, str]] = Counter()
    for prediction in predictions:
        case = prediction.case.name, prediction.case.patient
        counts[case] += confusion(prediction.truth_HW, prediction.mask_HW)
        slices[case] += 1
    return [
        {
            "case": name,
            "patient": patient,
            "slices": slices[name, patient],
            "truth_px": pooled.tp + pooled.fn,
            "predicted_px": pooled.tp + pooled.fp,
            **scores(pooled).as_dict(),
        }
        for (name, patient), pooled in counts.items()
    ]


def write_rows(rows: list[Row], path: Path) -> None:
    """Write a row per case as CSV; an undefined score is an empty cell."""
    pd.DataFrame(rows).to_csv(path, index=False)


def summarize(rows: list[Row], side: str) -> dict[str, float]:
    """Describe the scores over patients, whose cases are averaged first.

    Cases of one person resemble each other: counted singly they would make the spread look small
    and the interval narrow. Patients are what is resampled, in a cluster bootstrap (Field and Welsh
    2007, J. R. Statist. Soc. B 69, 369-390).

    Returns:
        For each score NAME over the patients with a case in which it is defined: SIDE/NAME (mean),
        _sd (n - 1), _ci_low and _ci_high (95% percentile bootstrap interval of the mean; NaN below
        two patients); for Dice also _median and _undefined (how many cases it is not defined in);
        and the number of patients, of cases, of cases without target, and of those in which
        something was predicted (false alarms).
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
    empty = [row for row in rows if row["truth_px"] == 0]
    return summary | {
        f"{side}/patients": len({row["patient"] for row in rows}),
        f"{side}/cases": len(rows),
        f"{side}/cases_without_target": len(empty),
        f"{side}/false_alarms": sum(row["predicted_px"] > 0 for row in empty),
    }


def _per_patient(rows: list[Row], name: str) -> np.ndarray:
    """Average a score over the cases of each patient in which it is defined; skip who has none."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if not math.isnan(row[name]):
            values[row["patient"]].append(row[name])
    return np.array([np.mean(of_patient) for of_patient in values.values()], float)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean (Efron and Tibshirani 1993).

    9999 resamples from a fixed seed: the same values give the same interval.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.95,
        method="percentile",
        n_resamples=9999,
        batch=1000,
        rng=0,
    ).confidence_interval
    return float(found.low), float(found.high)
