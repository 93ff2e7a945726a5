"""Losses that are a mean over pixels."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from seg.losses.base import SegmentationLoss


@keras.saving.register_keras_serializable(package="seg")
class BinaryCrossentropy(SegmentationLoss):
    """-(t log p + (1 - t) log(1 - p)), mean over pixels; of several classes -log p of the true one.

    The latter, categorical cross-entropy, is the former where there are two.
    """

    def of(self, truth: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """Return (B,) of float32 >= 0."""
        n = logits.shape[-1]
        if n > 1:
            is_class_BHWN = ops.one_hot(ops.cast(truth[..., 0], "int32"), n)
            log_p_BHWN = ops.log_softmax(logits, axis=-1)
            return -ops.mean(ops.sum(is_class_BHWN * log_p_BHWN, axis=-1), axis=(1, 2))
        return ops.mean(ops.softplus(logits) - truth * logits, axis=(1, 2, 3))
