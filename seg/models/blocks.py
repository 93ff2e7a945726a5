"""Parts that several encoder-decoder models share.

Axes: B batch, H height, W width, F filters, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keras import KerasTensor, layers

NORMALIZATIONS = ("none", "batch", "instance", "group")
UPSAMPLINGS = ("transposed", "bilinear")
GROUPS = 8
# Of the running statistics: Keras' own 0.99 takes hundreds of steps before validation can use them.
MOMENTUM = 0.9


def conv(
    x_BHWC: KerasTensor,
    filters: int,
    kernel: int = 3,
    *,
    strides: int = 1,
    dilation: int = 1,
    normalization: str = "batch",
    scale: bool = True,
    activation: str | None = "relu",
) -> KerasTensor:
    """Convolve, normalize, activate: (B, H, W, C) to (B, H/strides, W/strides, filters).

    A bias is left out where the normalization would take it away again; `scale` says whether that
    has a factor for each filter.
    """
    x_BHWF = layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        dilation_rate=dilation,
        padding="same",
        use_bias=normalization == "none",
        kernel_initializer="he_normal",
    )(x_BHWC)
    x_BHWF = normalized(x_BHWF, normalization, scale)
    return layers.Activation(activation)(x_BHWF) if activation else x_BHWF


def normalized(x_BHWF: KerasTensor, normalization: str, scale: bool = True) -> KerasTensor:
    """Normalize over the batch (synchronized between replicas), each channel, or 8 groups of them.

    Sources: Ioffe and Szegedy 2015, arXiv 1502.03167; Ulyanov et al. 2016, arXiv 1607.08022;
    Wu and He 2018, arXiv 1803.08494.
    """
    require_one_of("normalization", normalization, NORMALIZATIONS)
    if normalization == "batch":
        return layers.BatchNormalization(momentum=MOMENTUM, scale=scale, synchronized=True)(x_BHWF)
    if normalization == "instance":
        return layers.GroupNormalization(groups=-1, scale=scale)(x_BHWF)
    if normalization == "group":
        filters = x_BHWF.shape[-1]
        if filters % GROUPS:
            raise ValueError(
                f"normalization=group needs multiples of {GROUPS} filters. Received: {filters}"
            )
        return layers.GroupNormalization(groups=GROUPS, scale=scale)(x_BHWF)
    return x_BHWF


def upsampled(x_BHWC: KerasTensor, filters: int, upsampling: str, scale: int = 2) -> KerasTensor:
    """Enlarge (B, H, W, C) to (B, scale * H, scale * W, filters).

    "transposed" is a transposed convolution whose strides are its kernel; "bilinear" a 1x1
    convolution, then interpolation, which is the same as interpolation first and less work.
    """
    require_one_of("upsampling", upsampling, UPSAMPLINGS)
    if upsampling == "transposed":
        return layers.Conv2DTranspose(filters, scale, strides=scale)(x_BHWC)
    return enlarged(layers.Conv2D(filters, 1)(x_BHWC), scale)


def enlarged(x_BHWC: KerasTensor, scale: int) -> KerasTensor:
    """Interpolate (B, H, W, C) bilinearly to (B, scale * H, scale * W, C).

    In float32, of which TensorFlow's gradient is under XLA whatever the precision.
    """
    enlarge = layers.UpSampling2D(scale, interpolation="bilinear", dtype="float32")
    return enlarge(x_BHWC) if scale > 1 else x_BHWC


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
    upsampling: str

    def __post_init__(self) -> None:
        """Refuse what cannot be built, naming the argument."""
        require_at_least("levels", self.levels, 2)
        require_at_least("base_filters", self.base_filters, 1)
        require_at_least("base_kernel", self.base_kernel, 1)
        require_at_least("base_dilation", self.base_dilation, 1)
        if self.base_kernel % 2 == 0:
            raise ValueError(f"base_kernel must be odd. Received: {self.base_kernel}")
        if not 0 <= self.dropout * (self.levels - 1) < 1:
            raise ValueError(
                f"dropout * (levels - 1) must be at least 0 and less than 1. "
                f"Received: {self.dropout} * {self.levels - 1}"
            )
        require_one_of("normalization", self.normalization, NORMALIZATIONS)
        require_one_of("upsampling", self.upsampling, UPSAMPLINGS)

    def filters(self, level: int) -> int:
        """Return the number of filters at a level."""
        return self.base_filters * 2**level

    def double_conv(self, x_BHWC: KerasTensor, level: int) -> KerasTensor:
        """Apply Conv, (normalization), Dropout, Conv, (normalization) with the level's numbers."""
        x_BHWF = self._conv(x_BHWC, level)
        if self.dropout and level:
            x_BHWF = layers.Dropout(self.dropout * level)(x_BHWF)
        return self._conv(x_BHWF, level)

    def _conv(self, x_BHWC: KerasTensor, level: int) -> KerasTensor:
        # Activated before it is normalized, as in the experiments that the schedule comes from.
        x_BHWF = layers.Conv2D(
            self.filters(level),
            max(3, self.base_kernel - 2 * level),
            dilation_rate=max(1, self.base_dilation - level),
            padding="same",
            activation=self.activation,
            kernel_initializer="he_normal",
        )(x_BHWC)
        return normalized(x_BHWF, self.normalization)


def u_shape(
    images_BHWC: KerasTensor,
    schedule: ConvSchedule,
    connect: Callable[[KerasTensor, KerasTensor, int], KerasTensor],
) -> KerasTensor:
    """Go down the levels by 2x2 max pooling and up again: images to features (B, H, W, filters(0)).

    Args:
        images_BHWC: H and W multiples of 2**(levels - 1).
        schedule: of the double convolutions on both ways.
        connect: from the skip of a level (B, H, W, F), the features below it (B, H/2, W/2, 2F) and
            the level to what is concatenated with these features, enlarged.
    """
    require_multiple(images_BHWC.shape[1:], 2 ** (schedule.levels - 1), f"{schedule.levels} levels")
    x_BHWF, skips = images_BHWC, []
    for level in range(schedule.levels - 1):
        skips.append(schedule.double_conv(x_BHWF, level))
        x_BHWF = layers.MaxPooling2D(2)(skips[-1])
    x_BHWF = schedule.double_conv(x_BHWF, schedule.levels - 1)
    for level in reversed(range(schedule.levels - 1)):
        connected_BHWF = connect(skips[level], x_BHWF, level)
        x_BHWF = upsampled(x_BHWF, schedule.filters(level), schedule.upsampling)
        x_BHWF = layers.Concatenate()([x_BHWF, connected_BHWF])
        x_BHWF = schedule.double_conv(x_BHWF, level)
    return x_BHWF


def level_filters(
    input_shape: tuple[int | None, int | None, int], levels: int, base_filters: int
) -> list[int]:
    """Return the filters of each level, doubled at each.

    Raises:
        ValueError: there is no level to go down to, or H or W does not halve that often.
    """
    require_at_least("levels", levels, 2)
    require_multiple(input_shape, 2 ** (levels - 1), f"{levels} levels")
    return [base_filters * 2**level for level in range(levels)]


def logits(x_BHWF: KerasTensor, classes: int, name: str = "logits") -> KerasTensor:
    """Close a model with a 1x1 convolution in float32, whatever the precision of the rest."""
    return layers.Conv2D(classes, 1, dtype="float32", name=name)(x_BHWF)


def side_logits(x_BHWF: KerasTensor, classes: int, scale: int, name: str) -> KerasTensor:
    """Convolve (B, H, W, F) 3x3 and enlarge to float32 logits (B, scale*H, scale*W, classes)."""
    x_BHWC = layers.Conv2D(classes, 3, padding="same", dtype="float32", name=name)(x_BHWF)
    return enlarged(x_BHWC, scale)


def require_at_least(argument: str, received: int, least: int) -> None:
    """Raise a ValueError naming the argument where it received less than makes sense."""
    if received < least:
        raise ValueError(f"{argument} must be {least} or more. Received: {received}")


def require_rate(argument: str, received: float) -> None:
    """Raise a ValueError naming the argument unless it received a share of what is dropped."""
    if not 0 <= received < 1:
        raise ValueError(f"{argument} must be at least 0 and less than 1. Received: {received}")


def require_one_of(argument: str, received: str, choices: tuple[str, ...]) -> None:
    """Raise a ValueError naming the argument unless what it received is one of the choices."""
    if received not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(choices)}. Received: {received}")


def require_multiple(
    input_shape: tuple[int | None, int | None, int], divisor: int, reason: str
) -> None:
    """Raise a ValueError unless height and width, where known, are multiples of `divisor`."""
    sides = input_shape[:2]
    if any(side and side % divisor for side in sides):
        nearest = [max(divisor, round((side or 0) / divisor) * divisor) for side in sides]
        raise ValueError(
            f"dataset.image_size must be a multiple of {divisor} ({reason}). "
            f"Received: {sides[0]}x{sides[1]}; take dataset.image_size=[{nearest[0]},{nearest[1]}]"
        )
