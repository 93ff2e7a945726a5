"""Facts about `seg.augment.mixing`: what a sample takes of the one before it.

Axes: B batch, H height, W width, C channels.
"""

import numpy as np
import pytest
from scipy import stats

from seg.augment.mixing import CutMix, MixUp
from seg.augment.ranges import generator


def numbered(n=6, size=(20, 30), channels=1):
    """Return images of which number b is b everywhere, and masks of its class index b % 4."""
    number = np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1)
    shape = (n, *size, 1)
    images = np.broadcast_to(number, (n, *size, channels)).copy()
    return images, np.broadcast_to(number % 4, shape).copy()


def halves(n=6, size=(20, 30)):
    rng = np.random.default_rng(0)
    images = rng.random((n, *size, 3), np.float32)
    return images, (images[..., :1] < 0.5).astype(np.float32)


def mixed(transform, batch, k=0):
    return transform.mix(*batch, generator(5, k, stream=1))


def weights(transform, n, k=0):
    """Return what part of each of n samples is its own, B."""
    images, masks = np.eye(n, dtype=np.float32)[:, None, :, None], np.zeros((n, 1, n, 1), "f4")
    return np.diag(mixed(transform, (images, masks), k)[0][:, 0, :, 0])


def pasted(transform, k, size=(20, 30), n=6):
    """Return where samples hold what is not their own, BHW."""
    images = mixed(transform, numbered(n, size), k)[0][..., 0]
    return images != np.arange(n)[:, None, None]


@pytest.mark.parametrize("transform", [MixUp(0.0, 0.2), CutMix(0.0, 1.0)], ids=str)
def test_at_p_0_nothing_changes(transform):
    batch = halves()
    for found, before in zip(mixed(transform, batch), batch, strict=True):
        np.testing.assert_array_equal(found, before)


@pytest.mark.parametrize("transform", [MixUp(1.0, 0.2), CutMix(1.0, 1.0)], ids=str)
def test_the_arrays_given_stay_and_float32_stays_float32(transform):
    batch = halves()
    before = [part.copy() for part in batch]
    for part in batch:
        part.flags.writeable = False
    found = mixed(transform, batch)
    for part, kept, new in zip(batch, before, found, strict=True):
        np.testing.assert_array_equal(part, kept)
        assert (new.dtype, new.shape) == (np.float32, kept.shape)
        assert (new != kept).any()


@pytest.mark.parametrize("transform", [MixUp(0.7, 0.2), CutMix(0.7, 1.0)], ids=str)
def test_a_mix_is_drawn_by_its_generator_alone(transform):
    first, again = ([mixed(transform, halves(), k)[0] for k in range(12)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({part.tobytes() for part in first}) == 12


@pytest.mark.parametrize("transform", [MixUp(1.0, 0.2), CutMix(1.0, 1.0)], ids=str)
def test_a_sample_alone_stays_itself(transform):
    batch = halves(n=1)
    for found, before in zip(mixed(transform, batch), batch, strict=True):
        np.testing.assert_allclose(found, before, atol=1e-6)


@pytest.mark.parametrize("transform", [MixUp(1.0, 1.0), CutMix(1.0, 1.0)], ids=str)
def test_an_image_that_is_its_mask_stays_its_mask(transform):
    masks = halves()[1]
    for k in range(10):
        found = mixed(transform, (masks, masks.copy()), k)
        np.testing.assert_array_equal(*found)


def test_mixup_blends_each_sample_with_the_one_before_it():
    images, masks = halves()
    transform = MixUp(1.0, 1.0)
    own = weights(transform, 6)
    found = mixed(transform, (images, masks))
    assert len(set(own)) == 6
    for after, before in zip(found, (images, masks), strict=True):
        for b in range(6):
            expected = own[b] * before[b] + (1 - own[b]) * before[b - 1]
            np.testing.assert_allclose(after[b], expected, atol=1e-6)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_mixup_blends_as_often_as_its_p_says(p):
    own = np.concatenate([weights(MixUp(p, 1.0), 50, k) for k in range(12)])
    assert abs((own < 1).sum() - 600 * p) < 5 * np.sqrt(600 * p * (1 - p))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_weights_of_mixup_are_of_a_beta_distribution(alpha):
    own = np.concatenate([weights(MixUp(1.0, alpha), 50, k) for k in range(12)])
    assert stats.kstest(own, stats.beta(alpha, alpha).cdf).statistic < 2 / np.sqrt(600)


def test_whether_mixup_happens_says_nothing_of_its_weight():
    own = np.concatenate([weights(MixUp(0.4, 1.0), 50, k) for k in range(24)])
    chosen = own[own < 1]
    assert stats.kstest(chosen, stats.uniform.cdf).statistic < 2 / np.sqrt(len(chosen))


def test_mixup_says_that_it_blends_masks_and_cutmix_that_it_does_not():
    assert MixUp.blends_masks
    assert not CutMix.blends_masks


def test_cutmix_pastes_one_rectangle_of_the_sample_before_at_its_place():
    images, masks = halves()
    transform = CutMix(1.0, 1.0)
    for k in range(10):
        found = mixed(transform, (images, masks), k)
        where = pasted(transform, k)
        for b in range(6):
            rows, columns = where[b].any(axis=1), where[b].any(axis=0)
            np.testing.assert_array_equal(where[b], rows[:, None] & columns)
            for edge in (rows, columns):
                assert np.abs(np.diff(edge.astype(int))).sum() <= 2
            for after, before in zip(found, (images, masks), strict=True):
                np.testing.assert_array_equal(after[b][where[b]], before[b - 1][where[b]])
                np.testing.assert_array_equal(after[b][~where[b]], before[b][~where[b]])


def test_cutmix_takes_the_sample_before_as_it_was_given():
    """Not with what that one has just got itself: else numbers of two before would come."""
    images, masks = numbered()
    for k in range(20):
        found, moved = mixed(CutMix(1.0, 0.5), (images, masks), k)
        for b in range(6):
            assert set(np.unique(found[b])) <= {b, (b - 1) % 6}
            assert set(np.unique(moved[b])) <= {b % 4, (b - 1) % 6 % 4}


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_cutmix_pastes_as_often_as_its_p_says(p):
    count = sum(pasted(CutMix(p, 50.0), k).any(axis=(1, 2)).sum() for k in range(100))
    assert abs(count - 600 * p) < 5 * np.sqrt(600 * p * (1 - p))


def test_the_rectangle_of_cutmix_has_the_area_drawn_and_the_shape_of_the_picture():
    """With a large alpha nearly half: those which lie inside the picture are not cut off."""
    where = np.concatenate([pasted(CutMix(1.0, 1e4), k, (40, 60)) for k in range(60)])
    frame = np.ones((40, 60), bool)
    frame[1:-1, 1:-1] = False
    whole = where[~(where & frame).any(axis=(1, 2))]
    assert len(whole) > 10
    assert whole.mean() == pytest.approx(0.5, abs=0.02)
    side = np.sqrt(0.5)
    np.testing.assert_allclose(whole.any(axis=2).sum(axis=1), 40 * side, atol=2)
    np.testing.assert_allclose(whole.any(axis=1).sum(axis=1), 60 * side, atol=2)


def test_what_would_lie_outside_of_the_picture_is_cut_off():
    """A square of side s about a uniform centre keeps s - s^2 / 4 of the picture's side."""
    where = np.concatenate([pasted(CutMix(1.0, 1e4), k, (40, 60)) for k in range(60)])
    side = np.sqrt(0.5)
    assert where.mean() == pytest.approx((side - side**2 / 4) ** 2, abs=0.03)


def test_every_pixel_may_be_pasted():
    where = np.concatenate([pasted(CutMix(1.0, 1.0), k) for k in range(30)])
    assert where.mean(axis=0).min() > 0.05
    assert where.mean(axis=0).max() < 0.6


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_an_alpha_that_beta_has_not_is_refused(mix, alpha):
    with pytest.raises(ValueError, match=f"alpha must be more than 0. Received: {alpha}"):
        mix(0.5, alpha)
