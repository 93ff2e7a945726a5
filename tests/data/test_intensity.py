"""Facts about `seg.data.intensity`: bounds computed by hand."""

import numpy as np
import pytest

from seg.contracts import SegError
from seg.data.intensity import AsStored, Percentiles, Window


def foreground(*channels):
    """1 x 1 x W x C float32 of the given values, among as many zeros as there are values."""
    values = np.array(channels, np.float32).T[None, None]
    return np.concatenate([np.zeros_like(values), values], axis=2)


@pytest.mark.parametrize(
    ("centre", "width", "low", "high"),
    [(50, 400, -150, 250), (-600, 1500, -1350, 150), (40.5, 80, 0.5, 80.5)],
)
def test_a_window_reaches_half_its_width_to_both_sides_whatever_the_image(centre, width, low, high):
    rng = np.random.default_rng(0)
    found = Window(centre, width).bounds(rng.normal(size=(2, 3, 4, 2)).astype(np.float32))
    np.testing.assert_array_equal(found, [[low, low], [high, high]])
    assert found[0].dtype == found[1].dtype == np.float64


@pytest.mark.parametrize("width", [0, -400])
def test_a_window_without_width_is_refused(width):
    with pytest.raises(SegError, match=f"width_hu must be more than 0. Received: {width}"):
        Window(50, width)


@pytest.mark.parametrize(
    ("percents", "expected"),
    [((0, 100), (1, 101)), ((0.5, 99.5), (1.5, 100.5)), ((25, 75), (26, 76)), ((0, 50), (1, 51))],
)
def test_percentiles_are_those_of_the_voxels_that_are_not_zero(percents, expected):
    """Of 1..101 the p-th percentile is 1 + p; 9 of 10 voxels are skull-stripped background."""
    image = np.zeros((10, 101, 1, 1), np.float32)
    image[3, :, 0, 0] = np.random.default_rng(0).permutation(101) + 1
    low, high = Percentiles(*percents).bounds(image)
    assert (low.item(), high.item()) == pytest.approx(expected)


def test_negative_intensities_are_foreground():
    low, high = Percentiles(0, 100).bounds(foreground(np.arange(-50, 51)))
    assert (low.item(), high.item()) == (-50, 50)


def test_each_channel_has_its_own_percentiles():
    low, high = Percentiles(0, 100).bounds(foreground([1, 2, 3], [300, 100, 200], [-7, 0, 5]))
    assert low.tolist() == [1, 100, -7]
    assert high.tolist() == [3, 300, 5]
    assert low.dtype == high.dtype == np.float64


def test_bounds_leave_the_image_as_it_was():
    image = foreground([5, 3, 9, 1])
    before = image.copy()
    Percentiles(1, 99).bounds(image)
    np.testing.assert_array_equal(image, before)


def test_bounds_of_pixels_as_stored_are_percentiles_too():
    image = np.arange(1, 102, dtype=np.uint16).reshape(1, 1, 101, 1) * 257
    low, high = Percentiles(0, 50).bounds(image)
    assert (low.item(), high.item()) == (257, 51 * 257)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((2, 3, 4, 1), np.float32),
        np.full((2, 3, 4, 1), 7, np.float32),
        foreground([7, 7, 7]),
        foreground([1, 2, 3], [7, 7, 7]),
        foreground([1, 2, 3], [0, 0, 0]),
    ],
    ids=["empty", "constant", "constant-in-zeros", "one-channel-constant", "one-channel-empty"],
)
def test_a_volume_in_which_nothing_is_to_be_seen_is_refused(image):
    with pytest.raises(SegError, match="all voxels other than 0 are equal"):
        Percentiles(0.5, 99.5).bounds(image)


def test_percentiles_that_coincide_are_refused():
    """1 voxel of 1000 differs, which is less than half a percent."""
    with pytest.raises(SegError, match="coincide; widen dataset.prepare.intensity"):
        Percentiles(0.5, 99.5).bounds(foreground([5] * 999 + [6]))
    low, high = Percentiles(0, 100).bounds(foreground([5] * 999 + [6]))
    assert (low.item(), high.item()) == (5, 6)


@pytest.mark.parametrize(
    "percents", [(50, 50), (99, 1), (-1, 99), (1, 101), (float("nan"), 99), (1, float("nan"))]
)
def test_percentages_out_of_order_or_range_are_refused(percents):
    with pytest.raises(SegError, match="0 <= low_percent < high_percent <= 100 must hold"):
        Percentiles(*percents)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_pixels_as_stored_keep_the_full_range_of_their_format(dtype, white):
    low, high = AsStored().bounds(np.full((2, 3, 4, 3), 9, dtype))
    assert low.tolist() == [0, 0, 0]
    assert high.tolist() == [white] * 3


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_a_volume_has_no_full_range_to_be_kept(dtype):
    with pytest.raises(SegError, match=r"seg\.data\.intensity\.Percentiles or Window"):
        AsStored().bounds(np.zeros((2, 3, 4, 1), dtype))
