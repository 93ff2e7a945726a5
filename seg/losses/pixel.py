"""Losses that are a mean over pixels."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from seg.losses.base import SegmentationLoss


@keras.saving.register_keras_serializable(package="seg")
class BinaryCrossentropy(SegmentationLoss):
    """-(t log p + (1 - t) log(1 - p)), mean over pixels."""

    def of(self, truth: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """Return (B,) of float32 >= 0."""
        return ops.mean(ops.softplus(logits) - truth * logits, axis=(1, 2, 3))
