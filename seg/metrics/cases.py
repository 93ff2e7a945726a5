"""Scores of one case: the truth of all its slices against what was predicted.

With TP, FP, FN, TN the counted pixels:

    Dice               2 TP / (2 TP + FP + FN)   Dice 1945, doi 10.2307/1932409
    IoU                TP / (TP + FP + FN)       Jaccard 1912,
                                                 doi 10.1111/j.1469-8137.1912.tb05611.x
    sensitivity        TP / (TP + FN)
    specificity        TN / (TN + FP)
    precision          TP / (TP + FP)
    volume_difference  (FP - FN) / (TP + FN)     Heimann 2009, doi 10.1109/TMI.2009.2013851

The last one is (predicted - true) / true volume, a signed fraction: 0 is best, below 0 too little
was predicted; -1 for an empty prediction, NaN for an empty truth.

What a case without target scores: the formulas decide, and 0/0 is undefined, NaN. So a case with
neither target nor prediction has NaN for Dice, IoU, sensitivity and precision; a false alarm in a
case without target has Dice, IoU and precision 0 and sensitivity NaN. Metrics Reloaded
(Maier-Hein et al. 2024, doi 10.1038/s41592-023-02151-z) calls these values undefined for empty
references and asks for them to be reported apart: means are taken over the defined cases, and
`seg.evaluate.summarize` counts the cases without target and the false alarms among them.

The other scores need the volume: `seg.metrics.surface`, `seg.metrics.lesions`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np

from seg.contracts import Scores
from seg.metrics import lesions as components
from seg.metrics import surface


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


def of_counts(counts: Confusion) -> Scores:
    """Return the scores that counts make, NaN where undefined and for those that need a volume.

    >>> of_counts(Confusion(tp=1, fp=1, fn=0, tn=2)).dice
    0.6666666666666666
    >>> of_counts(Confusion(tn=4)).dice
    nan
    """
    tp, fp, fn, tn = astuple(counts)
    values = {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou": _ratio(tp, tp + fp + fn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
        "precision": _ratio(tp, tp + fp),
        "volume_difference": _ratio(fp - fn, tp + fn),
    }
    return Scores(**dict.fromkeys(Scores.names(), float("nan")) | values)


def of_volume(
    truth_SHW: np.ndarray,
    mask_SHW: np.ndarray,
    spacing_mm: tuple[float, float, float] | None,
    tolerance_mm: float,
    lesions: bool,
) -> Scores:
    """Return all scores of a case, NaN where undefined.

    Args:
        truth_SHW: bool, slices in order.
        mask_SHW: bool, of the same shape.
        spacing_mm: distance of slices, rows and columns; None: no score of surfaces is defined.
        tolerance_mm: up to which surfaces agree, for surface_dice.
        lesions: whether lesions are counted; False: their scores are NaN.
    """
    return replace(
        of_counts(confusion(truth_SHW, mask_SHW)),
        **surface.scores(truth_SHW, mask_SHW, spacing_mm, tolerance_mm),
        **(components.scores(truth_SHW, mask_SHW) if lesions else {}),
    )


def _ratio(above: int, below: int) -> float:
    return above / below if below else float("nan")
