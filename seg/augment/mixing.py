"""Transforms of a whole batch: a sample takes something of the one before it.

Axes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MixUp:
    """Blend each chosen sample with the one before it, image and mask (arXiv 1710.09412).

    The mask becomes a number within 0..1, which only a binary one can be.

    Attributes:
        p: probability that a sample is blended, 0..1.
        alpha: the weight of the sample's own part is drawn from Beta(alpha, alpha).
    """

    p: float
    alpha: float

    blends_masks = True

    def __post_init__(self) -> None:
        """Refuse an alpha that Beta has not."""
        _require_positive(self.alpha)

    def mix(
        self, images_BHWC: np.ndarray, masks_BHW1: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch with the chosen samples blended."""
        own = rng.beta(self.alpha, self.alpha, len(images_BHWC))
        own[rng.random(len(own)) >= self.p] = 1
        own_B111 = own.astype(np.float32)[:, None, None, None]
        return tuple(
            own_B111 * samples + (1 - own_B111) * np.roll(samples, 1, axis=0)
            for samples in (images_BHWC, masks_BHW1)
        )


@dataclass(frozen=True)
class CutMix:
    """Paste a rectangle of the sample before it into each chosen one (arXiv 1905.04899).

    Image and mask change alike, so that masks keep their values.

    Attributes:
        p: probability that a sample gets a rectangle, 0..1.
        alpha: its area is 1 - w of the picture, w drawn from Beta(alpha, alpha); what would lie
            outside of the picture is cut off.
    """

    p: float
    alpha: float

    blends_masks = False

    def __post_init__(self) -> None:
        """Refuse an alpha that Beta has not."""
        _require_positive(self.alpha)

    def mix(
        self, images_BHWC: np.ndarray, masks_BHW1: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the batch with rectangles pasted."""
        images, masks = images_BHWC.copy(), masks_BHW1.copy()
        sides = np.array(images_BHWC.shape[1:3])
        for b in range(len(images)):
            chosen = rng.random() < self.p
            half = sides * np.sqrt(1 - rng.beta(self.alpha, self.alpha)) / 2
            centre = rng.uniform(0, sides)
            if chosen:
                top, left = np.rint(np.maximum(centre - half, 0)).astype(int)
                bottom, right = np.rint(np.minimum(centre + half, sides)).astype(int)
                images[b, top:bottom, left:right] = images_BHWC[b - 1, top:bottom, left:right]
                masks[b, top:bottom, left:right] = masks_BHW1[b - 1, top:bottom, left:right]
        return images, masks


def _require_positive(alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(f"alpha must be more than 0. Received: {alpha}")
