"""One random chain per sample, a pure function of the sample's seed and number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from seg.augment.ranges import generator
from seg.augment.warp import grid, warp
from seg.contracts import IntensityTransform, MixTransform, SegError, SpatialTransform


@dataclass(frozen=True)
class Chain:
    """What training samples go through: moved, changed, and in their batch mixed.

    The spatial transforms that a sample gets are composed into one map, so that it is interpolated
    once however many there are, or not at all; the changes of grey values follow. Each kind
    takes effect in its order here. Equal seeds and numbers give equal results.
    """

    spatial: tuple[SpatialTransform, ...] = ()
    intensity: tuple[IntensityTransform, ...] = ()
    mixing: tuple[MixTransform, ...] = ()

    def sample(
        self, image_HWC: np.ndarray, mask_HW1: np.ndarray, seed: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return sample k of a stream: image float32 over 0..1, mask uint8, as they came."""
        rng = generator(seed, k)
        size_HW = image_HWC.shape[:2]
        points_HW2 = unmoved_HW2 = grid(size_HW)
        # The map leads from the output back to the input: the last transform comes first.
        for transform in reversed(self.spatial):
            if rng.random() < transform.p:
                points_HW2 = transform.move(points_HW2, rng, size_HW)
        if points_HW2 is not unmoved_HW2:
            image_HWC, mask_HW1 = warp(image_HWC, mask_HW1, points_HW2)
        for transform in self.intensity:
            if rng.random() < transform.p:
                changed = transform.change(image_HWC, rng).reshape(image_HWC.shape)
                image_HWC = np.clip(changed, 0, 1, dtype=np.float32)
        return image_HWC, mask_HW1

    def batch(
        self, images_BHWC: np.ndarray, masks_BHW1: np.ndarray, seed: int, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return batch k of a stream, float32 both."""
        rng = generator(seed, k, stream=1)
        for transform in self.mixing:
            images_BHWC, masks_BHW1 = transform.mix(images_BHWC, masks_BHW1, rng)
        return images_BHWC, masks_BHW1


def chain(transforms: Mapping[str, object], binary: bool = True) -> Chain | None:
    """Compose named transforms; those with p=0 are left out, None where none is left.

    Args:
        transforms: in the order in which they take effect.
        binary: whether masks are of 0 and 1, and learned as one logit, so that they can be blended.

    Raises:
        SegError: a part is no transform, its p is no probability, or it blends masks of classes.
    """
    for name, transform in transforms.items():
        if not isinstance(transform, SpatialTransform | IntensityTransform | MixTransform):
            raise SegError(
                f"augment.{name}: must have p and one of move(), change(), or mix() with "
                f"blends_masks; null leaves it out. Received: {transform!r}"
            )
        if not 0 <= transform.p <= 1:
            raise SegError(f"augment.{name}.p must lie in 0..1. Received: {transform.p}")
        blends = isinstance(transform, MixTransform) and transform.blends_masks
        if blends and transform.p and not binary:
            raise SegError(
                f"augment.{name}: blends masks, which one logit per pixel can learn, and several "
                f"classes (dataset.labels, model.classes) cannot; set augment.{name}=null. "
                f"Received: p={transform.p}"
            )
    kinds = (SpatialTransform, IntensityTransform, MixTransform)
    used = [
        tuple(t for t in transforms.values() if isinstance(t, kind) and t.p > 0) for kind in kinds
    ]
    return Chain(*used) if any(used) else None
