"""Facts about `seg.data.pipeline`: which sample comes when, and in which form."""

from collections import Counter
from itertools import pairwise

import cv2
import numpy as np
import pytest
import tensorflow as tf

from seg.augment.chain import chain
from seg.augment.geometry import Rotate, Shift
from seg.augment.intensity import Brightness
from seg.contracts import Classes
from seg.data import folder
from seg.data.images import fit_image, fit_mask, read_image, read_mask
from seg.data.pipeline import Slices, endless, load, once

AUGMENT = {"r": Rotate(0.5, 30.0), "s": Shift(0.5, 0.2), "b": Brightness(0.5, 0.3)}


@pytest.fixture(scope="module")
def cases(cohort):
    return folder.read(cohort, r"^(p\d+)_")


def numbered(n, height=2, width=3):
    """Return slices of which number i is grey value 100 i; odd ones have a full mask."""
    number = np.arange(n).reshape(n, 1, 1, 1)
    images = np.broadcast_to(number * 100, (n, height, width, 1)).astype(np.uint16)
    masks = np.broadcast_to(number % 2, (n, height, width, 1)).astype(np.uint8)
    return Slices(tuple(f"s{i}" for i in range(n)), images, masks)


def patterned(n, size=(10, 14)):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 65536, (n, *size, 1), np.uint16)
    masks = (rng.random((n, *size, 1)) < 0.5).astype(np.uint8)
    return Slices(tuple(f"s{i}" for i in range(n)), images, masks)


def numbers(image_BHWC):
    return np.rint(image_BHWC[:, 0, 0, 0] * 65535 / 100).astype(int).tolist()


def drawn(dataset, batches):
    """Return the numbers of the first samples of a stream of `numbered` slices."""
    return [i for image, _ in dataset.take(batches).as_numpy_iterator() for i in numbers(image)]


def passes(n, count, seed):
    stream = drawn(endless(numbered(n), n, seed), count)
    return [tuple(stream[i : i + n]) for i in range(0, n * count, n)]


def assert_equal_streams(a, b, batches):
    for x, y in zip(
        a.take(batches).as_numpy_iterator(), b.take(batches).as_numpy_iterator(), strict=True
    ):
        np.testing.assert_array_equal(x[0], y[0])
        np.testing.assert_array_equal(x[1], y[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_load_gives_16_bit_images_and_binary_masks_at_the_asked_size(cases, channels):
    slices = load(cases, (16, 24), channels, Classes(127))
    assert slices.images_NHWC.dtype == np.uint16
    assert slices.images_NHWC.shape == (24, 16, 24, channels)
    assert slices.images_NHWC.max() > 40000
    assert slices.masks_NHW1.dtype == np.uint8
    assert slices.masks_NHW1.shape == (24, 16, 24, 1)
    assert np.unique(slices.masks_NHW1).tolist() == [0, 1]


def test_load_keeps_the_order_and_the_pairs(cases):
    slices = load(cases, (16, 24), 1, Classes(127))
    members = [s for case in cases for s in case.slices]
    assert slices.ids == tuple(s.id for s in members)
    for i in (0, 9, 23):
        image_HWC = fit_image(read_image(members[i].image, 1), (16, 24))
        mask_HW = fit_mask(read_mask(members[i].mask, Classes(127)), (16, 24))
        np.testing.assert_array_equal(slices.images_NHWC[i], image_HWC)
        np.testing.assert_array_equal(slices.masks_NHW1[i, ..., 0], mask_HW)


def test_load_applies_the_mask_threshold(cases):
    assert load(cases, (16, 16), 1, Classes(255)).masks_NHW1.max() == 0


def test_as_float_spans_exactly_0_to_1():
    images = np.array([0, 13107, 65535], np.uint16).reshape(1, 1, 3, 1)
    slices = Slices(("a",), images, np.array([0, 1, 1], np.uint8).reshape(1, 1, 3, 1))
    image, mask = slices.as_float()
    assert image.dtype == mask.dtype == np.float32
    np.testing.assert_allclose(image.ravel(), [0, 0.2, 1], rtol=1e-6)
    assert image.max() == 1
    assert mask.ravel().tolist() == [0, 1, 1]


def test_take_gives_the_slices_at_the_places_in_their_order():
    taken = numbered(5).take([3, 0, 3])
    assert taken.ids == ("s3", "s0", "s3")
    assert taken.images_NHWC[:, 0, 0, 0].tolist() == [300, 0, 300]
    assert taken.masks_NHW1[:, 0, 0, 0].tolist() == [1, 0, 1]


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


def test_equal_seeds_give_identical_streams():
    slices, augment = patterned(5), chain(AUGMENT)
    assert_equal_streams(endless(slices, 4, 7, augment), endless(slices, 4, 7, augment), 10)


def test_a_second_iteration_repeats_the_stream():
    dataset = endless(patterned(5), 4, 7, chain(AUGMENT))
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
    dataset = endless(patterned(7), 4, 7, chain(AUGMENT))
    assert_equal_streams(dataset, dataset.with_options(single), 12)


def test_sample_k_is_augmented_by_the_seed_and_k():
    def spy(image, mask, seed):
        return image, tf.cast(seed, tf.int64)

    stream = endless(numbered(3), 4, 5, spy).take(3).as_numpy_iterator()
    seeds = np.concatenate([seed for _, seed in stream])
    assert seeds.tolist() == [[5, k] for k in range(12)]


def test_a_slice_is_augmented_anew_in_every_pass():
    stream = endless(patterned(1), 8, 0, chain({"r": Rotate(1.0, 30.0)}))
    images = next(stream.as_numpy_iterator())[0]
    assert len({image.tobytes() for image in images}) == 8


def test_training_batches_are_always_full():
    shapes = {(image.shape, mask.shape) for image, mask in endless(numbered(7), 4, seed=0).take(9)}
    assert shapes == {((4, 2, 3, 1), (4, 2, 3, 1))}


def test_the_shape_of_a_training_batch_is_static():
    image, mask = endless(patterned(3), 4, 0, chain(AUGMENT)).element_spec
    assert image == tf.TensorSpec((4, 10, 14, 1), tf.float32)
    assert mask == tf.TensorSpec((4, 10, 14, 1), tf.float32)


@pytest.mark.parametrize("augment", [None, chain(AUGMENT)], ids=["plain", "augmented"])
def test_training_samples_are_floats_over_0_to_1_with_binary_masks(augment):
    for image, mask in endless(patterned(5), 4, 0, augment).take(15).as_numpy_iterator():
        assert image.dtype == mask.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, 1}


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


def test_once_gives_what_as_float_gives():
    slices = patterned(4)
    (batch,) = once(slices, 4).as_numpy_iterator()
    for found, expected in zip(batch, slices.as_float(), strict=True):
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


def test_labels_are_loaded_as_indices_at_the_asked_size(tmp_path):
    stripes = np.zeros((8, 8), np.uint8)
    stripes[:, 2:4], stripes[:, 4:] = 40, 7
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), stripes)
    slices = load(folder.read(tmp_path, None), (4, 4), 1, Classes(0, {"x": 7, "y": 40}))
    assert slices.masks_NHW1.dtype == np.uint8
    assert slices.masks_NHW1[0, ..., 0].tolist() == [[0, 2, 1, 1]] * 4


def test_augmented_masks_hold_the_same_indices_each_moved_like_a_mask_of_its_own():
    """Between the classes 1 and 3 the mask never passes through 2."""
    index = np.random.default_rng(1).choice([0, 1, 3], (10, 14, 1)).astype(np.float32)
    augment, image = chain(AUGMENT), tf.zeros((10, 14, 1))
    for k in range(8):
        _, moved = augment(image, tf.constant(index), tf.constant([0, k], tf.int64))
        assert set(np.unique(moved)) == {0, 1, 3}
        for c in (1, 3):
            single = tf.constant((index == c).astype(np.float32))
            _, alone = augment(image, single, tf.constant([0, k], tf.int64))
            np.testing.assert_array_equal(moved.numpy() == c, alone.numpy() == 1)


def test_the_stream_gives_indices_as_floats():
    plain = patterned(3)
    index = np.random.default_rng(1).choice([0, 1, 3], plain.masks_NHW1.shape).astype(np.uint8)
    slices = Slices(plain.ids, plain.images_NHWC, index)
    for batches in (endless(slices, 3, 0).take(1), once(slices, 3)):
        ((_, mask),) = batches.as_numpy_iterator()
        assert mask.dtype == np.float32
        assert sorted(mask.ravel()) == sorted(index.ravel())
