"""Parts that several encoder-decoder models share.

Axes: B batch, H height, W width, F filters.
"""

from __future__ import annotations

from dataclasses import dataclass

from keras import KerasTensor, layers


@dataclass(frozen=True)
class ConvSchedule:
    """How the double convolutions of a U-shaped model change with the level.

    Level i has `base_filters * 2**i` filters; its kernel is the base kernel less 2 per level, at
    least 3; its dilation the base dilation less 1 per level, at least 1; its dropout rate i times
    the base rate.
    """

    levels: int
    base_filters: int
    base_kernel: int
    base_dilation: int
    dropout: float
    normalization: str
    activation: str

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the argument."""
        if self.levels < 2:
            raise ValueError(f"levels must be 2 or more. Received: {self.levels}")
        if self.base_kernel % 2 == 0:
            raise ValueError(f"base_kernel must be odd. Received: {self.base_kernel}")
        if not 0 <= self.dropout * (self.levels - 1) < 1:
            raise ValueError(
                f"dropout * (levels - 1) must be at least 0 and less than 1. "
                f"Received: {self.dropout} * {self.levels - 1}"
            )
        if self.normalization not in ("none", "batch"):
            raise ValueError(f"normalization must be none or batch. Received: {self.normalization}")

    def filters(self, level: int) -> int:
        """Return the number of filters at a level."""
        return self.base_filters * 2**level

    def double_conv(self, x_BHWF: KerasTensor, level: int) -> KerasTensor:
        """Apply Conv, (normalization), Dropout, Conv, (normalization) with the level's numbers."""
        x_BHWF = self._conv(x_BHWF, level)
        if self.dropout and level:
            x_BHWF = layers.Dropout(self.dropout * level)(x_BHWF)
        return self._conv(x_BHWF, level)

    def _conv(self, x_BHWF: KerasTensor, level: int) -> KerasTensor:
        x_BHWF = layers.Conv2D(
            self.filters(level),
            max(3, self.base_kernel - 2 * level),
            dilation_rate=max(1, self.base_dilation - level),
            padding="same",
            activation=self.activation,
            kernel_initializer="he_normal",
        )(x_BHWF)
        if self.normalization == "batch":
            x_BHWF = layers.BatchNormalization(momentum=0.9, synchronized=True)(x_BHWF)
        return x_BHWF


def require_multiple(input_shape: tuple[int, int, int], divisor: int, reason: str) -> None:
    """Raise a ValueError unless height and width are multiples of `divisor`."""
    height, width = input_shape[:2]
    if height % divisor or width % divisor:
        nearest = [max(divisor, round(side / divisor) * divisor) for side in (height, width)]
        raise ValueError(
            f"dataset.image_size must be a multiple of {divisor} ({reason}). "
            f"Received: {height}x{width}; take dataset.image_size=[{nearest[0]},{nearest[1]}]"
        )


def logits(x_BHWF: KerasTensor, classes: int) -> KerasTensor:
    """Close a model with a 1x1 convolution in float32, whatever the precision of the rest."""
    return layers.Conv2D(classes, 1, dtype="float32", name="logits")(x_BHWF)
