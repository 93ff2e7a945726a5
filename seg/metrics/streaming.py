"""Metrics drawn as curves during training: they watch, they are not the reported scores.

All take a mask of 0 and 1 and logits, any shape with the batch first.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable(package="seg")
class DiceCoef(keras.metrics.Mean):
    """Soft Dice of each batch as a whole, mean over batches: it depends on the batch size.

    (2 sum(tp) + s) / (sum(t) + sum(p) + s), t the mask, p the probability.

    Args:
        name: of the curve.
        smooth: s, in pixels.
    """

    def __init__(self, name: str = "dice_coef", smooth: float = 1.0) -> None:
        """Keep the smoothing."""
        super().__init__(name=name, dtype="float32")
        self.smooth = smooth

    def update_state(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: None = None
    ) -> None:
        """Add one batch."""
        t, p = ops.cast(y_true, "float32"), ops.sigmoid(ops.cast(y_pred, "float32"))
        value = (2 * ops.sum(t * p) + self.smooth) / (ops.sum(t) + ops.sum(p) + self.smooth)
        super().update_state(value)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name, "smooth": self.smooth}


class _Pooled(keras.metrics.Metric):
    """A ratio of the confusion counts of all pixels since the last reset, threshold 0.5.

    Args:
        name: of the curve.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, dtype="float32")
        self.above = self.add_weight(name="above", initializer="zeros")
        self.below = self.add_weight(name="below", initializer="zeros")

    def update_state(
        self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: None = None
    ) -> None:
        """Add one batch."""
        above, below = self.counted(y_true > 0.5, y_pred >= 0)
        self.above.assign_add(_shares(above))
        self.below.assign_add(_shares(below))

    def result(self) -> KerasTensor:
        """Return the ratio, 0 where nothing was counted."""
        return ops.divide_no_nan(self.above, self.below)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name}


def _shares(pixels: KerasTensor) -> KerasTensor:
    """Sum over samples the share of pixels that are True.

    A float32 count of single pixels would stop growing at 2^24.
    """
    return ops.sum(ops.mean(ops.cast(pixels, "float32"), axis=tuple(range(1, len(pixels.shape)))))


@keras.saving.register_keras_serializable(package="seg")
class PooledAccuracy(_Pooled):
    """(TP + TN) / all."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        return truth == predicted, ops.ones_like(truth)


@keras.saving.register_keras_serializable(package="seg")
class PooledSensitivity(_Pooled):
    """TP / (TP + FN)."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        return ops.logical_and(truth, predicted), truth


@keras.saving.register_keras_serializable(package="seg")
class PooledSpecificity(_Pooled):
    """TN / (TN + FP)."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        empty = ops.logical_not(truth)
        return ops.logical_and(empty, ops.logical_not(predicted)), empty
