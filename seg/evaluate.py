"""Scores per case, and what they say together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from seg.contracts import Prediction, Scores
from seg.metrics.cases import Confusion, confusion, scores

Row = dict[str, float | int | str]


def score_cases(predictions: Iterable[Prediction]) -> list[Row]:
    """Pool the slices of each patient and score them.

    Returns:
        A row per case: case, slices, truth_px, predicted_px, and the scores (NaN where undefined,
        see `seg.metrics.cases`).
    """
    counts: dict[str, Confusion] = defaultdict(Confusion)
    slices: dict[str, int] = defaultdict(int)
    for prediction in predictions:
        counts[prediction.patient] += confusion(prediction.truth_HW, prediction.mask_HW)
        slices[prediction.patient] += 1
    return [
        {
            "case": patient,
            "slices": slices[patient],
            "truth_px": pooled.tp + pooled.fn,
            "predicted_px": pooled.tp + pooled.fp,
            **scores(pooled).as_dict(),
        }
        for patient, pooled in counts.items()
    ]


def write_rows(rows: list[Row], path: Path) -> None:
    """Write a row per case as CSV; an undefined score is an empty cell."""
    pd.DataFrame(rows).to_csv(path, index=False)


def summarize(rows: list[Row], side: str) -> dict[str, float]:
    """Describe the scores over cases.

    Returns:
        For each score NAME over the cases in which it is defined: SIDE/NAME (mean), _sd (n - 1),
        _ci_low and _ci_high (95% percentile bootstrap interval of the mean; NaN below two cases);
        for Dice also _median and _undefined (how many cases it is not defined in); and the number
        of cases, of cases without target, and of those in which something was predicted (false
        alarms).
    """
    summary: dict[str, float] = {}
    for name in Scores.names():
        values = np.array([row[name] for row in rows], float)
        defined = values[~np.isnan(values)]
        low, high = interval(defined)
        summary |= {
            f"{side}/{name}": float(np.mean(defined)) if len(defined) else np.nan,
            f"{side}/{name}_sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else np.nan,
            f"{side}/{name}_ci_low": low,
            f"{side}/{name}_ci_high": high,
        }
        if name == "dice":
            summary[f"{side}/dice_median"] = float(np.median(defined)) if len(defined) else np.nan
            summary[f"{side}/dice_undefined"] = len(values) - len(defined)
    empty = [row for row in rows if row["truth_px"] == 0]
    return summary | {
        f"{side}/cases": len(rows),
        f"{side}/cases_without_target": len(empty),
        f"{side}/false_alarms": sum(row["predicted_px"] > 0 for row in empty),
    }


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
