"""Facts about `seg.figures.confusion`: outcomes and colours at known pixels."""

from itertools import combinations

import cv2
import numpy as np
import pytest

from seg.figures.confusion import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    OUTCOMES,
    RIGHT,
    WRONG_CLASS,
    counts,
    kinds,
    outcomes,
    panel,
)
from seg.figures.panels import PANEL_PX

GREY = 51


def test_the_outcomes_of_one_class():
    truth_HW, mask_HW = np.array([[0, 0, 1, 1]], bool), np.array([[0, 1, 0, 1]], bool)
    found_HW = outcomes(truth_HW, mask_HW)
    assert found_HW.dtype == np.uint8
    assert found_HW.tolist() == [[0, FALSE_POSITIVE, FALSE_NEGATIVE, RIGHT]]


def test_the_outcomes_of_two_classes():
    """Truth 0, 1, 2 from top to bottom, prediction 0, 1, 2 from left to right."""
    truth_HW, mask_HW = np.mgrid[:3, :3].astype(np.uint8)
    assert outcomes(truth_HW, mask_HW).tolist() == [
        [0, FALSE_POSITIVE, FALSE_POSITIVE],
        [FALSE_NEGATIVE, RIGHT, WRONG_CLASS],
        [FALSE_NEGATIVE, WRONG_CLASS, RIGHT],
    ]


def test_the_outcomes_of_one_class_with_a_name_whose_prediction_is_bool():
    truth_HW, mask_HW = np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 0, 1]], bool)
    wanted_HW = outcomes(truth_HW > 0, mask_HW)
    np.testing.assert_array_equal(outcomes(truth_HW, mask_HW), wanted_HW)


def nothing(size=PANEL_PX):
    return np.zeros((size, size), np.uint8)


def shown(outcome_HW, channels=1):
    """Return the panel of outcomes on grey."""
    return panel(np.full((*outcome_HW.shape, channels), GREY / 255), outcome_HW)


def coloured(picture, colour):
    return (picture == colour).all(axis=-1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", OUTCOMES)
def test_an_outcome_is_outlined_and_filled_so_that_the_image_shines_through(kind, channels):
    """Six tenths of grey 51 are 30.6, to which four tenths of the colour are added."""
    outcome_HW = nothing()
    outcome_HW[40:60, 100:150] = kind
    inside = np.zeros(outcome_HW.shape, bool)
    inside[41:59, 101:149] = True
    found, colour = shown(outcome_HW, channels), OUTCOMES[kind][1]
    np.testing.assert_array_equal(coloured(found, colour), (outcome_HW > 0) & ~inside)
    filled = [round(30.6 + 0.4 * value) for value in colour]
    np.testing.assert_array_equal(coloured(found, filled), inside)
    assert coloured(found, (GREY,) * 3)[outcome_HW == 0].all()


def test_outcomes_side_by_side_keep_their_pixels():
    """Two pixels wide, each is outline only."""
    outcome_HW = nothing()
    for i, kind in enumerate(OUTCOMES):
        outcome_HW[20:30, 2 * i : 2 * i + 2] = kind
    found = shown(outcome_HW)
    for kind, (_, colour) in OUTCOMES.items():
        np.testing.assert_array_equal(coloured(found, colour), outcome_HW == kind)


def test_a_small_image_is_enlarged_by_whole_pixels():
    """64 x 64 fits four times: a pixel becomes a square of four, its rim in full colour."""
    outcome_HW = nothing(64)
    outcome_HW[10, 20] = FALSE_NEGATIVE
    rim = np.zeros((PANEL_PX, PANEL_PX), bool)
    rim[40:44, 80:84] = True
    rim[41:43, 81:83] = False
    colour = OUTCOMES[FALSE_NEGATIVE][1]
    np.testing.assert_array_equal(coloured(shown(outcome_HW), colour), rim)


def test_a_large_oblong_image_is_shrunk_and_loses_no_error():
    """1024 x 512 is shrunk four times: one wrong pixel outdoes the fifteen right ones with it."""
    outcome_HW = np.zeros((1024, 512), np.uint8)
    outcome_HW[400:440, 200:240] = RIGHT
    outcome_HW[417, 218] = FALSE_NEGATIVE
    found = shown(outcome_HW)
    wrong = np.argwhere(coloured(found, OUTCOMES[FALSE_NEGATIVE][1]))
    assert wrong.tolist() == [[104, 64 + 54]]
    assert (found[:, :64] == 64).all()
    assert (found[:, -64:] == 64).all()


def test_wrong_pixels_are_counted_by_the_way_they_are_wrong():
    outcome_HW = nothing()
    outcome_HW[0, :7], outcome_HW[1, :12], outcome_HW[2, :3], outcome_HW[3, :99] = 2, 3, 4, 1
    two = [("FP 7", OUTCOMES[2][1]), ("FN 12", OUTCOMES[3][1])]
    assert counts(outcome_HW, several=False) == two
    assert counts(outcome_HW, several=True) == [*two, ("wrong 3", OUTCOMES[4][1])]


def test_only_several_classes_can_be_taken_for_each_other():
    assert kinds(several=False) == [RIGHT, FALSE_POSITIVE, FALSE_NEGATIVE]
    assert kinds(several=True) == [RIGHT, FALSE_POSITIVE, FALSE_NEGATIVE, WRONG_CLASS]


# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("vision", VISION)
def test_the_colours_are_told_apart_by_the_colour_blind(vision):
    """A difference of 2.3 in CIELAB is just noticed; here it is more than ten times as much."""
    colours = np.array([colour for _, colour in OUTCOMES.values()]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(VISION[vision]), 0, 1).astype(np.float32)
    # COLOR_LRGB2LAB takes linear values.
    lab = cv2.cvtColor(seen[None], cv2.COLOR_LRGB2LAB)[0]
    assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > 30
