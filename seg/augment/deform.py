"""Spatial transforms that bend, for image and mask together.

Maps of points as in `seg.augment.geometry`. Fields of random displacements are drawn on the points
themselves, which lie in a grid coarser than the pixels (see `seg.augment.warp`): a field is smooth,
so that nothing is lost and its cost does not grow with the picture. It is laid over the output:
what comes after it in a chain, an enlargement say, does not enlarge it.
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
    0.16 alpha / sigma pixels. Above a quarter of sigma, the picture begins to fold over itself.

    Attributes:
        p: probability, 0..1.
        alpha: range of the strength, in pixels.
        sigma: smoothness, in pixels.
        side_px: longer side of the picture that alpha and sigma are meant for; in another picture
            the field is scaled with it.
    """

    p: float
    alpha: list[float]
    sigma: float
    side_px: int

    def __post_init__(self) -> None:
        """Refuse a field finer than the grid it is drawn on."""
        require_range("alpha", self.alpha, least=0)
        if self.side_px < 1:
            raise ValueError(f"side_px must be 1 or more. Received: {self.side_px}")
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
        field_HW2 = _smooth_noise(rng, points_HW2.shape, self.sigma * enlarged / step)
        # White noise on a grid of `step` pixels keeps step times the amplitude when smoothed, and
        # noise smoothed over `enlarged` times as many pixels one over that.
        return points_HW2 + field_HW2 * np.float32(uniform(rng, self.alpha) * enlarged**2 / step)


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
        sigma = self.sigma * side_px / grid_step(size_HW)
        down_HW, right_HW = np.gradient(_smooth_noise(rng, points_HW2.shape[:2], sigma))
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
        if not self.centres or any(np.shape(np.asarray(c, float)) != (2,) for c in self.centres):
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


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth numbers in -1..1 that go on beyond the edges, where they count as much as within."""
    rows, columns = shape[:2]
    margin = min(int(np.ceil(3 * sigma)), max(rows, columns))
    noise = rng.random((rows + 2 * margin, columns + 2 * margin, *shape[2:]), np.float32) * 2 - 1
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return smooth[margin : margin + rows, margin : margin + columns]
