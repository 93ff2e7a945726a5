"""Paired comparison of runs on one score: the same patients, scored by each.

The patient is the unit: a score is averaged over a patient's cases and classes first, as in
`seg.evaluate`, because cases of one person resemble each other. Of the differences, B minus A:

    interval  95% percentile bootstrap of the mean, over patients; Efron and Tibshirani 1993
    p         signed-rank test, two-sided; Wilcoxon 1945, doi 10.2307/3001968
    p_holm    the same, for the number of pairs of runs; Holm 1979, Scand. J. Statist. 6, 65-70

A case is paired where the score is defined in both runs. One that is undefined in a single run (a
false alarm against nothing predicted, where there is no target) has no difference; it is counted.

Axes of the tables: a row per case (and class), whose index has the level "patient"; a column per
run. The order of the rows changes nothing but the draws of the bootstrap.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

DIGITS = 12  # 0.3 - 0.2 and 0.2 - 0.1 are the same difference


def per_patient(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over each patient's rows in which the score is defined in every column.

    Returns:
        A row per patient who has such a row, in the order met, and the columns of `scores`.
    """
    return scores.dropna().groupby(level="patient", sort=False).mean()


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% percentile bootstrap interval of the mean (Efron and Tibshirani 1993).

    Of a 1D array; 9999 resamples from a fixed seed: the same values give the same interval. NaN
    twice below two values.
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


def signed_rank_p(differences: np.ndarray) -> float:
    """Test whether the differences, a 1D array, lie symmetrically about zero.

    Differences of zero are left out, as Wilcoxon does; where all are zero p is 1. Exact up to 50
    others without ties and up to 13 with ties, else by the normal distribution.

    Returns:
        The two-sided p over 0..1; NaN for fewer than two differences.

    >>> signed_rank_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    0.0625
    """
    if len(differences) < 2:
        return float("nan")
    # Left out here: SciPy would take the normal distribution for few others among many zeros.
    moved = differences[differences != 0]
    return float(stats.wilcoxon(moved).pvalue) if len(moved) else 1.0


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values for their number; an undefined one, NaN, stays so and is not counted.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.06,  nan, 0.06])
    """
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]
    corrected = np.full(len(p), np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def differences(scores: pd.DataFrame) -> dict[str, float]:
    """Compare two columns, A and B; whether more is better depends on the score.

    Returns:
        patients (paired), mean_difference (B minus A; NaN without a patient), ci_low, ci_high, p;
        b_higher, equal and b_lower, in patients; defined_in_a_only and defined_in_b_only, in rows.
    """
    of_a, of_b = per_patient(scores).to_numpy().T
    moved = (of_b - of_a).round(DIGITS)
    low, high = interval(moved)
    defined = scores.notna().to_numpy()
    return {
        "patients": len(moved),
        "mean_difference": float(np.mean(moved)) if len(moved) else float("nan"),
        "ci_low": low,
        "ci_high": high,
        "p": signed_rank_p(moved),
        "b_higher": int(np.sum(moved > 0)),
        "equal": int(np.sum(moved == 0)),
        "b_lower": int(np.sum(moved < 0)),
        "defined_in_a_only": int(np.sum(defined[:, 0] & ~defined[:, 1])),
        "defined_in_b_only": int(np.sum(defined[:, 1] & ~defined[:, 0])),
    }


def pairs(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare each column with each to its right.

    Returns:
        A row per pair: a and b, the names of the columns; what `differences` returns; and p_holm
        after p, corrected over all rows.
    """
    table = pd.DataFrame(
        {"a": a, "b": b, **differences(scores[[a, b]])} for a, b in combinations(scores.columns, 2)
    )
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"].to_numpy()))
    return table
