"""Facts about `seg.metrics.surface`, by hand and against all distances between all voxels."""

import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from seg.metrics.surface import by_transform, by_tree, scores

SPACING = (3, 2, 1)
NAMES = ["hd95_mm", "assd_mm", "surface_dice"]


def box(*sides, shape=(7, 7, 7)):
    """Return a mask that is True in the box between the given (start, stop) of each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def found(*masks, spacing=SPACING, tolerance_mm=0.5):
    return list(scores(*masks, spacing, tolerance_mm).values())


CUBE = box((2, 5), (2, 5), (2, 5))


def test_a_perfect_prediction_has_no_distance():
    assert scores(CUBE, CUBE, SPACING, 0) == dict(zip(NAMES, (0, 0, 1), strict=True))


@pytest.mark.parametrize(("axis", "step_mm"), [(0, 3), (1, 2), (2, 1)])
def test_a_cube_that_is_one_voxel_off(axis, step_mm):
    """Of 26 surface voxels the 9 of the far face are a step away.

    The middle of the other face lies in the other cube's hollow, 1 mm from the nearest wall; on
    the other 16 the surfaces meet.
    """
    moved = np.roll(CUBE, 1, axis)
    assert found(CUBE, moved) == pytest.approx([step_mm, (9 * step_mm + 1) / 26, 16 / 26])
    assert found(moved, CUBE) == found(CUBE, moved)


def test_surfaces_agree_up_to_the_tolerance():
    moved = np.roll(CUBE, 1, axis=0)
    shares = [found(CUBE, moved, tolerance_mm=mm)[2] for mm in (0.9, 1, 2.9, 3)]
    assert shares == pytest.approx([16 / 26, 17 / 26, 17 / 26, 1])


def test_a_distance_that_rounding_makes_longer_is_within_the_tolerance():
    """0.1 + 0.1 + 0.1 is not 0.3 in a computer's numbers."""
    truth, mask = box((0, 1), (0, 1), (0, 1)), box((0, 1), (0, 1), (3, 4))
    assert found(truth, mask, spacing=(1, 1, 0.1), tolerance_mm=0.3)[2] == 1


def test_hd95_is_the_worse_direction_not_both_pooled():
    """To the point 0, 1, ..., 20 mm: 19; from it 0. Of all 22 distances it would be 18.95."""
    point, line = (box((0, 1), (0, 1), (0, n), shape=(2, 1, 21)) for n in (1, 21))
    assert found(point, line)[0] == found(line, point)[0] == pytest.approx(19)
    assert found(point, line)[1] == pytest.approx(sum(range(21)) / 22)


def test_one_slice_is_taken_as_a_picture():
    """A ring of 16 round one of 8: at the corners the square root of 2, else 1, and back 1."""
    truth, mask = (box((0, 1), s, s, shape=(1, 7, 7)) for s in ((1, 6), (2, 5)))
    hd95, assd, dice = found(truth, mask, spacing=(9, 1, 1))
    assert hd95 == pytest.approx(math.sqrt(2))
    assert assd == pytest.approx((12 + 4 * math.sqrt(2) + 8) / 24)
    assert dice == 0


def test_one_slice_of_a_volume_is_surface_throughout():
    """A square of 9 voxels and its middle: 4 are 1 mm away, 4 the square root of 2."""
    truth, mask = box((3, 4), (2, 5), (2, 5)), box((3, 4), (3, 4), (3, 4))
    hd95, assd, dice = found(truth, mask, spacing=(9, 1, 1))
    assert hd95 == pytest.approx(math.sqrt(2))
    assert assd == pytest.approx((4 + 4 * math.sqrt(2)) / 10)
    assert dice == pytest.approx(2 / 10)


def test_the_border_of_the_volume_is_surface():
    """All is filled, 27 voxels; the one in the middle is missed, 1 mm from its neighbours."""
    full = np.ones((3, 3, 3), bool)
    hollow = full & ~box((1, 2), (1, 2), (1, 2), shape=full.shape)
    assert found(full, hollow) == [0, 0, 1]


def test_what_lies_apart_is_as_far_as_it_lies():
    truth, mask = box((0, 1), (0, 1), (0, 1)), box((4, 5), (3, 4), (0, 1))
    assert found(truth, mask) == pytest.approx([math.hypot(12, 6)] * 2 + [0])


@pytest.mark.parametrize("swapped", [False, True])
def test_a_missed_structure_is_as_far_away_as_can_be(swapped):
    """The number of the BraTS challenges."""
    truth = np.zeros((155, 240, 240), bool)
    truth[70, 100, 100] = True
    pair = [truth, np.zeros_like(truth)][:: -1 if swapped else 1]
    assert found(*pair, spacing=(1, 1, 1)) == pytest.approx([373.13, 373.13, 0], abs=0.005)


def test_the_diagonal_is_in_mm_and_of_one_slice_in_its_plane():
    truth = box((0, 1), (0, 1), (0, 1), shape=(3, 4, 5))
    assert found(truth, truth & False)[0] == pytest.approx(math.sqrt(9**2 + 8**2 + 5**2))
    assert found(truth[:1], truth[:1] & False)[0] == pytest.approx(math.hypot(8, 5))


def test_nothing_in_both_and_an_unknown_spacing_are_undefined():
    nothing = CUBE & False
    for values in (found(nothing, nothing), found(CUBE, CUBE, spacing=None)):
        assert all(math.isnan(value) for value in values)


def drawn(seed):
    """Draw two masks of one shape, of a kind that the seed says, and a spacing."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 11, 3)
    shape[0] = (1, 1, 2, 9)[seed % 4]
    masks = []
    for kind in ((seed // 4) % 5, rng.integers(5)):
        mask = np.zeros(shape, bool)
        if kind == 0:
            mask.flat[rng.integers(mask.size)] = True
        elif kind == 1:
            mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
        elif kind == 2:
            mask |= rng.random(shape) < rng.random()
        elif kind == 3:
            mask |= ndimage.gaussian_filter(rng.standard_normal(shape), 1) > 0
        else:
            mask[tuple(slice(0, n) for n in rng.integers(1, shape + 1))] = True
        masks.append(mask)
    return *masks, rng.uniform(0.3, 5, 3)


def all_distances(truth, mask, spacing):
    """Measure by the definition: erosion, and every voxel against every other."""
    if len(truth) == 1:
        truth, mask, spacing = truth[0], mask[0], spacing[1:]
    points = [np.argwhere(m & ~ndimage.binary_erosion(m)) * spacing for m in (truth, mask)]
    table = cdist(*points)
    return table.min(axis=1), table.min(axis=0)


@pytest.mark.parametrize("start", range(0, 240, 40))
def test_on_drawn_masks_the_scores_are_those_of_all_distances(start):
    checked = 0
    for seed in range(start, start + 40):
        truth, mask, spacing = drawn(seed)
        if not (truth.any() and mask.any()):
            continue
        there, back = all_distances(truth, mask, spacing)
        both = np.concatenate([there, back])
        wanted = [
            max(np.percentile(there, 95), np.percentile(back, 95)),
            both.sum() / (len(there) + len(back)),
            np.count_nonzero(both <= 2) / len(both),
        ]
        assert found(truth, mask, spacing=tuple(spacing), tolerance_mm=2) == pytest.approx(
            wanted, abs=1e-6
        )
        checked += 1
    assert checked > 30


def test_tree_and_transform_measure_the_same():
    for seed in range(60):
        truth, mask, spacing = drawn(seed)
        if truth.any() and mask.any():
            ways = (by(truth, mask, spacing) for by in (by_tree, by_transform))
            np.testing.assert_allclose(*ways, atol=1e-9)


def test_far_from_each_other_in_a_large_volume_the_tree_measures_as_the_transform():
    """Voxels are many and points few, where `scores` takes the tree."""
    i, j, k = np.ogrid[:40, :60, :50]
    truth = (i - 12) ** 2 + (j - 15) ** 2 + (k - 14) ** 2 < 100
    mask = (i - 27) ** 2 + (j - 42) ** 2 + (k - 35) ** 2 < 64
    there, back = all_distances(truth, mask, np.array(SPACING))
    hd95, assd, _ = found(truth, mask)
    assert hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert assd == pytest.approx(np.concatenate([there, back]).mean())
