"""Facts about `seg.figures.confusion`: outcomes and colours at known pixels, words in strips."""

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
    confusion_sheet,
    outcomes,
)
from seg.figures.pictures import CAPTION_PX, GAP_PX, PANEL_PX, WHITE, captioned

LINES = 3
TILE_PX = LINES * CAPTION_PX + PANEL_PX
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


def panel(outcome_HW, case="a", slice_="a_1", dice=0.5, channels=1):
    image_HWC = np.full((*outcome_HW.shape, channels), GREY / 255)
    return image_HWC, outcome_HW, case, slice_, dice


def nothing(size=PANEL_PX):
    return np.zeros((size, size), np.uint8)


def tile(picture, column=0, group=0):
    """Return one tile, its strips of words above its panel."""
    top = 2 * CAPTION_PX + GAP_PX + group * (CAPTION_PX + TILE_PX + 2 * GAP_PX)
    left = GAP_PX + column * (PANEL_PX + GAP_PX)
    return picture[top : top + TILE_PX, left : left + PANEL_PX]


def shown(outcome_HW, several=True, channels=1):
    """Return the panel of a sheet of one slice."""
    picture = confusion_sheet({"worst": [panel(outcome_HW, channels=channels)]}, several)
    return tile(picture)[LINES * CAPTION_PX :]


def words(*pairs):
    return captioned(np.zeros((0, PANEL_PX, 3), np.uint8), list(pairs))


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
    found, colour = shown(outcome_HW, channels=channels), OUTCOMES[kind][1]
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


def test_a_slice_is_captioned_with_its_case_its_name_and_its_counts():
    outcome_HW = nothing()
    outcome_HW[0, :7], outcome_HW[1, :12], outcome_HW[2, :3], outcome_HW[3, :99] = 2, 3, 4, 1
    slices = {"worst": [panel(outcome_HW, "Ann_7", "Ann_7_03", 0.12345)]}
    strips = [
        words(("Dice 0.123", WHITE), ("Ann_7", WHITE)),
        words(("Ann_7_03", WHITE)),
        words(("FP 7", OUTCOMES[2][1]), ("FN 12", OUTCOMES[3][1]), ("wrong 3", OUTCOMES[4][1])),
    ]
    found = tile(confusion_sheet(slices, several=True))[: LINES * CAPTION_PX]
    np.testing.assert_array_equal(found, np.vstack(strips))


def test_the_counts_are_those_of_the_slice_at_its_own_size():
    """512 x 512 is shrunk to half: ten columns of 512 pixels are counted, five are drawn."""
    outcome_HW = nothing(512)
    outcome_HW[:, :10] = FALSE_POSITIVE
    strip = tile(confusion_sheet({"best": [panel(outcome_HW)]}, several=False))[2 * CAPTION_PX :]
    wanted = words(("FP 5120", OUTCOMES[2][1]), ("FN 0", OUTCOMES[3][1]))
    np.testing.assert_array_equal(strip[:CAPTION_PX], wanted)


def test_long_names_are_cut_to_their_ends():
    outcome_HW = nothing()
    long = {"worst": [panel(outcome_HW, "x" * 50 + "_7", "x" * 50 + "_703")]}
    found = tile(confusion_sheet(long, several=False))[: 2 * CAPTION_PX]
    first = words(("Dice 0.500", WHITE), ("..." + "x" * 16 + "_7", WHITE))
    second = words(("..." + "x" * 24 + "_703", WHITE))
    np.testing.assert_array_equal(found, np.vstack([first, second]))


def test_the_longest_name_and_counts_that_are_not_cut_fit_their_strip():
    outcome_HW = nothing(512)
    outcome_HW[:], outcome_HW[:, 256:] = FALSE_POSITIVE, FALSE_NEGATIVE
    picture = confusion_sheet({"worst": [panel(outcome_HW, "TCGA_CS_4941_19960909")]}, True)
    assert not tile(picture)[: LINES * CAPTION_PX, -2:].any()


def test_groups_lie_below_each_other_in_the_order_given():
    worst = [panel(nothing(), dice=i / 10) for i in range(3)]
    best = [panel(nothing(), dice=0.9), panel(nothing(), dice=0.8)]
    picture = confusion_sheet({"worst": worst, "best": best}, several=False)
    height = CAPTION_PX + 2 * (CAPTION_PX + TILE_PX + 2 * GAP_PX)
    assert picture.shape == (height, 3 * (PANEL_PX + GAP_PX) + GAP_PX, 3)
    for group, dices in enumerate([(0, 0.1, 0.2), (0.9, 0.8)]):
        for column, dice in enumerate(dices):
            wanted = words((f"Dice {dice:.3f}", WHITE), ("a", WHITE))
            np.testing.assert_array_equal(tile(picture, column, group)[:CAPTION_PX], wanted)
    assert (tile(picture, column=2, group=1) == 255).all()


@pytest.mark.parametrize(("several", "n"), [(False, 3), (True, 4)])
def test_the_legend_names_the_outcomes_even_above_one_slice(several, n):
    strip = confusion_sheet({"worst": [panel(nothing())]}, several)[:CAPTION_PX]
    legend = [("true positive", OUTCOMES[RIGHT][1]), ("false positive", OUTCOMES[2][1])]
    legend += [("false negative", OUTCOMES[3][1]), ("wrong class", OUTCOMES[4][1])]
    wanted = captioned(np.zeros((0, strip.shape[1], 3), np.uint8), legend[:n])
    np.testing.assert_array_equal(strip, wanted)
    assert not strip[:, -9:].any()


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
