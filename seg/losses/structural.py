"""Losses of local structure."""

from __future__ import annotations

import keras
from keras import KerasTensor, ops

from seg.losses.base import SegmentationLoss, mean_over_classes

K1, K2 = 0.01, 0.03


@keras.saving.register_keras_serializable(package="seg")
class SSIM(SegmentationLoss):
    """1 - SSIM of mask and probabilities, mean over all windows inside the picture.

    Structural similarity after Wang et al. 2004 (doi 10.1109/TIP.2003.819861) for a range of 1. Of
    several classes, the mean over those that are not background.

    Args:
        name: shown in logs.
        reduction: "sample" or "batch"; both are the mean over windows, which never cross samples.
        window: odd side of the Gaussian window in pixels, at most the picture's side.
        sigma: of the Gaussian, in pixels.
    """

    def __init__(
        self, name: str, reduction: str = "sample", window: int = 11, sigma: float = 1.5
    ) -> None:
        """Keep the window's size."""
        super().__init__(name=name, reduction=reduction)
        self.window, self.sigma = window, sigma

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        """Return (B,): a batch is never flattened into one picture."""
        return self.of(y_true, y_pred)

    def of(self, truth: KerasTensor, logits: KerasTensor) -> KerasTensor:
        """Return (B,) of float32 over 0..2."""
        if min(logits.shape[1:3]) < self.window:
            raise ValueError(
                f"loss {self.name}: window must fit into the picture. Received: "
                f"{self.window} for {logits.shape[1]}x{logits.shape[2]}"
            )
        return mean_over_classes(self._of_class, truth, logits)

    def _of_class(self, t: KerasTensor, p: KerasTensor) -> KerasTensor:
        mean_t, mean_p = self._blur(t), self._blur(p)
        var_t = self._blur(t * t) - mean_t * mean_t
        var_p = self._blur(p * p) - mean_p * mean_p
        cov = self._blur(t * p) - mean_t * mean_p
        ssim = ((2 * mean_t * mean_p + K1**2) * (2 * cov + K2**2)) / (
            (mean_t * mean_t + mean_p * mean_p + K1**2) * (var_t + var_p + K2**2)
        )
        return 1 - ops.mean(ssim, axis=(1, 2, 3))

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return super().get_config() | {"window": self.window, "sigma": self.sigma}

    def _blur(self, x_BHW1: KerasTensor) -> KerasTensor:
        """Average under the Gaussian, one axis after the other, where it fits entirely."""
        offsets = ops.arange(self.window, dtype="float32") - (self.window - 1) / 2
        weights = ops.exp(-(offsets**2) / (2 * self.sigma**2))
        weights = weights / ops.sum(weights)
        x_BHW1 = ops.conv(x_BHW1, ops.reshape(weights, (-1, 1, 1, 1)), padding="valid")
        return ops.conv(x_BHW1, ops.reshape(weights, (1, -1, 1, 1)), padding="valid")
