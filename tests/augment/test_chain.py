"""Facts about `seg.augment.chain`: one function of a sample and its seed."""

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from seg.augment.chain import chain
from seg.augment.geometry import Flip, Rotate, Scale, Shift
from seg.augment.intensity import Brightness
from seg.contracts import SegError

SIZE = (14, 21)
SPATIAL = {
    "flip_horizontal": lambda p: Flip(p, "horizontal"),
    "flip_vertical": lambda p: Flip(p, "vertical"),
    "rotate": lambda p: Rotate(p, 20.0),
    "scale": lambda p: Scale(p, 0.85, 1.15),
    "shift": lambda p: Shift(p, 0.08),
}
ALL = SPATIAL | {"brightness": lambda p: Brightness(p, 0.1)}


@dataclass(frozen=True)
class Known:
    """A spatial transform that always draws the same map."""

    rows: tuple
    p: float = 1.0

    def matrix(self, seed, size_HW):
        return tf.constant(self.rows, tf.float32)


@dataclass(frozen=True)
class Power:
    """An intensity transform without chance."""

    exponent: float
    p: float = 1.0

    def change(self, image_HWC, seed):
        return image_HWC**self.exponent


@dataclass(frozen=True)
class Half:
    """Another one, which does not commute with it."""

    p: float = 1.0

    def change(self, image_HWC, seed):
        return image_HWC / 2


def turn(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return Known(((c, -s, 0), (s, c, 0), (0, 0, 1)))


def every(p, of=ALL):
    return {name: make(p) for name, make in of.items()}


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((*SIZE, 1), np.float32)


@pytest.fixture(scope="module")
def mask():
    return (np.random.default_rng(1).random((*SIZE, 1)) < 0.5).astype(np.float32)


def samples(augment, image, mask, n, seed=0, parallel=None):
    """Return the results for (seed, 0..n-1) inside a tf.data map: NHWC, NHW1."""
    image, mask = tf.constant(image), tf.constant(mask)
    dataset = tf.data.Dataset.range(n).map(
        lambda k: augment(image, mask, tf.stack([tf.constant(seed, tf.int64), k])),
        num_parallel_calls=parallel,
    )
    (pair,) = dataset.batch(n).as_numpy_iterator()
    return pair


def eager(augment, image, mask, n, seed=0):
    seeds = [tf.constant([seed, k], tf.int64) for k in range(n)]
    pairs = [augment(tf.constant(image), tf.constant(mask), s) for s in seeds]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


def assert_equal_pairs(a, b):
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def changed(pictures, original):
    return (np.abs(pictures - original) > 1e-4).any(axis=(1, 2, 3))


@pytest.fixture(params=[eager, samples], ids=["eager", "tf.data"])
def results(request):
    return request.param


def test_an_empty_chain_is_none():
    assert chain({}) is None


@pytest.mark.parametrize("name", ALL)
def test_at_p_0_a_transform_never_changes_anything(results, image, mask, name):
    found = results(chain({name: ALL[name](0.0)}), image, mask, 40)
    np.testing.assert_allclose(found[0], [image] * 40, atol=1e-6)
    np.testing.assert_array_equal(found[1], [mask] * 40)


@pytest.mark.parametrize("name", ALL)
def test_at_p_1_a_transform_always_changes_the_image(results, image, mask, name):
    found = results(chain({name: ALL[name](1.0)}), image, mask, 40)
    assert changed(found[0], image).all()
    assert changed(found[1], mask).any() == (name in SPATIAL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_a_transform_happens_as_often_as_its_p_says(image, mask, name, p):
    found = samples(chain({name: ALL[name](p)}), image, mask, 400)
    count = changed(found[0], image).sum()
    assert abs(count - 400 * p) < 5 * np.sqrt(400 * p * (1 - p))


def test_transforms_happen_independently_of_each_other(image, mask):
    flips = {name: SPATIAL[name](0.5) for name in ("flip_horizontal", "flip_vertical")}
    found = samples(chain(flips), image, mask, 400)[0]
    for variant in (image, image[::-1], image[:, ::-1], image[::-1, ::-1]):
        count = (found == variant).all(axis=(1, 2, 3)).sum()
        assert 100 - 45 < count < 100 + 45


def test_whether_it_happens_does_not_bias_how_strong_it_is(mask):
    grey = np.full((*SIZE, 1), 0.5, np.float32)
    found = samples(chain({"b": Brightness(0.3, 0.2)}), grey, mask, 600)[0][:, 0, 0, 0] - 0.5
    drawn = found[np.abs(found) > 1e-6]
    assert abs(drawn.mean()) < 6 * 0.2 / np.sqrt(3 * len(drawn))
    assert drawn.min() < -0.18
    assert drawn.max() > 0.18


def test_intensity_leaves_the_mask_alone(results, image, mask):
    found = results(chain({"b": Brightness(1.0, 0.5)}), image, mask, 20)
    np.testing.assert_array_equal(found[1], [mask] * 20)


def test_flips_in_a_chain_are_exactly_those_of_numpy(results, image, mask):
    augment = chain({"h": Flip(1.0, "horizontal"), "v": Flip(1.0, "vertical")})
    found = results(augment, image, mask, 1)
    np.testing.assert_array_equal(found[0][0], image[::-1, ::-1])
    np.testing.assert_array_equal(found[1][0], mask[::-1, ::-1])


def test_spatial_transforms_take_effect_in_their_order(results, image, mask):
    steps = {
        "flip": Flip(1.0, "horizontal"),
        "move": Known(((1, 0, 4), (0, 1, 0), (0, 0, 1))),
    }
    flip_then_move = np.pad(image[:, ::-1][:, 4:], ((0, 0), (0, 4), (0, 0)))
    move_then_flip = np.pad(image[:, 4:], ((0, 0), (0, 4), (0, 0)))[:, ::-1]
    found = results(chain(steps), image, mask, 1)[0][0]
    np.testing.assert_array_equal(found, flip_then_move)
    found = results(chain(dict(reversed(steps.items()))), image, mask, 1)[0][0]
    np.testing.assert_array_equal(found, move_then_flip)


def test_intensity_transforms_take_effect_in_their_order(results, image, mask):
    found = results(chain({"a": Half(), "b": Power(2.0)}), image, mask, 1)[0][0]
    np.testing.assert_allclose(found, (image / 2) ** 2, rtol=1e-5)
    found = results(chain({"b": Power(2.0), "a": Half()}), image, mask, 1)[0][0]
    np.testing.assert_allclose(found, image**2 / 2, rtol=1e-5)


def test_a_sample_is_interpolated_once(results, image, mask):
    there_and_back = {"there": turn(33), "back": turn(-33)}
    found = results(chain(there_and_back), image, mask, 1)
    np.testing.assert_allclose(found[0][0], image, atol=1e-4)
    np.testing.assert_array_equal(found[1][0], mask)


def test_equal_seeds_give_equal_results(results, image, mask):
    augment = chain(every(0.5))
    assert_equal_pairs(
        results(augment, image, mask, 10, seed=3), results(augment, image, mask, 10, seed=3)
    )


def test_other_seeds_give_other_results(image, mask):
    augment = chain(every(1.0))
    found = np.concatenate([samples(augment, image, mask, 40, seed=s)[0] for s in (0, 1, 2)])
    assert len({picture.tobytes() for picture in found}) == 120


def test_a_newly_built_chain_repeats_the_old_one(image, mask):
    assert_equal_pairs(
        samples(chain(every(0.5)), image, mask, 20), samples(chain(every(0.5)), image, mask, 20)
    )


@pytest.mark.parametrize("parallel", [2, 8])
def test_parallelism_changes_nothing(image, mask, parallel):
    augment = chain(every(0.5))
    assert_equal_pairs(
        samples(augment, image, mask, 64, parallel=1),
        samples(augment, image, mask, 64, parallel=parallel),
    )


def test_eager_and_mapped_agree(image, mask):
    augment = chain(every(0.5))
    a, b = eager(augment, image, mask, 20), samples(augment, image, mask, 20)
    np.testing.assert_allclose(a[0], b[0], atol=1e-4)
    assert np.mean(a[1] != b[1]) < 1e-3


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_images_stay_within_0_and_1_and_masks_binary(p):
    for picture in (np.zeros, np.ones):
        extreme = picture((*SIZE, 3), np.float32)
        image, mask = samples(chain(every(p)), extreme, extreme[..., :1], 300)
        assert image.dtype == mask.dtype == np.float32
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, 1}
        assert np.isfinite(image).all()


def test_a_colour_image_keeps_its_channels(results, mask):
    colour = np.random.default_rng(2).random((*SIZE, 3), np.float32)
    augment = chain(every(1.0, SPATIAL))
    together = results(augment, colour, mask, 4)[0]
    for c in range(3):
        alone = results(augment, colour[..., c : c + 1], mask, 4)[0]
        np.testing.assert_allclose(together[..., c : c + 1], alone, atol=1e-6)


def test_an_image_that_is_its_mask_stays_its_mask_through_the_whole_chain():
    y, x = np.mgrid[:48, :64]
    blob = (((y - 20) / 10.0) ** 2 + ((x - 35) / 14.0) ** 2 < 1).astype(np.float32)[..., None]
    image, mask = samples(chain(every(0.5, SPATIAL)), blob, blob, 200)
    between = (image > 0) & (image < 1)
    differs = (image >= 0.5) != (mask == 1)
    assert set(np.unique(mask)) == {0, 1}
    assert mask.sum(axis=(1, 2, 3)).min() > 100
    assert not (differs & ~between).any()
    assert differs.sum() <= 0.15 * between.sum()


def test_brightness_does_not_part_an_image_from_its_mask():
    y, x = np.mgrid[:48, :64]
    blob = (((y - 20) / 10.0) ** 2 + ((x - 35) / 14.0) ** 2 < 1).astype(np.float32)[..., None]
    image, mask = samples(chain(every(1.0)), blob, blob, 100)
    assert image[mask == 1].min() > 0.14
    assert image[mask == 0].max() < 0.86


def test_what_is_no_transform_is_refused_and_not_ignored():
    with pytest.raises(SegError, match="augment.odd: must have p .* Received: dict"):
        chain({"odd": {"p": 1}})


@pytest.mark.parametrize("p", [-0.1, 5])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(SegError, match=f"augment.bright.p must lie in 0..1. Received: {p}"):
        chain({"bright": Brightness(p=p, max_delta=0.1)})
