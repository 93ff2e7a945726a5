"""Facts about `seg.augment.warp`, checked against numpy and scipy.ndimage.

Axes: H height, W width, C channels, 2 the coordinates x and y.
"""

import numpy as np
import pytest
from scipy import ndimage

from seg.augment.warp import FINEST, grid, grid_step, warp

SIZES = [(12, 19), (131, 150), (300, 257)]
SUBPIXEL = 1 / 64  # positions are rounded to 1/32 pixel
GENERAL = np.array([[0.913, -0.352, 1.317], [0.207, 1.193, -0.831]])


def picture(size, channels=3):
    return np.random.default_rng(0).random((*size, channels), np.float32)


def halves(size):
    return (np.random.default_rng(1).random((*size, 1)) < 0.5).astype(np.uint8)


def pixels(size):
    """Return the centres of all pixels, from the picture's centre: HW2, float64."""
    y, x = np.mgrid[: size[0], : size[1]] - (np.array(size)[:, None, None] - 1) / 2
    return np.stack([x, y], -1)


def straight(matrix):
    return lambda points: points @ matrix[:, :2].T + matrix[:, 2]


def waves(side):
    """Return a smooth map of a picture of that side, and the largest of its second derivatives."""
    height, length = 0.02 * side, 0.3 * side

    def bend(points):
        return points + height * np.sin(2 * np.pi * points[..., ::-1] / length)

    return bend, height * (2 * np.pi / length) ** 2


def moved(map_, size):
    return map_(grid(size).astype(float)).astype(np.float32)


def by_scipy(picture_HWC, map_, order):
    size = picture_HWC.shape[:2]
    source_2HW = np.moveaxis(map_(pixels(size)), -1, 0)[::-1]
    source_2HW = source_2HW + (np.array(size)[:, None, None] - 1) / 2
    channels = [
        ndimage.map_coordinates(channel, source_2HW, order=order, mode="grid-constant")
        for channel in np.moveaxis(picture_HWC, -1, 0)
    ]
    return np.stack(channels, -1)


def steepest(picture_HWC):
    """Return the largest change of a grey value over a pixel's way along x and y, summed."""
    framed = np.pad(picture_HWC, ((1, 1), (1, 1), (0, 0)))
    return sum(np.abs(np.diff(framed, axis=axis)).max() for axis in (0, 1))


def clear(map_, size):
    """Tell which output pixels have their source clearly nearer to one input pixel, HW1."""
    source = map_(pixels(size)) + (np.array(size)[::-1] - 1) / 2
    return (np.abs(source % 1 - 0.5) > 2e-3).all(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("size", "step"),
    [((1, 1), 1), ((40, 128), 1), ((129, 40), 2), ((256, 9), 2), ((257, 9), 3), ((64, 512), 4)],
)
def test_the_grid_has_at_most_128_cells_along_the_longer_side(size, step):
    assert grid_step(size) == step
    assert max(size) / step <= FINEST


@pytest.mark.parametrize("size", [(3, 4), (12, 19)])
def test_of_a_small_picture_every_pixel_is_a_point(size):
    np.testing.assert_array_equal(grid(size)[1:-1, 1:-1], pixels(size))


@pytest.mark.parametrize("size", [(1, 1), (12, 19), (129, 40), (300, 257), (64, 512)])
def test_the_points_lie_evenly_and_surround_the_picture(size):
    points_HW2, step = grid(size), grid_step(size)
    assert points_HW2.dtype == np.float32
    np.testing.assert_array_equal(np.diff(points_HW2[..., 0], axis=1), step)
    np.testing.assert_array_equal(np.diff(points_HW2[..., 1], axis=0), step)
    first, last = pixels(size)[0, 0], pixels(size)[-1, -1]
    assert (points_HW2[0, 0] < first).all()
    assert (points_HW2[-1, -1] > last).all()


def test_the_grid_which_all_threads_share_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        grid((5, 6))[0, 0] = 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (8, 7), *SIZES, (129, 131), (385, 260)])
def test_the_identity_changes_nothing(size):
    image, mask = picture(size), halves(size)
    found = warp(image, mask, grid(size))
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], mask)


@pytest.mark.parametrize("size", SIZES)
def test_a_general_map_is_applied_as_scipy_does(size):
    image, mask, map_ = picture(size), halves(size), straight(GENERAL)
    found = warp(image, mask, moved(map_, size))
    tolerance = SUBPIXEL * steepest(image) + 1e-3
    np.testing.assert_allclose(found[0], by_scipy(image, map_, 1), atol=tolerance)
    known = clear(map_, size)
    assert known.mean() > 0.9
    np.testing.assert_array_equal(found[1][known], by_scipy(mask, map_, 0)[known])


@pytest.mark.parametrize("size", [*SIZES, (400, 512)])
def test_a_smooth_map_is_followed_between_the_points_of_the_grid(size):
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    image = np.stack([0.5 + 0.5 * np.sin(9 * x + 4 * y), x * y], -1).astype(np.float32)
    map_, bend = waves(max(size))
    off_px = SUBPIXEL + bend * grid_step(size) ** 2 / 8
    assert off_px < 0.15
    found = warp(image, halves(size), moved(map_, size))[0]
    inside = (np.abs(map_(pixels(size))) < (np.array(size)[::-1] - 1) / 2).all(axis=-1)
    assert inside.mean() > 0.8
    steep = sum(np.abs(np.diff(image, axis=axis)).max() for axis in (0, 1))
    expected = by_scipy(image, map_, 1)
    np.testing.assert_allclose(found[inside], expected[inside], atol=off_px * steep + 1e-5)


@pytest.mark.parametrize("side", [9, 12, 150])
def test_a_quarter_turn_is_that_of_numpy(side):
    image, mask = picture((side, side)), halves((side, side))
    quarter = straight(np.array([[0, -1, 0], [1, 0, 0]]))
    found = warp(image, mask, moved(quarter, (side, side)))
    np.testing.assert_array_equal(found[0], np.rot90(image))
    np.testing.assert_array_equal(found[1], np.rot90(mask))


@pytest.mark.parametrize("size", SIZES)
def test_a_translation_shows_the_input_that_many_pixels_away(size):
    image, mask = picture(size), halves(size)
    two_right_one_up = straight(np.array([[1, 0, 2], [0, 1, -1]]))
    found = warp(image, mask, moved(two_right_one_up, size))
    for after, before in zip(found, (image, mask), strict=True):
        np.testing.assert_array_equal(after[1:, :-2], before[:-1, 2:])
        assert not after[0].any()
        assert not after[:, -2:].any()


def test_a_translation_by_a_quarter_of_a_pixel_blends_neighbours_three_to_one():
    image = picture((6, 9))
    found = warp(image, halves((6, 9)), grid((6, 9)) + np.float32([0.25, 0]))[0]
    expected = 0.75 * image[:, :-1] + 0.25 * image[:, 1:]
    np.testing.assert_allclose(found[:, :-1], expected, rtol=1e-6)
    np.testing.assert_allclose(found[:, -1], 0.75 * image[:, -1], rtol=1e-6)


@pytest.mark.parametrize("far", [50, -1e3, 1e6])
def test_outside_the_input_all_is_zero(far):
    size = SIZES[0]
    found = warp(picture(size) + 1, halves(size) + 1, grid(size) + np.float32([far, 0]))
    assert not np.any(found[0])
    assert not np.any(found[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_type_stay(channels):
    found = warp(picture((12, 19), channels), halves((12, 19)), grid((12, 19)) * 2)
    assert [part.shape for part in found] == [(12, 19, channels), (12, 19, 1)]
    assert [part.dtype for part in found] == [np.float32, np.uint8]


def test_each_channel_goes_the_same_way():
    image, points = picture((12, 19)), moved(straight(GENERAL), (12, 19))
    together = warp(image, halves((12, 19)), points)[0]
    for c in range(3):
        alone = warp(image[..., c : c + 1], halves((12, 19)), points)[0]
        np.testing.assert_allclose(together[..., c : c + 1], alone, atol=1e-6)


def test_classes_never_blend_into_others():
    """Between the classes 1 and 3 the mask never passes through 2; each moves as if alone."""
    index = np.random.default_rng(1).choice([0, 1, 3], (12, 19, 1)).astype(np.uint8)
    points = moved(straight(GENERAL), (12, 19))
    found = warp(picture((12, 19)), index, points)[1]
    assert set(np.unique(found)) == {0, 1, 3}
    for c in (1, 3):
        alone = warp(picture((12, 19)), (index == c).astype(np.uint8), points)[1]
        np.testing.assert_array_equal(found == c, alone == 1)


def test_a_white_picture_never_exceeds_1():
    white = np.ones((40, 33, 3), np.float32)
    found = warp(white, halves((40, 33)), moved(straight(GENERAL), (40, 33)))[0]
    assert found.min() == 0
    assert found.max() == 1


def test_what_is_given_stays_and_may_be_read_only():
    image, mask, points = picture((12, 19)), halves((12, 19)), grid((12, 19)) * 2
    before = [part.copy() for part in (image, mask, points)]
    for part in (image, mask, points):
        part.flags.writeable = False
    warp(image, mask, points)
    for part, kept in zip((image, mask, points), before, strict=True):
        np.testing.assert_array_equal(part, kept)
