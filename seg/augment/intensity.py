"""Transforms of grey values, for the image only."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Brightness:
    """Add one value to every pixel.

    Attributes:
        p: probability, 0..1.
        max_delta: the value is uniform in -max..max, of grey values 0..1.
    """

    p: float
    max_delta: float

    def change(self, image_HWC: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Return the brightened image drawn for `seed` (int, shape (2,)), cut to 0..1."""
        delta = tf.random.stateless_uniform([], seed, -self.max_delta, self.max_delta)
        return tf.clip_by_value(image_HWC + delta, 0.0, 1.0)
