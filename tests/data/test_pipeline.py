"""Facts about `seg.data.pipeline`: which sample comes when, and in which form."""

import hashlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.config import disable_op_determinism

from seg.augment.artefacts import GaussianNoise
from seg.augment.chain import chain
from seg.augment.deform import Elastic
from seg.augment.geometry import Rotate, Shift
from seg.augment.intensity import Brightness
from seg.augment.mixing import CutMix, MixUp
from seg.data.cache import Slices, in_memory
from seg.data.pipeline import endless, once

AUGMENT = {
    "r": Rotate(0.5, [-30.0, 30.0], None),
    "s": Shift(0.5, [-0.2, 0.2]),
    "e": Elastic(0.5, [5.0, 5.0], 1.5, 14),
    "b": Brightness(0.5, [1.0, 1.0], [-0.3, 0.3]),
    "n": GaussianNoise(0.5, [0.0, 0.1]),
}
MIXED = AUGMENT | {"m": MixUp(0.5, 1.0), "c": CutMix(0.5, 1.0)}


@dataclass
class Spy:
    """Show seed and number: of a sample in the image's two columns, of a batch in its masks."""

    mixing: tuple

    def sample(self, image_HWC, mask_HW1, seed, k):
        image_HWC[:, 0], image_HWC[:, 1] = seed, k
        return image_HWC, mask_HW1

    def batch(self, images_BHWC, masks_BHW1, seed, k):
        masks = np.empty_like(masks_BHW1)
        masks[:, :, 0], masks[:, :, 1] = seed, k
        return images_BHWC, masks


def numbered(n, height=2, width=3):
    """Return slices of which number i is grey value 100 i; odd ones have a full mask."""
    number = np.arange(n).reshape(n, 1, 1, 1)
    images = np.broadcast_to(number * 100, (n, height, width, 1)).astype(np.uint16)
    masks = np.broadcast_to(number % 2, (n, height, width, 1)).astype(np.uint8)
    return in_memory([f"s{i}" for i in range(n)], images, masks)


def patterned(n, size=(10, 14), values=(0, 1)):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 65536, (n, *size, 1), np.uint16)
    masks = rng.choice(np.uint8(values), (n, *size, 1))
    return in_memory([f"s{i}" for i in range(n)], images, masks)


def numbers(image_BHWC):
    return np.rint(image_BHWC[:, 0, 0, 0] * 65535 / 100).astype(int).tolist()


def drawn(dataset, batches):
    """Return the numbers of the first samples of a stream of `numbered` slices."""
    return [i for image, _ in dataset.take(batches).as_numpy_iterator() for i in numbers(image)]


def passes(n, count, seed):
    stream = drawn(endless(numbered(n), n, seed), count)
    return [tuple(stream[i : i + n]) for i in range(0, n * count, n)]


def digest():
    """Return a hash of the first 12 batches of a stream with every kind of augmentation."""
    found = hashlib.sha256()
    for pair in endless(patterned(7), 4, 7, chain(MIXED)).take(12).as_numpy_iterator():
        found.update(pair[0].tobytes() + pair[1].tobytes())
    return found.hexdigest()


def side_by_side(stream):
    """Return how many slices were read at the same time."""
    lock, reading, most = threading.Lock(), set(), [0]

    def read(i):
        with lock:
            reading.add(threading.get_ident())
            most[0] = max(most[0], len(reading))
        time.sleep(0.005)
        with lock:
            reading.remove(threading.get_ident())
        return np.zeros((2, 3, 1), np.uint16), np.zeros((2, 3, 1), np.uint8)

    slices = Slices(tuple(map(str, range(20))), (2, 3, 1), read, (False,) * 20)
    list(stream(slices, 4, 0).take(5))
    return most[0]


def assert_equal_streams(a, b, batches):
    for x, y in zip(
        a.take(batches).as_numpy_iterator(), b.take(batches).as_numpy_iterator(), strict=True
    ):
        np.testing.assert_array_equal(x[0], y[0])
        np.testing.assert_array_equal(x[1], y[1])


@pytest.mark.parametrize(("n", "batch"), [(1, 2), (2, 2), (7, 4), (12, 5), (3, 8)])
def test_every_pass_takes_each_slice_exactly_once(n, batch):
    stream = drawn(endless(numbered(n), batch, seed=3), 6 * n)
    for start in range(0, 6 * batch * n, n):
        assert sorted(stream[start : start + n]) == list(range(n))


def test_consecutive_passes_have_different_orders():
    assert all(a != b for a, b in pairwise(passes(12, 40, seed=0)))


def test_an_order_hardly_ever_returns():
    assert len(set(passes(12, 100, seed=0))) >= 95


def test_no_place_of_the_order_favours_a_slice():
    counts = Counter(
        (place, i) for order in passes(6, 300, seed=1) for place, i in enumerate(order)
    )
    assert len(counts) == 36
    assert max(abs(count - 50) for count in counts.values()) < 40


@pytest.mark.parametrize("parts", [{}, AUGMENT, MIXED], ids=["plain", "augmented", "mixed"])
def test_equal_seeds_give_identical_streams(parts):
    slices = patterned(5)
    assert_equal_streams(
        endless(slices, 4, 7, chain(parts)), endless(slices, 4, 7, chain(parts)), 6
    )


def test_a_second_iteration_repeats_the_stream():
    dataset = endless(patterned(5), 4, 7, chain(MIXED))
    assert_equal_streams(dataset, dataset, 10)


def test_another_seed_draws_another_order():
    a, b = (drawn(endless(numbered(12), 12, seed), 5) for seed in (0, 1))
    assert a != b


def test_another_seed_augments_differently():
    one = patterned(1)
    streams = [
        np.concatenate([x for x, _ in endless(one, 4, seed, chain(AUGMENT)).take(3)])
        for seed in (0, 1)
    ]
    changed = [(a != b).any() for a, b in zip(*streams, strict=True)]
    assert np.mean(changed) > 0.5


def test_the_number_of_threads_changes_nothing():
    single = tf.data.Options()
    single.threading.private_threadpool_size = 1
    single.threading.max_intra_op_parallelism = 1
    single.autotune.enabled = False
    dataset = endless(patterned(7), 4, 7, chain(MIXED))
    assert_equal_streams(dataset, dataset.with_options(single), 12)


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
@pytest.mark.parametrize("stream", [endless, once])
def test_slices_are_read_side_by_side(stream):
    assert side_by_side(stream) > 1


@pytest.mark.skipif(os.cpu_count() < 2, reason="needs two cores")
def test_where_determinism_is_asked_for_the_stream_is_the_same_and_as_parallel():
    usual = digest()
    tf.config.experimental.enable_op_determinism()
    try:
        assert digest() == usual
        assert side_by_side(endless) > 1
    finally:
        disable_op_determinism()


def test_sample_k_is_augmented_by_the_seed_and_k():
    stream = endless(numbered(3), 4, 5, Spy(())).take(3).as_numpy_iterator()
    images = np.concatenate([image for image, _ in stream])
    assert images[:, 0, :2, 0].tolist() == [[5, k] for k in range(12)]


def test_batch_k_is_mixed_by_the_seed_and_k():
    stream = endless(numbered(3), 4, 5, Spy((CutMix(1.0, 1.0),))).take(3).as_numpy_iterator()
    assert [mask[0, 0, :2, 0].tolist() for _, mask in stream] == [[5, k] for k in range(3)]


def test_the_stream_is_made_of_what_the_chain_gives_for_each_number():
    slices, augment = patterned(5), chain(MIXED)
    whole = {slices.sample(i)[0].tobytes(): i for i in range(5)}
    order = [
        whole[image.tobytes()]
        for images, _ in endless(slices, 4, 7).take(6).as_numpy_iterator()
        for image in images
    ]
    for b, found in enumerate(endless(slices, 4, 7, augment).take(6).as_numpy_iterator()):
        ks = range(4 * b, 4 * b + 4)
        pairs = [augment.sample(*slices.sample(order[k]), 7, k) for k in ks]
        images, masks = (np.stack(part).astype(np.float32) for part in zip(*pairs, strict=True))
        expected = augment.batch(images, masks, 7, b)
        for part, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, wanted)


def test_a_slice_is_augmented_anew_in_every_pass():
    stream = endless(patterned(1), 8, 0, chain({"r": Rotate(1.0, [-30.0, 30.0], None)}))
    images = next(stream.as_numpy_iterator())[0]
    assert len({image.tobytes() for image in images}) == 8


def test_augmentation_leaves_the_slices_as_they_are():
    slices, twin = patterned(3), patterned(3)
    list(endless(slices, 3, 0, chain(MIXED)).take(5))
    for part, kept in zip(slices.samples(range(3)), twin.samples(range(3)), strict=True):
        np.testing.assert_array_equal(part, kept)


@pytest.mark.parametrize("parts", [{}, MIXED], ids=["plain", "mixed"])
def test_training_batches_are_always_full(parts):
    stream = endless(numbered(7), 4, 0, chain(parts)).take(9)
    shapes = {(image.shape, mask.shape) for image, mask in stream}
    assert shapes == {((4, 2, 3, 1), (4, 2, 3, 1))}


@pytest.mark.parametrize("parts", [{}, AUGMENT, MIXED], ids=["plain", "augmented", "mixed"])
def test_the_shape_of_a_training_batch_is_static(parts):
    image, mask = endless(patterned(3), 4, 0, chain(parts)).element_spec
    assert image == tf.TensorSpec((4, 10, 14, 1), tf.float32)
    assert mask == tf.TensorSpec((4, 10, 14, 1), tf.float32)


@pytest.mark.parametrize("parts", [{}, AUGMENT], ids=["plain", "augmented"])
def test_training_samples_are_floats_over_0_to_1_with_binary_masks(parts):
    for image, mask in endless(patterned(5), 4, 0, chain(parts)).take(15).as_numpy_iterator():
        assert image.dtype == mask.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, 1}


def test_masks_of_classes_keep_their_indices_through_all_but_mixup():
    augment = chain(AUGMENT | {"c": CutMix(0.5, 1.0)}, binary=False)
    stream = endless(patterned(5, values=(0, 1, 3)), 4, 0, augment)
    for _, mask in stream.take(10).as_numpy_iterator():
        assert set(np.unique(mask)) == {0, 1, 3}


def test_image_and_mask_stay_a_pair():
    for image, mask in endless(numbered(7), 4, seed=0).take(9).as_numpy_iterator():
        assert (mask[:, 0, 0, 0] == np.array(numbers(image)) % 2).all()


@pytest.mark.parametrize(("n", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (2, [2])])
def test_once_keeps_the_order_and_ends_with_the_rest(n, sizes):
    batches = list(once(numbered(n), 3).as_numpy_iterator())
    assert [len(image) for image, _ in batches] == sizes
    assert drawn(once(numbered(n), 3), -1) == list(range(n))
    masks = np.concatenate([mask for _, mask in batches])[:, 0, 0, 0]
    assert masks.tolist() == [i % 2 for i in range(n)]


def test_once_gives_what_samples_gives():
    slices = patterned(4)
    (batch,) = once(slices, 4).as_numpy_iterator()
    for found, expected in zip(batch, slices.samples(range(4)), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("n", "batch", "replicas", "size"),
    [(12, 4, 2, 4), (10, 8, 2, 2), (7, 4, 2, 4), (8, 4, 1, 4), (9, 8, 4, 4), (1, 4, 4, 4)],
)
def test_all_replicas_always_get_equal_shares(n, batch, replicas, size):
    dataset = once(numbered(n), batch, replicas)
    sizes = [len(image) for image, _ in dataset]
    assert set(sizes) == {size}
    stream = drawn(dataset, -1)
    assert stream[:n] == list(range(n))
    assert len(stream) - n < replicas


def test_the_stream_gives_indices_as_floats():
    slices = patterned(3, values=(0, 1, 3))
    index = np.stack([slices.read(i)[1] for i in range(3)])
    for batches in (endless(slices, 3, 0).take(1), once(slices, 3)):
        ((_, mask),) = batches.as_numpy_iterator()
        assert mask.dtype == np.float32
        assert sorted(mask.ravel()) == sorted(index.ravel())
