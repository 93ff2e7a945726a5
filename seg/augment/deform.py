"""Spatial transforms that bend, for image and mask together.

Maps of points as in `seg.augment.geometry`. Fields of random displacements are drawn on the points
themselves, which lie in a grid coarser than the pixels (see `seg.augment.warp`): a field is smooth,
so that nothing is lost and its cost does not grow with the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg.augment.ranges import require_range, uniform
from seg.augment.warp import FINEST, grid_step


@dataclass(frozen=True)
class Elastic:
    """Displace points at random, neighbours alike (Simard et al., ICDAR 2003).

    A field of uniform numbers in -1..1 for each pixel and axis is smoothed by a Gaussian of `sigma`
    pixels and multiplied by `alpha`: displacements have a standard deviation of about
    0.16 alpha / sigma pixels. Where sd / sigma comes near 1, the picture folds over itself.

    Attributes:
        p: probability, 0..1.
        alpha: strength, in pixels.
        sigma: smoothness, in pixels.
        side_px: longer side of the picture that alpha and sigma are meant for; in another picture
            the field is scaled with it.
    """

    p: float
    alpha: float
    sigma: float
    side_px: int

    def __post_init__(self) -> None:
        """Refuse a field finer than the grid it is drawn on."""
        if self.alpha < 0 or self.side_px < 1:
            raise ValueError(
                "alpha must be 0 or more, side_px 1 or more. "
                f"Received: {self.alpha}, {self.side_px}"
            )
        if self.sigma < self.side_px / FINEST:
            raise ValueError(
                f"sigma must be at least side_px / {FINEST} = {self.side_px / FINEST:g}. "
                f"Received: {self.sigma}"
            )

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points displaced by the field drawn."""
        enlarged, step = max(size_HW) / self.side_px, grid_step(size_HW)
        noise_HW2 = rng.random(points_HW2.shape, np.float32) * 2 - 1
        field_HW2 = _smooth(noise_HW2, self.sigma * enlarged / step)
        # White noise on a grid of `step` pixels keeps step times the amplitude when smoothed, and
        # noise smoothed over `enlarged` times as many pixels one over that.
        return points_HW2 + field_HW2 * np.float32(self.alpha * enlarged**2 / step)


@dataclass(frozen=True)
class Distortion:
    """Displace points along the slopes of a smooth random landscape.

    The landscape is noise smoothed by a Gaussian, its slope (the same as noise filtered with the
    Gaussian's derivative) the displacement, scaled so that the largest has the amplitude drawn.

    Attributes:
        p: probability, 0..1.
        sigma: smoothness, a fraction of the picture's longer side.
        amplitude: range of the largest displacement, a fraction of the picture's longer side.
    """

    p: float
    sigma: float
    amplitude: list[float]

    def __post_init__(self) -> None:
        """Refuse a landscape finer than the grid it is drawn on."""
        require_range("amplitude", self.amplitude, least=0)
        if not 1 / FINEST <= self.sigma <= 1:
            raise ValueError(f"sigma must lie in {1 / FINEST:g}..1. Received: {self.sigma}")

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points displaced by the field drawn."""
        side_px = max(size_HW)
        noise_HW = rng.random(points_HW2.shape[:2], np.float32) - 0.5
        landscape_HW = _smooth(noise_HW, self.sigma * side_px / grid_step(size_HW))
        down_HW, right_HW = np.gradient(landscape_HW)
        field_HW2 = np.stack([right_HW, down_HW], -1)
        largest = np.sqrt((field_HW2**2).sum(-1).max())
        return points_HW2 + field_HW2 * (uniform(rng, self.amplitude) * side_px / largest)


@dataclass(frozen=True)
class Lens:
    """Barrel or pincushion distortion within a disc.

    A point at the distance r from the disc's centre shows what lies at
    r (1 + amount (1 - r^2 / R^2)), R the disc's radius: Brown's model of a lens (1966) with one
    coefficient, made continuous at the disc's edge, outside of which nothing moves.

    Attributes:
        p: probability, 0..1.
        radius: of the disc, a fraction of the picture's shorter side.
        amount: range; below 0 a barrel (the centre is enlarged), above 0 a pincushion. Within
            -0.9..0.5, or the picture would fold over itself.
        centres: (x, y), fractions of width and height; one is drawn.
    """

    p: float
    radius: float
    amount: list[float]
    centres: list[list[float]]

    def __post_init__(self) -> None:
        """Refuse amounts that fold, and a disc that is none."""
        require_range("amount", self.amount, least=-0.9, most=0.5)
        if self.radius <= 0:
            raise ValueError(f"radius must be more than 0. Received: {self.radius}")
        if not self.centres or any(np.shape(centre) != (2,) for centre in self.centres):
            raise ValueError(f"centres must be a list of [x, y]. Received: {self.centres}")

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points bent within the disc drawn."""
        height, width = size_HW
        x, y = self.centres[rng.integers(len(self.centres))]
        centre = np.float32([(x - 0.5) * (width - 1), (y - 0.5) * (height - 1)])
        away_HW2 = points_HW2 - centre
        r2_HW1 = (away_HW2**2).sum(-1, keepdims=True) / np.float32(self.radius * min(size_HW)) ** 2
        bent_HW1 = np.float32(uniform(rng, self.amount)) * np.maximum(1 - r2_HW1, 0)
        return points_HW2 + away_HW2 * bent_HW1


def _smooth(noise: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
