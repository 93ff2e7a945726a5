"""TransUNet: a U-Net whose encoder is a ResNet and a vision transformer on top of it.

Sources: Chen et al. 2021, arXiv 2102.04306, and where the paper is silent the authors' code
(github.com/Beckschen/TransUNet, setting R50-ViT-B_16); Kolesnikov et al. 2019, arXiv 1912.11370
(ResNet with group normalization and standardized kernels); Dosovitskiy et al. 2020, arXiv
2010.11929 (the transformer).

Axes: B batch, H height, W width, F filters, C channels, T = H * W tokens, K side of a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import gcd

import keras
from keras import KerasTensor, layers, ops

from seg.models.blocks import (
    UPSAMPLINGS,
    conv,
    enlarged,
    require_multiple,
    require_one_of,
    upsampled,
)

_norm = partial(layers.LayerNormalization, epsilon=1e-6)


def transunet(
    input_shape: tuple[int, int, int],
    hidden: int = 768,
    depth: int = 12,
    heads: int = 12,
    mlp: int = 3072,
    stages: Sequence[int] = (3, 4, 9),
    width: int = 64,
    decoder_filters: Sequence[int] = (256, 128, 64, 16),
    dropout: float = 0.1,
    normalization: str = "batch",
    activation: str = "relu",
    upsampling: str = "bilinear",
    classes: int = 1,
    name: str = "transunet",
) -> keras.Model:
    """Build the model: images (B, H, W, C) over 0..1 to float32 logits (B, H, W, classes).

    Args:
        input_shape: (H, W, C); H and W fixed, multiples of 2**(len(stages)+1).
        hidden: features of a token, a multiple of `heads`.
        depth: transformer layers; 0 leaves the position embedding and the last normalization.
        heads: of each attention.
        mlp: hidden features of each transformer layer's MLP.
        stages: bottleneck blocks of each stage of the ResNet; each further stage halves the map.
        width: filters of the root and of the first stage's bottlenecks, doubled at each stage; a
            stage gives four times its bottlenecks' filters.
        decoder_filters: of each doubling of the map, one more than stages; the convolution before
            them has twice the first.
        dropout: rate after the position embedding and both MLP layers, in 0..1.
        normalization: of the decoder, see `seg.models.blocks.normalized`.
        activation: of the decoder, name of a Keras activation.
        upsampling: "bilinear" interpolates alone, as published; "transposed" is a convolution with
            as many filters as channels.
        classes: logits per pixel.
        name: of the model.

    Raises:
        ValueError: H or W is None or no such multiple, or an argument is out of range.
    """
    _check_numbers(hidden, depth, heads, stages, decoder_filters)
    _check_size(input_shape, 2 ** len(decoder_filters))
    require_one_of("upsampling", upsampling, UPSAMPLINGS)
    convolved = partial(conv, normalization=normalization, activation=activation)

    inputs = keras.Input(input_shape)
    *skips, x_BHWF = _resnet(inputs, stages, width)
    x_BHWF = layers.Conv2D(hidden, 1, name="embed")(x_BHWF)
    x_BHWF = _transformer(x_BHWF, depth, heads, mlp, dropout)
    x_BHWF = convolved(x_BHWF, 2 * decoder_filters[0])
    for filters in decoder_filters:
        x_BHWF = _doubled(x_BHWF, upsampling)
        if skips:
            x_BHWF = layers.Concatenate()([x_BHWF, skips.pop()])
        x_BHWF = convolved(convolved(x_BHWF, filters), filters)
    head = layers.Conv2D(classes, 3, padding="same", dtype="float32", name="logits")
    return keras.Model(inputs, head(x_BHWF), name=name)


@keras.saving.register_keras_serializable(package="seg")
class StandardizedConv2D(layers.Conv2D):
    """A convolution whose kernel has mean 0 and variance 1 over what each filter sees.

    Adding a constant to a filter, or scaling it, leaves the output as it is. Standardized in
    float32 from weights in float32, whatever the precision of the convolution.

    Source: Qiao et al. 2019, arXiv 1903.10520; 1e-5 under the root as in TransUNet's code.
    """

    def add_weight(self, *args: object, **kwargs: object) -> keras.Variable:
        """Create a weight; mixed precision shall not round a kernel before it is standardized."""
        return super().add_weight(*args, **kwargs | {"autocast": kwargs.get("name") != "kernel"})

    def convolution_op(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        """Convolve (B, H, W, C) with the standardized kernel (K, K, C, F)."""
        mean_F, variance_F = ops.moments(kernel, axes=(0, 1, 2))
        kernel = (kernel - mean_F) * ops.rsqrt(variance_F + 1e-5)
        return super().convolution_op(inputs, ops.cast(kernel, inputs.dtype))


@keras.saving.register_keras_serializable(package="seg")
class PositionEmbedding(layers.Layer):
    """Add to each of T tokens (B, T, F) learned numbers of its own, zeros at first."""

    def build(self, input_shape: tuple[int | None, int, int]) -> None:
        """Create the numbers, (T, F)."""
        self.embedding_TF = self.add_weight(input_shape[1:], "zeros", name="embedding")

    def call(self, x_BTF: KerasTensor) -> KerasTensor:
        """Return the tokens with their numbers added, (B, T, F)."""
        return x_BTF + self.embedding_TF


def _resnet(images_BHWC: KerasTensor, stages: Sequence[int], width: int) -> list[KerasTensor]:
    """Return the maps at 1/2 (the root's), 1/4, 1/8, ... of the image, the last stage's last."""
    x_BHWF = _grouped(_strided(images_BHWC, width, 7, 2))
    maps = [layers.ReLU(name="root")(x_BHWF)]
    # The authors pool without padding, so that the last window, half outside, is lost, and fill its
    # place with zeros in the skip alone. Here its half inside is pooled; the other windows agree.
    x_BHWF = layers.MaxPooling2D(3, 2, padding="same")(maps[0])
    for stage, blocks in enumerate(stages):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            x_BHWF = _bottleneck(x_BHWF, width * 2**stage, strides, f"stage{stage}_block{block}")
        maps.append(x_BHWF)
    return maps


def _bottleneck(x_BHWF: KerasTensor, filters: int, strides: int, name: str) -> KerasTensor:
    """Add a residual to (B, H, W, any): (B, H/strides, W/strides, 4 * filters)."""
    y_BHWF = layers.ReLU()(_grouped(_strided(x_BHWF, filters, 1, 1)))
    y_BHWF = layers.ReLU()(_grouped(_strided(y_BHWF, filters, 3, strides)))
    y_BHWF = _grouped(_strided(y_BHWF, 4 * filters, 1, 1))
    if x_BHWF.shape != y_BHWF.shape:
        # As in the authors' code: here each channel is its own group, and epsilon another.
        x_BHWF = _strided(x_BHWF, 4 * filters, 1, strides)
        x_BHWF = layers.GroupNormalization(groups=-1, epsilon=1e-5)(x_BHWF)
    return layers.ReLU(name=name)(layers.Add()([x_BHWF, y_BHWF]))


def _strided(x_BHWC: KerasTensor, filters: int, kernel: int, strides: int) -> KerasTensor:
    # Padded alike on both sides; "same" pads an even map's end more, which shifts the features.
    if kernel > 1:
        x_BHWC = layers.ZeroPadding2D(kernel // 2)(x_BHWC)
    return StandardizedConv2D(
        filters, kernel, strides=strides, use_bias=False, kernel_initializer="he_normal"
    )(x_BHWC)


def _grouped(x_BHWF: KerasTensor) -> KerasTensor:
    # 32 groups at the published widths, fewer where the filters are no multiple of that.
    groups = gcd(32, x_BHWF.shape[-1])
    return layers.GroupNormalization(groups, epsilon=1e-6)(x_BHWF)


def _transformer(
    x_BHWF: KerasTensor, depth: int, heads: int, mlp: int, dropout: float
) -> KerasTensor:
    """Let every token of a map (B, H, W, F) see every other: a map of the same shape."""
    map_HWF = x_BHWF.shape[1:]
    hidden = map_HWF[-1]
    x_BTF = PositionEmbedding(name="tokens")(layers.Reshape((-1, hidden))(x_BHWF))
    x_BTF = layers.Dropout(dropout)(x_BTF)
    for index in range(depth):
        y_BTF = _norm()(x_BTF)
        attend = layers.MultiHeadAttention(heads, hidden // heads, name=f"attention{index}")
        x_BTF = layers.Add()([x_BTF, attend(y_BTF, y_BTF)])
        y_BTF = layers.Dense(mlp, activation="gelu", name=f"mlp{index}")(_norm()(x_BTF))
        y_BTF = layers.Dense(hidden)(layers.Dropout(dropout)(y_BTF))
        x_BTF = layers.Add()([x_BTF, layers.Dropout(dropout)(y_BTF)])
    return layers.Reshape(map_HWF, name="encoded")(_norm()(x_BTF))


def _doubled(x_BHWF: KerasTensor, upsampling: str) -> KerasTensor:
    if upsampling == "bilinear":
        return enlarged(x_BHWF, 2)
    return upsampled(x_BHWF, x_BHWF.shape[-1], upsampling)


def _check_numbers(
    hidden: int, depth: int, heads: int, stages: Sequence[int], decoder_filters: Sequence[int]
) -> None:
    if heads < 1 or hidden % heads:
        raise ValueError(
            f"model.hidden must be a multiple of model.heads. Received: {hidden} "
            f"and {heads}; type model.hidden={max(1, round(hidden / 12)) * 12} "
            "model.heads=12"
        )
    if depth < 0:
        raise ValueError(f"model.depth must be 0 or more. Received: {depth}")
    if not stages or min(stages) < 1:
        raise ValueError(
            "model.stages must be numbers of blocks, each at least 1. "
            f"Received: {list(stages)}; type model.stages=[3,4,9]"
        )
    if len(decoder_filters) != len(stages) + 1:
        raise ValueError(
            "model.decoder_filters must have one number more than model.stages. "
            f"Received: {list(decoder_filters)} and {list(stages)}; type "
            f"model.decoder_filters={[16 * 2**n for n in reversed(range(len(stages) + 1))]}"
        )


def _check_size(input_shape: tuple[int | None, int | None, int], divisor: int) -> None:
    height, width, _ = input_shape
    if height is None or width is None:
        raise ValueError(
            "dataset.image_size must be fixed, since each place has its own "
            f"position embedding. Received: {height}x{width}; type dataset.image_size=224"
        )
    require_multiple(input_shape, divisor, f"{divisor} pixels to a token's side")
