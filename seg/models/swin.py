"""Swin-Unet: a U-Net whose every stage is self-attention inside windows.

Sources: Cao et al. 2021, arXiv 2105.05537 (the U shape; as in its figure 1, a skip leaves an
encoder stage after its blocks); Liu et al. 2021, arXiv 2103.14030 (the blocks).

Axes in names: B batch, H and W rows and columns of a map, C channels, Y and X rows and columns of
windows, S side of a window, F features of a window, N = Y * X windows, T = S * S tokens of a
window, h heads, D channels of a head, P = 2 * S - 1 offsets between two tokens along one axis.
"""

from collections.abc import Sequence
from functools import partial

import keras
import numpy as np
from keras import KerasTensor, initializers, layers, ops

from seg.models.blocks import require_at_least

_norm = partial(layers.LayerNormalization, epsilon=1e-5)
# Called anew for each weight: one initializer draws the same numbers for every weight of a shape.
_narrow = partial(initializers.TruncatedNormal, stddev=0.02)


def swin(
    input_shape: tuple[int, int, int],
    classes: int = 1,
    patch_size: int = 4,
    embed_dim: int = 96,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    mlp_ratio: float = 4.0,
    dropout: float = 0.0,
    drop_path: float = 0.1,
    name: str = "swin",
) -> keras.Model:
    """Build Swin-Unet: images (B, H, W, C) in 0..1 to float32 logits (B, H, W, classes).

    Args:
        input_shape: height, width, channels; the windows must tile the map of every stage.
        classes: channels of the logits.
        patch_size: side in pixels, at least 2, of the square that becomes one token.
        embed_dim: channels of the first stage; each further stage doubles them.
        depths: blocks per encoder stage, the bottleneck last; the decoder mirrors the others.
        heads: attention heads per stage.
        window: side in tokens of an attention window; a smaller map is one window.
        mlp_ratio: hidden channels of a block's MLP over its channels.
        dropout: rate after the patch embedding, the attention and both MLP layers, in 0..1.
        drop_path: rate of stochastic depth in the deepest block, in 0..1; linear from 0 before it.
        name: of the model.

    Raises:
        ValueError: the windows do not tile every map, or heads do not divide the channels.
    """
    for argument, least, value in (
        ("patch_size", 2, patch_size),
        ("window", 1, window),
        ("the number of depths", 1, len(depths)),
        *(("each of depths", 1, blocks) for blocks in depths),
        *(("each of heads", 1, count) for count in heads),
    ):
        require_at_least(argument, value, least)
    _check_heads(embed_dim, depths, heads)
    _check_size(*input_shape[:2], patch_size, len(depths), window)
    stage = partial(_stage, window=window, mlp_ratio=mlp_ratio, dropout=dropout)
    rates = np.split(np.linspace(0, drop_path, sum(depths)), np.cumsum(depths)[:-1])
    *shallow, bottom = range(len(depths))

    images_BHWC = keras.Input(input_shape, name="images")
    x_BHWC = layers.Conv2D(embed_dim, patch_size, strides=patch_size, name="embed")(images_BHWC)
    x_BHWC = layers.Dropout(dropout)(_norm()(x_BHWC))
    skips = []
    for level in shallow:
        x_BHWC = stage(x_BHWC, heads[level], rates[level], f"encoder{level}")
        skips.append(x_BHWC)
        x_BHWC = _norm()(ops.space_to_depth(x_BHWC, 2))
        x_BHWC = _dense(2 * embed_dim * 2**level, use_bias=False, name=f"merge{level}")(x_BHWC)
    x_BHWC = _norm()(stage(x_BHWC, heads[bottom], rates[bottom], "bottleneck"))
    for level in reversed(shallow):
        x_BHWC = _expand(x_BHWC, 2, embed_dim * 2**level, f"expand{level}")
        x_BHWC = layers.Concatenate()([x_BHWC, skips[level]])
        x_BHWC = _dense(embed_dim * 2**level, name=f"fuse{level}")(x_BHWC)
        x_BHWC = stage(x_BHWC, heads[level], rates[level], f"decoder{level}")
    x_BHWC = _expand(_norm()(x_BHWC), patch_size, embed_dim, "expand_pixels")
    head = layers.Conv2D(classes, 1, use_bias=False, dtype="float32", name="logits")
    return keras.Model(images_BHWC, head(x_BHWC), name=name)


@keras.saving.register_keras_serializable(package="seg")
class WindowAttention(layers.Layer):
    """Attention inside square windows: queries, keys, values (B, H, W, 3C) to (B, H, W, C).

    H and W are multiples of `window`, C of `heads`. With a shift, the windows lie that many tokens
    further down and right, and those that the map's border cuts stay cut. Softmax is in the
    precision of the weights.

    Source: Liu et al. 2021, arXiv 2103.14030, section 3.2 (W-MSA, SW-MSA, relative position bias).
    """

    def __init__(self, heads: int, window: int, shift: int = 0, **kwargs: object) -> None:
        """Take the number of heads, and the windows' side and shift in tokens."""
        super().__init__(**kwargs)
        self.heads, self.window, self.shift = heads, window, shift

    def build(self, input_shape: tuple[int | None, int, int, int]) -> None:
        """Create the position bias, and the constant tables for a map of H rows and W columns."""
        self.offset_TT = _offset_TT(self.window)
        self.allowed_NTT = _allowed_NTT(*input_shape[1:3], self.window, self.shift)
        shape_PPh = (2 * self.window - 1, 2 * self.window - 1, self.heads)
        # Not autocast, since it is added to scores of its own precision.
        self.bias_PPh = self.add_weight(shape_PPh, _narrow(), autocast=False)

    def call(self, qkv_BHWC: KerasTensor, training: bool | None = None) -> KerasTensor:
        """Roll the shifted windows into place, attend in each, roll back."""
        if self.shift:
            qkv_BHWC = _rolled(qkv_BHWC, -self.shift, training)
        qkv_BYXF = ops.space_to_depth(qkv_BHWC, self.window)
        _, rows, columns, features = qkv_BYXF.shape
        head_dim = qkv_BHWC.shape[-1] // (3 * self.heads)
        split = (-1, rows * columns, self.window**2, 3, self.heads, head_dim)
        qkv_3BNhTD = ops.transpose(ops.reshape(qkv_BYXF, split), (3, 0, 1, 4, 2, 5))
        q_BNhTD, k_BNhTD, v_BNhTD = ops.unstack(qkv_3BNhTD, 3)
        x_BNhTD = ops.matmul(self._weights_BNhTT(q_BNhTD, k_BNhTD), v_BNhTD)
        x_BYXF = ops.reshape(ops.swapaxes(x_BNhTD, 2, 3), (-1, rows, columns, features // 3))
        x_BHWC = ops.depth_to_space(x_BYXF, self.window)
        return _rolled(x_BHWC, self.shift, training) if self.shift else x_BHWC

    def _weights_BNhTT(self, q_BNhTD: KerasTensor, k_BNhTD: KerasTensor) -> KerasTensor:
        q_BNhTD *= q_BNhTD.shape[-1] ** -0.5
        scores_BNhTT = ops.matmul(q_BNhTD, ops.swapaxes(k_BNhTD, -1, -2))
        scores_BNhTT = ops.cast(scores_BNhTT, self.variable_dtype)
        # `take` on the weight itself gives a sparse gradient, whose norm is wrong when clipped.
        bias_TTh = ops.take(ops.reshape(self.bias_PPh, (-1, self.heads)), self.offset_TT, axis=0)
        scores_BNhTT += ops.transpose(bias_TTh, (2, 0, 1))
        if self.shift:
            scores_BNhTT = ops.where(self.allowed_NTT[:, None], scores_BNhTT, -1e9)
        return ops.cast(ops.softmax(scores_BNhTT), k_BNhTD.dtype)

    def get_config(self) -> dict[str, object]:
        """Return the arguments of `__init__`."""
        own = {"heads": self.heads, "window": self.window, "shift": self.shift}
        return super().get_config() | own


def _offset_TT(window: int) -> np.ndarray:
    """Rank, in 0..P*P-1, of the offset from one token of a window to another."""
    row_T, column_T = np.divmod(np.arange(window * window), window)
    down_TT, right_TT = row_T[:, None] - row_T, column_T[:, None] - column_T
    return (down_TT + window - 1) * (2 * window - 1) + right_TT + window - 1


def _rolled(x_BHWC: KerasTensor, by: int, training: bool | None) -> KerasTensor:
    """Move rows and columns on by so many tokens, the last ones to the front."""
    if training:
        return ops.roll(x_BHWC, (by, by), axis=(1, 2))
    # The same in operations that TFLite has; a step of training would take a third longer.
    x_BHWC = ops.concatenate([x_BHWC[:, -by:], x_BHWC[:, :-by]], axis=1)
    return ops.concatenate([x_BHWC[:, :, -by:], x_BHWC[:, :, :-by]], axis=2)


def _allowed_NTT(height: int, width: int, window: int, shift: int) -> np.ndarray:
    """Whether two tokens of a rolled window lie on the same side of the map's seams."""
    wrapped_H, wrapped_W = np.arange(height) >= height - shift, np.arange(width) >= width - shift
    side_HW = 2 * wrapped_H[:, None] + wrapped_W
    side_YSXS = side_HW.reshape(height // window, window, width // window, window)
    side_NT = side_YSXS.swapaxes(1, 2).reshape(-1, window * window)
    return side_NT[:, :, None] == side_NT[:, None, :]


def _stage(
    x_BHWC: KerasTensor,
    heads: int,
    rates: np.ndarray,
    name: str,
    window: int,
    mlp_ratio: float,
    dropout: float,
) -> KerasTensor:
    """Stack one block per drop-path rate, the windows of every second one shifted by half."""
    _, height, width, channels = x_BHWC.shape
    side = min(window, height, width)
    half = side // 2 if side < min(height, width) else 0
    for index, rate in enumerate(rates.tolist()):
        attend = WindowAttention(heads, side, half * (index % 2), name=f"{name}_attention{index}")
        x_BHWC = _residual(x_BHWC, [_dense(3 * channels), attend, _dense(channels)], dropout, rate)
        grow = _dense(int(channels * mlp_ratio), activation="gelu", name=f"{name}_mlp{index}")
        x_BHWC = _residual(x_BHWC, [grow, layers.Dropout(dropout), _dense(channels)], dropout, rate)
    return x_BHWC


def _residual(x_BHWC: KerasTensor, branch: list, dropout: float, drop_path: float) -> KerasTensor:
    # One draw per image drops its whole branch: stochastic depth, Huang et al. 2016.
    drops = [layers.Dropout(dropout), layers.Dropout(drop_path, noise_shape=(None, 1, 1, 1))]
    y_BHWC = x_BHWC
    for layer in [_norm(), *branch, *drops]:
        y_BHWC = layer(y_BHWC)
    return layers.Add()([x_BHWC, y_BHWC])


def _expand(x_BHWC: KerasTensor, scale: int, channels: int, name: str) -> KerasTensor:
    """Patch expanding: (B, H, W, any) to (B, scale * H, scale * W, channels)."""
    wide_BHWC = _dense(scale * scale * channels, use_bias=False, name=name)(x_BHWC)
    return _norm()(ops.depth_to_space(wide_BHWC, scale))


def _dense(units: int, **kwargs: object) -> layers.Dense:
    return layers.Dense(units, kernel_initializer=_narrow(), **kwargs)


def _check_heads(embed_dim: int, depths: Sequence[int], heads: Sequence[int]) -> None:
    divides = all(embed_dim * 2**level % count == 0 for level, count in enumerate(heads))
    if len(heads) != len(depths) or not divides:
        raise ValueError(
            "model.heads must have as many numbers as model.depths, number i dividing "
            f"model.embed_dim * 2**i. Received: heads={list(heads)}, depths={list(depths)}, "
            f"embed_dim={embed_dim}; type model.heads={[2**level for level in range(len(depths))]}"
        )


def _check_size(
    height: int | None, width: int | None, patch_size: int, stages: int, window: int
) -> None:
    if height is None or width is None:
        raise ValueError(
            "dataset.image_size must be fixed, since windows tile it. "
            f"Received: {height}x{width}; type dataset.image_size=256"
        )
    strides = [patch_size * 2**level for level in range(stages)]
    maps_HW = [(height // stride, width // stride) for stride in strides]
    whole = all(size % strides[-1] == 0 and size > strides[-1] for size in (height, width))
    fitting = [
        side
        for side in range(2, 2 * window + 2)
        if whole and all(n % min(side, *map_HW) == 0 for map_HW in maps_HW for n in map_HW)
    ]
    if window in fitting:
        return
    unit = strides[-1] * window
    advice = f"dataset.image_size={max(1, round(height / unit)) * unit}"
    if fitting:
        advice += f" or model.window={min(fitting, key=lambda side: abs(side - window))}"
    raise ValueError(
        f"dataset.image_size must be a multiple of {unit} (model.patch_size "
        f"{patch_size} * 2**{stages - 1} * model.window {window}). Received: {height}x{width}; "
        f"type {advice}"
    )
