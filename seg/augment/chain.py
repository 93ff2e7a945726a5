"""One random chain per sample, a pure function of the sample's seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from seg.augment.geometry import warp
from seg.contracts import IntensityTransform, SegError, SpatialTransform

Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def chain(transforms: Mapping[str, SpatialTransform | IntensityTransform]) -> Augment | None:
    """Compose named transforms into one function, None where there are none.

    The spatial ones are multiplied into one map, so that a sample is interpolated once however
    many there are; the intensity ones follow in their order.

    Returns:
        A function of image (float32 HWC, 0..1), mask (float32 HW1, whole numbers) and seed (int64,
        shape (2,)) to image and mask. Equal seeds give equal results.

    Raises:
        SegError: a part is no transform, or its p is no probability.
    """
    if not transforms:
        return None
    for name, transform in transforms.items():
        if not isinstance(transform, SpatialTransform | IntensityTransform):
            raise SegError(
                f"augment.{name}: must have p and either matrix() or change(). "
                f"Received: {type(transform).__name__}"
            )
        if not 0 <= transform.p <= 1:
            raise SegError(f"augment.{name}.p must lie in 0..1. Received: {transform.p}")
    spatial = [t for t in transforms.values() if isinstance(t, SpatialTransform)]
    intensity = [t for t in transforms.values() if isinstance(t, IntensityTransform)]

    def augment(
        image_HWC: tf.Tensor, mask_HW1: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seeds = iter(tf.unstack(tf.random.split(seed, 2 * len(transforms))))
        if spatial:
            matrix = tf.eye(3)
            for transform in spatial:
                drawn = transform.matrix(next(seeds), image_HWC.shape[:2])
                matrix = matrix @ tf.where(_chosen(next(seeds), transform.p), drawn, tf.eye(3))
            image_HWC, mask_HW1 = warp(image_HWC, mask_HW1, matrix)
        for transform in intensity:
            changed = transform.change(image_HWC, next(seeds))
            image_HWC = tf.where(_chosen(next(seeds), transform.p), changed, image_HWC)
        return image_HWC, mask_HW1

    return augment


def _chosen(seed: tf.Tensor, p: float) -> tf.Tensor:
    return tf.random.stateless_uniform([], seed) < p
