"""Facts about `seg.infer.probabilities`: models that are formulas, so that answers are known."""

import numpy as np
import pytest
from scipy.special import expit

from seg.data.images import FULL_SCALE
from seg.infer.probabilities import Views, probabilities

SIZE = (16, 16)


def pointwise(images_BHWC):
    """Logits that look at one pixel only: windows, and flips, see the same."""
    return 8 * images_BHWC[..., :1] - 4


def lopsided(images_BHWC):
    """Logits that depend on the place in the view: the row and the column."""
    rows, columns = np.mgrid[: images_BHWC.shape[1], : images_BHWC.shape[2]]
    logits_HW = 0.1 * rows - 0.2 * columns
    return np.broadcast_to(logits_HW[None, ..., None], (*images_BHWC.shape[:3], 1))


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, FULL_SCALE, (height, width, 1)).astype(np.uint16)


def wanted(image):
    return expit(8 * (image.astype(np.float32) / FULL_SCALE) - 4)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_say_together_what_the_whole_would(overlap):
    """An image of five windows by two, at the scale of one."""
    image = picture(70, 21)
    (found,) = probabilities(pointwise, [image], Views(SIZE, SIZE, overlap))
    assert found.shape == (70, 21, 1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted(image), atol=1e-6)


def test_where_the_window_is_the_image_both_ways_are_one():
    image = picture(16, 16)
    whole = probabilities(pointwise, [image], Views(SIZE))
    tiled = probabilities(pointwise, [image], Views(SIZE, SIZE))
    np.testing.assert_array_equal(whole, tiled)
    np.testing.assert_array_equal(whole[0], wanted(image))


def test_an_image_twice_as_large_as_those_learned_from_keeps_its_scale():
    """Learned from 32 x 32 in 16 x 16: what is 64 wide is seen at 32, in three windows by three."""
    seen = []

    def watched(images_BHWC):
        seen.append(images_BHWC)
        return pointwise(images_BHWC)

    flat = np.kron(picture(32, 32)[..., 0], np.ones((2, 2), np.uint16))[..., None]
    probabilities(watched, [flat], Views(SIZE, (32, 32), 0.5))
    views = np.concatenate(seen)
    assert views.shape == (9, 16, 16, 1)
    np.testing.assert_array_equal(views[0], flat[:32:2, :32:2] / np.float32(FULL_SCALE))
    np.testing.assert_array_equal(views[8], flat[32::2, 32::2] / np.float32(FULL_SCALE))


def test_where_windows_overlap_the_middle_of_each_counts_more():
    """Of two windows that say 0 and 1, the mean is a half midway, and near its own at each end."""
    answers = iter([-100.0, 100.0])

    def says(images_BHWC):
        return np.stack([np.full((16, 16, 1), next(answers), np.float32) for _ in images_BHWC])

    (found,) = probabilities(says, [picture(16, 24)], Views(SIZE, SIZE, 0.5))
    row = found[0, :, 0]
    assert (row[:8] == 0).all()
    assert (row[16:] == 1).all()
    assert (np.diff(row[7:17]) > 0).all()
    assert row[11] + row[12] == pytest.approx(1)


@pytest.mark.parametrize(
    ("flips", "n"), [((), 1), (("horizontal",), 2), (("horizontal", "vertical"), 4)]
)
def test_the_mean_of_flips_is_that_of_answers_flipped_back(flips, n):
    image, shown = picture(16, 16), []

    def watched(images_BHWC):
        shown.extend(images_BHWC)
        return lopsided(images_BHWC)

    (found,) = probabilities(watched, [image], Views(SIZE, flips=flips))
    assert len(shown) == n
    p_HW = expit(lopsided(np.zeros((1, 16, 16, 1)))[0, ..., 0])
    views = [p_HW]
    if "horizontal" in flips:
        views += [view[:, ::-1] for view in views]
        np.testing.assert_array_equal(shown[1], image[:, ::-1] / np.float32(FULL_SCALE))
    if "vertical" in flips:
        views += [view[::-1] for view in views]
    np.testing.assert_allclose(found[..., 0], np.mean(views, axis=0), atol=1e-6)


def test_whatever_the_batch_the_answers_are_those_of_one_by_one():
    images = [picture(*size, seed) for seed, size in enumerate([(16, 16), (40, 16), (16, 30)])]
    one = probabilities(pointwise, images, Views(SIZE, SIZE, 0.5, ("vertical",), 1))
    for batch_size in (3, 7, 100):
        views = Views(SIZE, SIZE, 0.5, ("vertical",), batch_size)
        for found, same in zip(probabilities(pointwise, images, views), one, strict=True):
            np.testing.assert_array_equal(found, same)


def test_several_classes_sum_to_one_where_windows_meet():
    def three(images_BHWC):
        return np.concatenate([0 * images_BHWC, images_BHWC, 2 * images_BHWC], axis=-1)

    (found,) = probabilities(three, [picture(50, 16)], Views(SIZE, SIZE, 0.5))
    assert found.shape == (50, 16, 3)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
