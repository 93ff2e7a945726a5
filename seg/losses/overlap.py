"""Losses of overlap between the mask t and the probabilities p, both summed over pixels.

Of several classes, the mean over those that are not background, each against all others.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from seg.losses.base import SegmentationLoss, mean_over_classes


class _Overlap(SegmentationLoss):
    """Smoothed in numerator and denominator, so that empty masks are rewarded and have a gradient.

    Args:
        name: shown in logs.
        reduction: as of `SegmentationLoss`.
        smooth: added above and below, in pixels.
    """

    def __init__(self, name: str, reduction: str = "sample", smooth: float = 1.0) -> None:
        super().__init__(name=name, reduction=reduction)
        self.smooth = smooth

    def of(self, truth: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """Return (B,) of float32 over 0..1."""
        return mean_over_classes(self._of_class, truth, logits)

    def _of_class(self, t: KerasTensor, p: KerasTensor) -> KerasTensor:
        shared, true, predicted = (ops.sum(x, axis=(1, 2, 3)) for x in (t * p, t, p))
        return 1 - self.ratio(shared, true, predicted)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return super().get_config() | {"smooth": self.smooth}


@keras.saving.register_keras_serializable(package="seg")
class Dice(_Overlap):
    """1 - (2 sum(tp) + s) / (sum(t) + sum(p) + s) (Milletari et al. 2016, arXiv 1606.04797)."""

    def ratio(self, shared: KerasTensor, true: KerasTensor, predicted: KerasTensor) -> KerasTensor:
        """Return the soft Dice coefficient of three sums."""
        return (2 * shared + self.smooth) / (true + predicted + self.smooth)


@keras.saving.register_keras_serializable(package="seg")
class IoU(_Overlap):
    """1 - (sum(tp) + s) / (sum(t + p - tp) + s) (Rahman and Wang 2016)."""

    def ratio(self, shared: KerasTensor, true: KerasTensor, predicted: KerasTensor) -> KerasTensor:
        """Return the soft Jaccard index of three sums."""
        return (shared + self.smooth) / (true + predicted - shared + self.smooth)
