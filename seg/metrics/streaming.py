"""Metrics drawn as curves during training: they watch, they are not the reported scores.

All take a mask BHW1 and logits. One logit per pixel: the mask is of 0 and 1, a pixel is found where
sigmoid(logit) >= 0.5. N logits: the mask holds the index of each pixel's class, 0 the background,
and a pixel is given the class with the largest logit.
Axes: B batch, H height, W width, N classes.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable(package="seg")
class DiceCoef(keras.metrics.Mean):
    """Soft Dice of each batch as a whole, mean over batches: it depends on the batch size.

    (2 sum(tp) + s) / (sum(t) + sum(p) + s), t the mask, p the probability; of several classes, the
    mean over those that are not background.

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
        t, z = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        n = z.shape[-1]
        if n == 1:
            value = self._soft_dice(t, ops.sigmoid(z))
        else:
            p = ops.softmax(z, axis=-1)
            of_class = [
                self._soft_dice(ops.cast(ops.equal(t, c), "float32"), p[..., c : c + 1])
                for c in range(1, n)
            ]
            value = sum(of_class) / len(of_class)
        super().update_state(value)

    def _soft_dice(self, t: KerasTensor, p: KerasTensor) -> KerasTensor:
        return (2 * ops.sum(t * p) + self.smooth) / (ops.sum(t) + ops.sum(p) + self.smooth)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name, "smooth": self.smooth}


class _Pooled(keras.metrics.Metric):
    """A ratio of the confusion counts of all pixels since the last reset.

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
        if y_pred.shape[-1] == 1:
            above, below = self.counted(y_true > 0.5, y_pred >= 0)
        else:
            chosen = ops.argmax(y_pred, axis=-1, keepdims=True)
            above, below = self.counted(ops.cast(y_true, "int32"), chosen)
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
    """(TP + TN) / all; of several classes, the share of pixels that are given their own."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        return truth == predicted, ops.ones_like(truth)


@keras.saving.register_keras_serializable(package="seg")
class PooledSensitivity(_Pooled):
    """TP / (TP + FN) of foreground against background: any class is as good as the right one."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        target = ops.cast(truth, "bool")
        return ops.logical_and(target, predicted), target


@keras.saving.register_keras_serializable(package="seg")
class PooledSpecificity(_Pooled):
    """TN / (TN + FP) of foreground against background: any class is as good as the right one."""

    def counted(self, truth: KerasTensor, predicted: KerasTensor) -> tuple:
        """Return what is counted above and below the fraction bar."""
        empty = ops.logical_not(truth)
        return ops.logical_and(empty, ops.logical_not(predicted)), empty
