"""From slices to batches: draw, augment, batch, prefetch.

Axes: B batch, N slices, H height, W width, C channels.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from seg.contracts import Augment
from seg.data.cache import Slices
from seg.data.numpy_call import numpy_call

Pair = tuple[tf.Tensor, tf.Tensor]
# Which of several workers, and of how many: each gets as many neighbouring samples of every batch.
Share = tuple[int, int]
WHOLE: Share = (0, 1)


def endless(
    slices: Slices, batch_size: int, seed: int, augment: Augment | None = None, share: Share = WHOLE
) -> tf.data.Dataset:
    """Return a worker's share of an endless stream of full training batches.

    Sample k of the stream is a pure function of (seed, k): every pass over the N slices takes them
    in an order of its own, and every sample its own augmentation, whatever the parallelism.
    A worker makes its own samples only, unless they are mixed with others of their batch.

    Returns:
        batches (image float32 BHWC over 0..1, mask float32 BHW1 of class indices).
    """
    n, (worker, workers) = len(slices.ids), share
    n_own = batch_size // workers
    own = slice(worker * n_own, (worker + 1) * n_own)

    def own_sample(j: tf.Tensor) -> Pair:
        return sample(j // n_own * batch_size + own.start + j % n_own)

    def sample(k: tf.Tensor) -> Pair:
        order = tf.random.stateless_uniform(
            [2], tf.stack([tf.constant(seed, tf.int64), k // n]), None, None, tf.int32
        )
        i = tf.random.experimental.index_shuffle(k % n, seed=order, max_index=n - 1)
        return numpy_call(augmented, [i, k], slices.shape_HWC)

    def augmented(i: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image_HWC, mask_HW1 = slices.sample(int(i))
        if augment:
            image_HWC, mask_HW1 = augment.sample(image_HWC, mask_HW1, seed, int(k))
        return image_HWC, mask_HW1.astype(np.float32)

    def mixed(k: tf.Tensor, batch: Pair) -> Pair:
        return numpy_call(
            lambda k, images, masks: augment.batch(images, masks, seed, int(k)),
            [k, *batch],
            (batch_size, *slices.shape_HWC),
        )

    mixing = bool(augment and augment.mixing)
    batches = (
        tf.data.Dataset.counter()
        .map(sample if mixing else own_sample, tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size if mixing else n_own, drop_remainder=True)
    )
    if mixing:
        batches = batches.enumerate().map(mixed, tf.data.AUTOTUNE, deterministic=True)
        batches = batches.map(lambda images, masks: (images[own], masks[own]))
    return batches.prefetch(tf.data.AUTOTUNE)


def once(
    slices: Slices, batch_size: int, replicas: int = 1, share: Share = WHOLE
) -> tf.data.Dataset:
    """Return batches of all slices in their order, the last one as large as what is left.

    With several replicas all batches have one size, since a replica without a sample fails: the
    largest that divides the slices evenly. Where they are no multiple of `replicas`, up to
    replicas - 1 slices come twice. A worker gets its share of each.
    """
    places, (worker, workers) = np.arange(len(slices.ids)), share
    if replicas > 1:
        shares = math.ceil(len(places) / replicas)
        places = np.resize(places, shares * replicas)
        sizes = range(1, batch_size // replicas + 1)
        batch_size = replicas * max(size for size in sizes if shares % size == 0)
    if workers > 1:
        places = places.reshape(-1, workers, batch_size // workers)[:, worker].ravel()

    def plain(i: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image_HWC, mask_HW1 = slices.sample(int(i))
        return image_HWC, mask_HW1.astype(np.float32)

    return (
        tf.data.Dataset.from_tensor_slices(places)
        .map(
            lambda i: numpy_call(plain, [i], slices.shape_HWC),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        .batch(batch_size // workers, drop_remainder=replicas > 1)
        .prefetch(tf.data.AUTOTUNE)
    )
