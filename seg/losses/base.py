"""What all losses share: float32, logits in, a value per sample or per batch.

Axes: B batch, H height, W width.
"""

from __future__ import annotations

import keras
from keras import KerasTensor, ops


class SegmentationLoss(keras.losses.Loss):
    """Loss of a binary mask, averaged over samples.

    Keras' own Dice reduces over the whole batch, so that its value depends on batch size and
    replica count. Here that is a choice.

    Args:
        name: shown in logs.
        reduction: "sample" computes one value per sample; "batch" one over all pixels of the batch
            (of a replica), as the experiments of antillia.com do.

    Subclasses implement `of(truth, logits)`: float32 BHW1, mask of 0 and 1 and logits, to (B,).
    """

    def __init__(self, name: str, reduction: str = "sample") -> None:
        """Refuse an unknown reduction."""
        if reduction not in ("sample", "batch"):
            raise ValueError(f"loss.reduction must be sample or batch. Received: {reduction}")
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.per = reduction

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return (B,), or (1,) per batch."""
        if self.per == "batch":
            width = y_pred.shape[2]
            y_true = ops.reshape(y_true, (1, -1, width, 1))
            y_pred = ops.reshape(y_pred, (1, -1, width, 1))
        return self.of(y_true, y_pred)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name, "reduction": self.per}
