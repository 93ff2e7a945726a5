"""Transforms of grey values, for the image only.

Each takes float32 HWC over 0..1 and returns the same; the chain cuts what leaves 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seg.augment.ranges import require_range, uniform

LAPLACE = np.float32([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])


@dataclass(frozen=True)
class Brightness:
    """Multiply all grey values by a factor and add an offset.

    Attributes:
        p: probability, 0..1.
        factor: range.
        offset: range, of grey values 0..1.
    """

    p: float
    factor: list[float]
    offset: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("factor", self.factor, least=0)
        require_range("offset", self.offset)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the brightened image."""
        return image_HWC * uniform(rng, self.factor) + uniform(rng, self.offset)


@dataclass(frozen=True)
class Contrast:
    """Multiply the distance of each grey value from the image's mean by a factor.

    Attributes:
        p: probability, 0..1.
        factor: range; below 1 the image becomes flatter.
    """

    p: float
    factor: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("factor", self.factor, least=0)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image with its new contrast."""
        mean, factor = float(image_HWC.mean()), uniform(rng, self.factor)
        return image_HWC * factor + mean * (1 - factor)


@dataclass(frozen=True)
class Gamma:
    """Raise grey values to a power.

    Attributes:
        p: probability, 0..1.
        exponent: range; below 1 dark parts become brighter.
    """

    p: float
    exponent: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range of positive numbers."""
        require_range("exponent", self.exponent, least=0.01)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image with its new curve."""
        return image_HWC ** np.float32(uniform(rng, self.exponent))


@dataclass(frozen=True)
class Sharpen:
    """Add the image's Laplacian (of the four neighbours).

    Attributes:
        p: probability, 0..1.
        amount: range of its weight; 1 is the usual kernel of 5 amid four -1.
    """

    p: float
    amount: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("amount", self.amount, least=0)

    def change(self, image_HWC: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the sharpened image."""
        kernel = LAPLACE * np.float32(uniform(rng, self.amount))
        kernel[1, 1] += 1
        return cv2.filter2D(image_HWC, -1, kernel, borderType=cv2.BORDER_REPLICATE)
