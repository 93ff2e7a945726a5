"""Facts about `seg.augment.intensity`."""

import numpy as np
import pytest
import tensorflow as tf

from seg.augment.intensity import Brightness


@pytest.fixture(params=["eager", "tf.data"])
def changes(request):
    """Return a function that gives the changed images of N seeds, NHWC."""

    def eager(transform, image, n):
        return np.stack(
            [transform.change(tf.constant(image), tf.constant([4, k])) for k in range(n)]
        )

    def mapped(transform, image, n):
        dataset = tf.data.Dataset.range(n).map(
            lambda k: transform.change(tf.constant(image), tf.stack([4, k]))
        )
        return np.stack(list(dataset.as_numpy_iterator()))

    return eager if request.param == "eager" else mapped


def test_every_pixel_is_raised_by_one_value(changes):
    image = np.random.default_rng(0).uniform(0.3, 0.7, (5, 7, 3)).astype(np.float32)
    for changed in changes(Brightness(1.0, 0.2), image, 20):
        delta = changed - image
        np.testing.assert_allclose(delta, delta[0, 0, 0], atol=1e-6)
        assert abs(delta[0, 0, 0]) > 1e-5


def test_the_value_is_uniform_within_its_bounds(changes):
    deltas = changes(Brightness(1.0, 0.2), np.full((1, 1, 1), 0.5, np.float32), 300).ravel() - 0.5
    assert -0.2001 <= deltas.min() < -0.18
    assert 0.18 < deltas.max() <= 0.2001
    assert abs(deltas.mean()) < 6 * 0.2 / np.sqrt(3 * 300)
    assert len(set(deltas)) > 290


def test_grey_values_are_cut_to_0_and_1(changes):
    image = np.array([0, 0.5, 1], np.float32).reshape(1, 3, 1)
    changed = changes(Brightness(1.0, 0.4), image, 60)
    assert changed.dtype == np.float32
    assert changed.min() == 0
    assert changed.max() == 1
    for dark, middle, bright in changed.reshape(60, 3):
        delta = middle - 0.5
        np.testing.assert_allclose([dark, bright], [max(0, delta), min(1, 1 + delta)], atol=1e-6)


def test_equal_seeds_give_equal_images(changes):
    image = np.random.default_rng(0).random((4, 6, 1), np.float32)
    transform = Brightness(1.0, 0.3)
    np.testing.assert_array_equal(changes(transform, image, 9), changes(transform, image, 9))


def test_eager_and_mapped_agree():
    image = np.random.default_rng(0).random((4, 6, 1), np.float32)
    transform, seed = Brightness(1.0, 0.3), tf.constant([1, 2])
    (mapped,) = tf.data.Dataset.from_tensors(seed).map(lambda s: transform.change(image, s))
    np.testing.assert_allclose(mapped, transform.change(tf.constant(image), seed), atol=1e-7)
