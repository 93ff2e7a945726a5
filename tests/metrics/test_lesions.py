"""Facts about `seg.metrics.lesions`, counted by hand and by walking from voxel to voxel."""

import itertools
import math

import numpy as np
import pytest

from seg.metrics.lesions import scores


def line(text):
    """Return a volume of one row of voxels, from a string of 0 and 1."""
    return np.array([[list(text)]]) == "1"


def found(truth, mask):
    return tuple(scores(truth, mask).values())


@pytest.mark.parametrize(
    ("truth", "mask", "wanted"),
    [
        ("1101100", "1101100", (1, 0)),
        ("1101101", "0100000", (1 / 3, 0)),
        ("1101101", "0111000", (2 / 3, 0)),
        ("1000000", "0010101", (0, 3)),
        ("1111111", "1010101", (1, 0)),
        ("1010000", "0000000", (0, 0)),
        ("0000000", "0010100", (math.nan, 2)),
        ("0000000", "0000000", (math.nan, 0)),
    ],
)
def test_lesions_are_counted_not_their_voxels(truth, mask, wanted):
    assert found(line(truth), line(mask)) == pytest.approx(wanted, nan_ok=True)


def test_one_large_predicted_lesion_finds_all_that_it_overlaps():
    assert found(line("1010101"), line("1111111")) == (1, 0)


def test_voxels_that_share_a_corner_are_one_lesion():
    truth = np.zeros((3, 3, 3), bool)
    truth[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    mask = np.zeros_like(truth)
    mask[0, 0, 0] = True
    assert found(truth, mask) == (1, 0)


def test_pixels_of_a_slice_that_share_a_corner_are_one_lesion():
    truth = np.eye(3, dtype=bool)[None]
    assert found(truth, truth & (np.arange(3) == 0)) == (1, 0)


def walked(mask):
    """Return the lesions of a mask as sets of voxels."""
    left, lesions = {tuple(voxel) for voxel in np.argwhere(mask)}, []
    while left:
        queue, lesion = [left.pop()], set()
        while queue:
            voxel = queue.pop()
            lesion.add(voxel)
            steps = itertools.product((-1, 0, 1), repeat=3)
            near = {tuple(np.add(voxel, step).tolist()) for step in steps} & left
            left -= near
            queue += near
        lesions.append(lesion)
    return lesions


@pytest.mark.parametrize("seed", range(12))
def test_on_drawn_masks_the_counts_are_those_of_a_walk(seed):
    rng = np.random.default_rng(seed)
    truth, mask = (rng.random((1 + seed % 4, 8, 9)) < share for share in (0.08, 0.1))
    true, predicted = walked(truth), walked(mask)
    hits = [any(mask[voxel] for voxel in lesion) for lesion in true]
    alarms = [not any(truth[voxel] for voxel in lesion) for lesion in predicted]
    assert found(truth, mask) == pytest.approx((np.mean(hits), sum(alarms)))
