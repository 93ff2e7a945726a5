"""SegFormer (Xie et al. 2021, arXiv 2105.15203), as KerasHub builds it: an example of its models.

KerasHub's parts are nested, each with its own arguments; a function like this one makes them a
choice of `model=`.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from seg.contracts import SegError
from seg.models.blocks import require_at_least, require_multiple


def segformer(
    input_shape: tuple[int, int, int],
    hidden_dims: Sequence[int] = (32, 64, 160, 256),
    depths: Sequence[int] = (2, 2, 2, 2),
    projection_filters: int = 256,
    drop_path: float = 0.1,
    classes: int = 1,
    name: str = "segformer",
) -> keras.Model:
    """Build the model: images (B, H, W, C) over 0..1 to logits (B, H, W, classes).

    Args:
        input_shape: height and width, multiples of 32, at least 64; channels.
        hidden_dims: channels of the four stages, all different; a head of attention for every 32
            of them.
        depths: transformer blocks of each stage.
        projection_filters: of the decoder.
        drop_path: highest rate of stochastic depth.
        classes: logits per pixel.
        name: of the model.

    Raises:
        SegError: KerasHub is not installed.
        ValueError: the size is no such multiple, or two stages have the same channels.
    """
    try:
        from keras_hub import models
    except ImportError as error:
        raise SegError(
            f"model: KerasHub is not installed ({error}); pip install -e '.[kerashub]'"
        ) from error
    require_multiple(input_shape, 32, "four stages of SegFormer")
    require_at_least("dataset.image_size", min(input_shape[:2]), 64)
    if len(set(hidden_dims)) < len(hidden_dims):
        raise ValueError(f"hidden_dims must differ. Received: {list(hidden_dims)}")
    encoder = models.MiTBackbone(
        image_shape=tuple(input_shape),
        num_layers=len(hidden_dims),
        hidden_dims=list(hidden_dims),
        layerwise_num_heads=[max(1, dim // 32) for dim in hidden_dims],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        layerwise_depths=list(depths),
        max_drop_path_rate=drop_path,
    )
    backbone = models.SegFormerBackbone(
        image_encoder=encoder, projection_filters=projection_filters
    )
    return models.SegFormerImageSegmenter(backbone=backbone, num_classes=classes, name=name)
