"""Spatial transforms that keep lines straight, for image and mask together.

Each is a map of points (x, y), in pixels from the picture's centre: it takes a point of the OUTPUT
to the point of the INPUT that is shown there. `seg.augment.warp` applies a composition of them
once.
Axes: H height, W width, 2 the coordinates x and y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from seg.augment.ranges import require_range, uniform


@dataclass(frozen=True)
class Flip:
    """Mirror along an axis.

    Attributes:
        p: probability, 0..1.
        axis: "horizontal" swaps left and right, "vertical" swaps top and bottom.
    """

    p: float
    axis: str

    def __post_init__(self) -> None:
        """Refuse an unknown axis."""
        if self.axis not in ("horizontal", "vertical"):
            raise ValueError(f"axis must be horizontal or vertical. Received: {self.axis}")

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the mirrored points."""
        return points_HW2 * np.float32([-1, 1] if self.axis == "horizontal" else [1, -1])


@dataclass(frozen=True)
class Rotate:
    """Turn about the centre.

    Attributes:
        p: probability, 0..1.
        range_deg: the angle is uniform in lowest..highest; null where angles are listed.
        angles_deg: the angle is one of these instead, all as likely.
    """

    p: float
    range_deg: list[float] | None
    angles_deg: list[float] | None

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not self.angles_deg:
            require_range("range_deg", self.range_deg or [])

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points turned by the angle drawn."""
        degrees = rng.choice(self.angles_deg) if self.angles_deg else uniform(rng, self.range_deg)
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        return points_HW2 @ np.float32([[cos, sin], [-sin, cos]])


@dataclass(frozen=True)
class Scale:
    """Shrink or enlarge about the centre, evenly.

    Attributes:
        p: probability, 0..1.
        factor: range of the factor; below 1 the object shrinks.
    """

    p: float
    factor: list[float]

    def __post_init__(self) -> None:
        """Refuse factors that turn the picture inside out."""
        require_range("factor", self.factor, least=0.01)

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points divided by the factor drawn."""
        return points_HW2 / np.float32(uniform(rng, self.factor))


@dataclass(frozen=True)
class Shear:
    """Slant: rows slide over each other, those through the centre stay.

    Attributes:
        p: probability, 0..1.
        slope: range of the slide, in pixels for each pixel of height: the tangent of the angle.
    """

    p: float
    slope: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("slope", self.slope)

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points slanted by the slope drawn."""
        return points_HW2 @ np.float32([[1, 0], [uniform(rng, self.slope), 1]])


@dataclass(frozen=True)
class Shift:
    """Move to the right and down, or against it.

    Attributes:
        p: probability, 0..1.
        fraction: range of the way, of the height and of the width, drawn for each of them.
    """

    p: float
    fraction: list[float]

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        require_range("fraction", self.fraction)

    def move(
        self, points_HW2: np.ndarray, rng: np.random.Generator, size_HW: tuple[int, int]
    ) -> np.ndarray:
        """Return the points moved by the way drawn."""
        height, width = size_HW
        x, y = uniform(rng, self.fraction) * width, uniform(rng, self.fraction) * height
        return points_HW2 - np.float32([x, y])
