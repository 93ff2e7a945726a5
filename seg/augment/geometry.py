"""Spatial transforms, for image and mask together: each draws an affine map, `warp` applies one.

A map is a 3x3 float32 matrix that takes a point (x, y, 1) of the OUTPUT, in pixels from the
picture's centre, to the point of the INPUT that is shown there. Maps compose by multiplication.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import tensorflow as tf


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

    def matrix(self, seed: tf.Tensor, size_HW: tuple[int, int]) -> tf.Tensor:
        """Return the mirror map, float32 (3, 3)."""
        return tf.linalg.diag([-1.0, 1.0, 1.0] if self.axis == "horizontal" else [1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Rotate:
    """Turn about the centre.

    Attributes:
        p: probability, 0..1.
        max_angle_deg: the angle is uniform in -max..max degrees.
    """

    p: float
    max_angle_deg: float

    def matrix(self, seed: tf.Tensor, size_HW: tuple[int, int]) -> tf.Tensor:
        """Return the rotation drawn for `seed` (int, shape (2,)), float32 (3, 3)."""
        angle = _uniform(seed, self.max_angle_deg) * (math.pi / 180)
        cos, sin = tf.cos(angle), tf.sin(angle)
        return _rows([cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Scale:
    """Shrink or enlarge about the centre, evenly.

    Attributes:
        p: probability, 0..1.
        smallest: least factor; below 1 the object shrinks.
        largest: greatest factor.
    """

    p: float
    smallest: float
    largest: float

    def __post_init__(self) -> None:
        """Refuse factors that turn the picture inside out."""
        if not 0 < self.smallest <= self.largest:
            raise ValueError(
                f"0 < smallest <= largest must hold. Received: {self.smallest}, {self.largest}"
            )

    def matrix(self, seed: tf.Tensor, size_HW: tuple[int, int]) -> tf.Tensor:
        """Return the scaling drawn for `seed` (int, shape (2,)), float32 (3, 3)."""
        factor = tf.random.stateless_uniform([], seed, self.smallest, self.largest)
        return tf.linalg.diag(tf.stack([1 / factor, 1 / factor, 1.0]))


@dataclass(frozen=True)
class Shift:
    """Move sideways.

    Attributes:
        p: probability, 0..1.
        max_fraction: of height and of width, each way.
    """

    p: float
    max_fraction: float

    def matrix(self, seed: tf.Tensor, size_HW: tuple[int, int]) -> tf.Tensor:
        """Return the translation drawn for `seed` (int, shape (2,)), float32 (3, 3)."""
        y, x = tf.unstack(
            tf.random.stateless_uniform([2], seed, -self.max_fraction, self.max_fraction)
            * tf.cast(size_HW, tf.float32)
        )
        return _rows([1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0])


def warp(
    image_HWC: tf.Tensor, mask_HW1: tf.Tensor, matrix: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply one map to an image (bilinear) and its mask (nearest); outside both are zero."""
    height, width = image_HWC.shape[:2]
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    to_corner = tf.constant([[1, 0, centre_x], [0, 1, centre_y], [0, 0, 1]], tf.float32)
    to_centre = tf.constant([[1, 0, -centre_x], [0, 1, -centre_y], [0, 0, 1]], tf.float32)
    projection = tf.reshape(to_corner @ matrix @ to_centre, [1, 9])[:, :8]

    def apply(picture: tf.Tensor, interpolation: str) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=picture[None],
            transforms=projection,
            output_shape=[height, width],
            interpolation=interpolation,
            fill_mode="CONSTANT",
            fill_value=0.0,
        )[0]

    return apply(image_HWC, "BILINEAR"), apply(mask_HW1, "NEAREST")


def _uniform(seed: tf.Tensor, largest: float) -> tf.Tensor:
    return tf.random.stateless_uniform([], seed, -largest, largest)


def _rows(*rows: list) -> tf.Tensor:
    return tf.stack([tf.stack(row) for row in rows])
