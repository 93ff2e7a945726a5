"""What all losses share: float32, logits in, a value per sample or per batch.

One logit per pixel, z, is a mask of 0 and 1 with the probability sigmoid(z); n logits are n classes
with the probabilities softmax(z), the background first, and the mask holds the index of each
pixel's class. Of two classes, softmax(0, z) is sigmoid(z): both ways give the same loss.
Axes: B batch, H height, W width, N classes.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import KerasTensor, ops


class SegmentationLoss(keras.losses.Loss):
    """Loss of a mask, averaged over samples.

    Keras' own Dice reduces over the whole batch, so that its value depends on batch size and
    replica count. Here that is a choice.

    Args:
        name: shown in logs.
        reduction: "sample" computes one value per sample; "batch" one over all pixels of the batch
            (of a replica), as the experiments of antillia.com do.

    Subclasses implement `of(truth, logits)`: float32, mask BHW1 and logits BHWN, to (B,).
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
            y_pred = ops.reshape(y_pred, (1, -1, width, y_pred.shape[-1]))
        return self.of(y_true, y_pred)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {"name": self.name, "reduction": self.per}


def mean_over_classes(
    loss: Callable[[KerasTensor, KerasTensor], KerasTensor],
    truth_BHW1: KerasTensor,
    logits_BHWN: KerasTensor,
) -> KerasTensor:
    """Average a loss of mask and probabilities, BHW1, over the classes but the background."""
    n = logits_BHWN.shape[-1]
    if n == 1:
        return loss(truth_BHW1, ops.sigmoid(logits_BHWN))
    p_BHWN = ops.softmax(logits_BHWN, axis=-1)
    losses = [
        loss(ops.cast(ops.equal(truth_BHW1, c), "float32"), p_BHWN[..., c : c + 1])
        for c in range(1, n)
    ]
    return sum(losses) / len(losses)
