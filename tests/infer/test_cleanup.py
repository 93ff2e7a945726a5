"""Facts about `seg.infer.cleanup`, drawn by hand and against SciPy's own hole filling."""

import numpy as np
import pytest
from scipy import ndimage

from seg.infer.cleanup import cleaned
from seg.models.manual import Cleanup

PLAIN = Cleanup()


def drawn(*rows):
    return np.array([[int(digit) for digit in row] for row in rows], np.uint8)


def clean(mask, cleanup, spacing=None):
    return np.stack(cleaned([*mask], cleanup, spacing))


def test_nothing_is_done_unless_it_is_asked_for():
    masks = [drawn("10", "01") > 0]
    assert cleaned(masks, PLAIN, None) is masks


def test_a_hole_is_filled_and_a_bay_is_not():
    ring = drawn("11111", "10001", "11111", "10000", "11111") > 0
    wanted = drawn("11111", "11111", "11111", "10000", "11111") > 0
    np.testing.assert_array_equal(clean([ring], Cleanup(fill_holes=True))[0], wanted)


def test_in_a_volume_a_hole_is_closed_above_and_below_too():
    plate, ring = drawn("111", "111", "111"), drawn("111", "101", "111")
    closed = clean(np.stack([plate, ring, plate]) > 0, Cleanup(fill_holes=True))
    assert closed.all()
    tube = np.stack([ring, ring, ring]) > 0
    np.testing.assert_array_equal(clean(tube, Cleanup(fill_holes=True)), tube)


@pytest.mark.parametrize("shape", [(1, 40, 40), (6, 20, 20)])
def test_holes_are_those_of_scipy(shape):
    rng = np.random.default_rng(0)
    for share in (0.4, 0.6, 0.7):
        mask = rng.random(shape) < share
        wanted = (
            ndimage.binary_fill_holes(mask[0])[None]
            if len(mask) == 1
            else (ndimage.binary_fill_holes(mask))
        )
        np.testing.assert_array_equal(clean(mask, Cleanup(fill_holes=True)), wanted)


def test_a_tumour_in_a_liver_is_no_hole():
    """Whichever of the two has the smaller index."""
    for liver, tumour in ((1, 2), (2, 1)):
        mask = np.full((1, 5, 5), liver, np.uint8)
        mask[0, 2, 2], mask[0, 1, 1] = tumour, 0
        wanted = mask.copy()
        wanted[0, 1, 1] = liver
        np.testing.assert_array_equal(clean(mask, Cleanup(fill_holes=True)), wanted)


ISLANDS = drawn("1100010", "1100001", "0000000", "0111000", "0111011") > 0  # 4, 2, 6 and 2 pixels


def test_the_largest_component_is_by_corners_too():
    found = clean([ISLANDS], Cleanup(largest_component=True))[0]
    wanted = np.zeros_like(ISLANDS)
    wanted[3:, 1:4] = True
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("least", "left"), [(1, 14), (2, 14), (3, 10), (4, 10), (5, 6), (7, 0)])
def test_what_is_smaller_goes(least, left):
    assert clean([ISLANDS], Cleanup(min_size=least)).sum() == left


def test_sizes_are_volumes_where_the_spacing_is_known():
    """A voxel of 3 x 0.5 x 1 mm is 1.5 mm3: 4 of them are 6 mm3, 2 are 3 mm3."""
    assert clean([ISLANDS], Cleanup(min_size=6), (3.0, 0.5, 1.0)).sum() == 10
    assert clean([ISLANDS], Cleanup(min_size=6.1), (3.0, 0.5, 1.0)).sum() == 6


def test_what_is_one_in_the_volume_is_not_two_in_its_slices():
    """A bridge in the middle slice joins two bars, which are larger than the third."""
    bars, bridge = drawn("11011011"), drawn("01111000")
    found = clean(np.stack([bars, bridge, bars]) > 0, Cleanup(largest_component=True))
    assert found.sum() == 12
    assert not found[..., 6:].any()


def test_each_class_is_cleaned_by_itself():
    mask = drawn("1101002202")[None]
    np.testing.assert_array_equal(
        clean(mask, Cleanup(largest_component=True))[0], drawn("1100002200")
    )
    assert clean(mask, Cleanup(largest_component=True)).dtype == np.uint8


def test_slices_of_several_sizes_stay_as_they_are():
    masks = [drawn("1101") > 0, drawn("101") > 0]
    assert cleaned(masks, Cleanup(largest_component=True), None) is masks


def test_an_empty_mask_stays_empty():
    empty = np.zeros((2, 3, 3), bool)
    np.testing.assert_array_equal(clean(empty, Cleanup(True, 5.0, True)), empty)
