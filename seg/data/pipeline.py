"""From cases to batches: decode once, keep in memory, draw, augment, batch, prefetch.

Axes: B batch, N slices, H height, W width, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from seg.contracts import Case, Classes, Slice
from seg.data.images import FULL_SCALE, fit_image, fit_mask, read_image, read_mask


@dataclass(frozen=True)
class Slices:
    """Decoded slices at the model's size.

    Attributes:
        ids: N names.
        images_NHWC: uint16 over 0..65535.
        masks_NHW1: uint8 index of each pixel's class, 0 the background.
    """

    ids: tuple[str, ...]
    images_NHWC: np.ndarray
    masks_NHW1: np.ndarray

    def take(self, places: Sequence[int]) -> Slices:
        """Return the slices at some places."""
        ids = tuple(self.ids[i] for i in places)
        places = np.asarray(places, int)
        return Slices(ids, self.images_NHWC[places], self.masks_NHW1[places])

    def as_float(self) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 images over 0..1 and masks of whole numbers."""
        images = self.images_NHWC.astype(np.float32) / np.float32(FULL_SCALE)
        return images, self.masks_NHW1.astype(np.float32)


def load(cases: Sequence[Case], size: tuple[int, int], channels: int, classes: Classes) -> Slices:
    """Decode all slices of some cases, in order, in parallel."""

    def pair(slice_: Slice) -> tuple[np.ndarray, np.ndarray]:
        image_HWC = fit_image(read_image(slice_.image, channels), size)
        mask_HW = fit_mask(read_mask(slice_.mask, classes), size)
        return image_HWC, mask_HW[..., None].astype(np.uint8)

    members = [slice_ for case in cases for slice_ in case.slices]
    slices = Slices(
        tuple(slice_.id for slice_ in members),
        np.empty((len(members), *size, channels), np.uint16),
        np.empty((len(members), *size, 1), np.uint8),
    )
    with ThreadPoolExecutor() as pool:
        for n, (image_HWC, mask_HW1) in enumerate(pool.map(pair, members)):
            slices.images_NHWC[n], slices.masks_NHW1[n] = image_HWC, mask_HW1
    return slices


def endless(
    slices: Slices, batch_size: int, seed: int, augment: Callable | None = None
) -> tf.data.Dataset:
    """Return an endless stream of full training batches.

    Sample k of the stream is a pure function of (seed, k): every pass over the N slices takes them
    in an order of its own, and every sample its own augmentation, whatever the parallelism.

    Returns:
        batches (image float32 BHWC over 0..1, mask float32 BHW1 of class indices).
    """
    with tf.device("CPU:0"):
        images, masks = tf.constant(slices.images_NHWC), tf.constant(slices.masks_NHW1)
    n = len(slices.ids)

    def sample(k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = tf.random.stateless_uniform(
            [2], tf.stack([tf.constant(seed, tf.int64), k // n]), None, None, tf.int32
        )
        index = tf.random.experimental.index_shuffle(k % n, seed=order, max_index=n - 1)
        image, mask = _as_float(tf.gather(images, index), tf.gather(masks, index))
        return augment(image, mask, tf.stack([seed, k])) if augment else (image, mask)

    return (
        tf.data.Dataset.counter()
        .map(sample, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def once(slices: Slices, batch_size: int, replicas: int = 1) -> tf.data.Dataset:
    """Return batches of all slices in their order, the last one as large as what is left.

    With several replicas all batches have one size, since a replica without a sample fails: the
    largest that divides the slices evenly. Where they are no multiple of `replicas`, up to
    replicas - 1 slices come twice.
    """
    if replicas > 1:
        shares = math.ceil(len(slices.ids) / replicas)
        slices = slices.take(np.arange(shares * replicas) % len(slices.ids))
        sizes = range(1, batch_size // replicas + 1)
        batch_size = replicas * max(size for size in sizes if shares % size == 0)
    return (
        tf.data.Dataset.from_tensor_slices((slices.images_NHWC, slices.masks_NHW1))
        .batch(batch_size)
        .map(_as_float, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )


def _as_float(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(image, tf.float32) / FULL_SCALE, tf.cast(mask, tf.float32)
