"""What scanners add to an image or lose of it, for the image only; as `seg.augment.intensity`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg.augment.ranges import require_range, uniform


@dataclass(frozen=True)
class GaussianNoise:
    """Add a normal random number to every pixel and channel.

    Attributes:
        p: probability, 0..1.
        sd: range of the standard deviation, of grey values 0..1.
    """

    p: float
    sd: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("sd", self.sd, least=0)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the noisy image."""
        sd = np.float32(uniform(rng, self.sd))
        return image_HWC + sd * rng.standard_normal(image_HWC.shape, np.float32)


@dataclass(frozen=True)
class GaussianBlur:
    """Blur.

    Attributes:
        p: probability, 0..1.
        sigma_px: range of the standard deviation of the kernel.
    """

    p: float
    sigma_px: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range of positive numbers."""
        require_range("sigma_px", self.sigma_px, least=0.01)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the blurred image."""
        sigma = uniform(rng, self.sigma_px)
        return cv2.GaussianBlur(image_HWC, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


@dataclass(frozen=True)
class LowResolution:
    """Shrink by area averaging and enlarge again, bicubically: a coarser acquisition.

    Attributes:
        p: probability, 0..1.
        factor: range of the shrunken side, of the whole.
    """

    p: float
    factor: list[float]

    def __post_init__(self) -> None:
        """Refuse what does not shrink."""
        require_range("factor", self.factor, least=0.01, most=1)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the coarse image, at its old size."""
        height, width = image_HWC.shape[:2]
        factor = uniform(rng, self.factor)
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        shrunken = cv2.resize(image_HWC, small, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunken, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class BiasField:
    """Multiply by a smooth random gain: the uneven field of a coil in MRI.

    The gain is 2^g, g a random number in -strength..strength at each of 4x4 points and bicubic
    between them.

    Attributes:
        p: probability, 0..1.
        strength: range of the strength; at 1 neighbouring points may differ fourfold.
    """

    p: float
    strength: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("strength", self.strength, least=0)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image under the gain drawn."""
        height, width = image_HWC.shape[:2]
        exponents = (uniform(rng, self.strength) * rng.uniform(-1, 1, (4, 4))).astype(np.float32)
        exponents_HW = cv2.resize(exponents, (width, height), interpolation=cv2.INTER_CUBIC)
        return image_HWC * np.exp2(exponents_HW)[..., None]


@dataclass(frozen=True)
class CoarseDropout:
    """Blacken rectangles of the image; the mask stays (DeVries and Taylor, arXiv 1708.04552).

    Attributes:
        p: probability, 0..1.
        holes: range of their number, whole numbers, all as likely.
        fraction: range of each hole's height and width, of the picture's.
    """

    p: float
    holes: list[int]
    fraction: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("holes", self.holes, least=0)
        require_range("fraction", self.fraction, least=0, most=1)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image with its holes."""
        sides = np.array(image_HWC.shape[:2])
        image_HWC = image_HWC.copy()
        for _ in range(rng.integers(self.holes[0], self.holes[1], endpoint=True)):
            hole = np.maximum(1, np.rint(sides * rng.uniform(*self.fraction, 2))).astype(int)
            (top, left), (height, width) = rng.integers(0, sides - hole, endpoint=True), hole
            image_HWC[top : top + height, left : left + width] = 0
        return image_HWC
