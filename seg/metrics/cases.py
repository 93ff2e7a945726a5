"""Scores of one case: all slices of a patient pooled, truth against thresholded prediction.

With TP, FP, FN, TN the counted pixels:

    Dice         2 TP / (2 TP + FP + FN)      Dice 1945, doi 10.2307/1932409
    IoU          TP / (TP + FP + FN)          Jaccard 1912, doi 10.1111/j.1469-8137.1912.tb05611.x
    sensitivity  TP / (TP + FN)
    specificity  TN / (TN + FP)
    precision    TP / (TP + FP)

What a case without target scores: the formulas decide, and 0/0 is undefined, NaN. So a case with
neither target nor prediction has NaN for Dice, IoU, sensitivity and precision; a false alarm in a
case without target has Dice, IoU and precision 0 and sensitivity NaN. Metrics Reloaded
(Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z) calls these values undefined for empty
references and asks for them to be reported apart: means are taken over the defined cases, and
`seg.evaluate.summarize` counts the cases without target and the false alarms among them.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np

from seg.contracts import Scores


@dataclass(frozen=True)
class Confusion:
    """Pixel counts; the counts of a case are the sum over its slices."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def __add__(self, other: Confusion) -> Confusion:
        """Pool two counts."""
        return Confusion(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def confusion(truth: np.ndarray, predicted: np.ndarray) -> Confusion:
    """Count the pixels of two bool arrays of one shape."""
    tp = int(np.count_nonzero(truth & predicted))
    n_true, n_predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(predicted))
    return Confusion(
        tp=tp,
        fp=n_predicted - tp,
        fn=n_true - tp,
        tn=truth.size - n_true - n_predicted + tp,
    )


def scores(counts: Confusion) -> Scores:
    """Return the scores of a case, NaN where undefined.

    >>> scores(Confusion(tp=1, fp=1, fn=0, tn=2)).dice
    0.6666666666666666
    >>> scores(Confusion(tn=4)).dice
    nan
    """
    tp, fp, fn, tn = astuple(counts)
    return Scores(
        dice=_ratio(2 * tp, 2 * tp + fp + fn),
        iou=_ratio(tp, tp + fp + fn),
        sensitivity=_ratio(tp, tp + fn),
        specificity=_ratio(tn, tn + fp),
        precision=_ratio(tp, tp + fp),
    )


def _ratio(above: int, below: int) -> float:
    return above / below if below else float("nan")
