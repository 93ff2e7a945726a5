"""Facts about `seg.figures.contact`: panels at known places, words in strips."""

from dataclasses import replace

import numpy as np
import pytest

from seg.figures import confusion
from seg.figures.contact import (
    LABEL_PX,
    LINE_PX,
    PALE,
    SCALE,
    WIDTH_PX,
    Example,
    contact_sheet,
)
from seg.figures.panels import GAP_PX, PANEL_PX, strip
from seg.figures.pictures import Style

GREY, TITLES_PX, ROW_PX = 51, 2 * LINE_PX, GAP_PX + PANEL_PX
STYLE = Style()


def example(size=(PANEL_PX, PANEL_PX), case="a", slice_="a_1", dice=0.5):
    """A slice of grey, without any target, predicted or not."""
    truth_HW, mask_HW = np.zeros((2, *size), int)
    return Example(case, slice_, dice, np.full((*size, 1), GREY / 255), truth_HW, mask_HW)


def marked(truth, mask, size=(PANEL_PX, PANEL_PX)):
    """A slice in whose truth and mask boxes have an index."""
    it = example(size)
    for array_HW, boxes in ((it.truth_HW, truth), (it.mask_HW, mask)):
        for box, index in boxes.items():
            array_HW[np.s_[box[0] : box[1], box[2] : box[3]]] = index
    return it


def sheet(*examples, names=(), style=STYLE):
    return contact_sheet({"worst": examples}, names, style)


def cell(picture, column, row=0, legend=1):
    """Return a panel: 0 is the input."""
    top = legend * LINE_PX + TITLES_PX + GAP_PX + row * ROW_PX
    left = GAP_PX + LABEL_PX + GAP_PX + column * (PANEL_PX + GAP_PX)
    return picture[top : top + PANEL_PX, left : left + PANEL_PX]


def label(picture, row=0, legend=1):
    top = legend * LINE_PX + TITLES_PX + GAP_PX + row * ROW_PX
    return picture[top : top + PANEL_PX, GAP_PX : GAP_PX + LABEL_PX]


def coloured(picture, colour):
    return (picture == colour).all(axis=-1)


def rim(top, bottom, left, right):
    outline = np.zeros((PANEL_PX, PANEL_PX), bool)
    outline[top:bottom, left:right] = True
    outline[top + 1 : bottom - 1, left + 1 : right - 1] = False
    return outline


def test_a_row_shows_input_truth_prediction_and_errors():
    it = marked({(20, 60, 20, 60): 1}, {(20, 60, 40, 90): 1})
    image, truth, prediction, errors = (cell(sheet(it), column) for column in range(4))
    assert coloured(image, (GREY,) * 3).all()
    np.testing.assert_array_equal(coloured(truth, STYLE.truth(1)), rim(20, 60, 20, 60))
    np.testing.assert_array_equal(coloured(prediction, STYLE.prediction(1)), rim(20, 60, 40, 90))
    outcome_HW = confusion.outcomes(it.truth_HW, it.mask_HW)
    np.testing.assert_array_equal(errors, confusion.panel(it.image_HWC, outcome_HW))
    assert (coloured(truth, (GREY,) * 3) | rim(20, 60, 20, 60)).all()


def test_the_masks_have_the_style_and_the_errors_have_not():
    it = marked({(20, 60, 20, 60): 1}, {})
    picture = sheet(it, style=Style(["#ff0000"], outline_px=0, opacity=1.0))
    assert coloured(cell(picture, 1), (255, 0, 0)).sum() == 40 * 40
    np.testing.assert_array_equal(cell(picture, 3), cell(sheet(it), 3))


def test_classes_have_the_colours_of_overlays():
    it = marked({(20, 60, 20, 60): 1, (100, 140, 20, 60): 2}, {(20, 60, 20, 60): 2})
    picture = sheet(it, names=["liver", "tumour"])
    truth, prediction, errors = (cell(picture, column, legend=3) for column in (1, 2, 3))
    np.testing.assert_array_equal(coloured(truth, STYLE.truth(1)), rim(20, 60, 20, 60))
    np.testing.assert_array_equal(coloured(truth, STYLE.truth(2)), rim(100, 140, 20, 60))
    np.testing.assert_array_equal(coloured(prediction, STYLE.prediction(2)), rim(20, 60, 20, 60))
    wrong = confusion.OUTCOMES[confusion.WRONG_CLASS][1]
    np.testing.assert_array_equal(coloured(errors, wrong), rim(20, 60, 20, 60))


def test_a_large_image_is_shrunk_a_small_one_enlarged_by_whole_pixels():
    """A pixel of 1024 x 512 is drawn as one; one of 100 x 60 as a square of two."""
    large = marked({(401, 402, 202, 203): 1}, {}, (1024, 512))
    small = marked({(10, 11, 20, 21): 1}, {}, (100, 60))
    picture = sheet(large, small)
    found = np.argwhere(coloured(cell(picture, 1), STYLE.truth(1)))
    assert found.tolist() == [[100, 64 + 50]]
    found = np.argwhere(coloured(cell(picture, 1, row=1), STYLE.truth(1)))
    assert found.tolist() == [[y, x] for y in (48, 49) for x in (108, 109)]


def test_a_label_says_case_slice_dice_and_how_much_is_wrong_at_the_slice_s_own_size():
    """512 x 512 is shrunk to half: 5 rows of 512 pixels are counted."""
    it = marked({(0, 5, 0, 512): 1}, {}, (512, 512))
    it = replace(it, case="Ann_7", slice="Ann_7_03", dice=0.12345)
    found = label(sheet(it))
    lines = [("Ann_7", 255), ("Ann_7_03", 170)]
    wanted = [strip([(text, (g,) * 3)], LABEL_PX, LINE_PX, SCALE) for text, g in lines]
    np.testing.assert_array_equal(found[: 2 * LINE_PX], np.vstack(wanted))
    other = label(sheet(replace(it, dice=0.124)))
    differing = np.argwhere((found != other).any(axis=(1, 2))).ravel()
    dice_px = 3 * LINE_PX // 2
    assert set(differing) <= set(range(2 * LINE_PX, 2 * LINE_PX + dice_px))
    assert len(differing)
    counts = [("FP 0", confusion.OUTCOMES[2][1]), ("FN 2560", confusion.OUTCOMES[3][1])]
    wanted = np.vstack([strip([count], LABEL_PX, LINE_PX, SCALE) for count in counts])
    below = found[2 * LINE_PX + dice_px :]
    np.testing.assert_array_equal(below[: 2 * LINE_PX], wanted)
    assert not below[2 * LINE_PX :].any()


@pytest.mark.parametrize("name", ["TCGA_CS_4941_19960909", "m" * 99, "ab"])
def test_the_longest_names_and_counts_stay_in_their_label(name):
    it = example((1024, 1024), case=name, slice_=f"{name}_17")
    it.mask_HW[:] = 1
    found = label(sheet(it, names=["a", "b"]), legend=3)
    assert found.shape == (PANEL_PX, LABEL_PX, 3)
    assert not found[:, -2:].any()


def test_long_names_are_told_apart_by_their_ends():
    one, other = (label(sheet(example(case="x" * 99 + end))) for end in "12")
    assert (one != other).any()


def test_groups_lie_below_each_other_in_the_order_given():
    groups = {"best": [example(dice=0.9), example(dice=0.8)], "worst": [example(dice=0.1)]}
    picture = contact_sheet(groups, (), STYLE)
    assert picture.shape == (LINE_PX + 2 * TITLES_PX + 3 * ROW_PX + GAP_PX, WIDTH_PX, 3)
    first = contact_sheet({"best": groups["best"]}, (), STYLE)[:-GAP_PX]
    np.testing.assert_array_equal(picture[: len(first)], first)
    second = contact_sheet({"worst": groups["worst"]}, (), STYLE)[LINE_PX:]
    np.testing.assert_array_equal(picture[len(first) :], second)


@pytest.mark.parametrize(("names", "lines", "n"), [((), 1, 3), (("a",), 3, 3), (("a", "b"), 3, 4)])
def test_the_legend_names_classes_and_errors_in_their_colours(names, lines, n):
    legend = sheet(example(), names=names)[: lines * LINE_PX]
    sides = ("truth", STYLE.truth), ("prediction", STYLE.prediction)
    errors = [("errors:", PALE), *(confusion.OUTCOMES[kind] for kind in range(1, n + 1))]
    wanted = [[*[(side, colour(1)) for side, colour in sides], *errors]]
    if names:
        wanted = [
            [(f"{side}:", PALE), *((name, colour(i)) for i, name in enumerate(names, start=1))]
            for side, colour in sides
        ]
        wanted.append(errors)
    lines = [strip(words, WIDTH_PX, LINE_PX, SCALE) for words in wanted]
    np.testing.assert_array_equal(legend, np.vstack(lines))
    assert not legend[:, -9:].any()


def test_the_names_of_many_classes_take_as_many_lines_as_they_need():
    """Forty names of ten letters are wider than the sheet, and none is cut."""
    names = [f"structure_{i}" for i in range(40)]
    picture = sheet(example(), names=names)
    legend_px = len(picture) - len(sheet(example())) + LINE_PX
    assert legend_px % LINE_PX == 0
    assert legend_px >= 2 * 3 * LINE_PX
    assert not picture[:legend_px, -2:].any()


def test_an_example_stays_as_it_was():
    it = marked({(20, 60, 20, 60): 1}, {(20, 60, 40, 90): 1})
    before = [array.copy() for array in (it.image_HWC, it.truth_HW, it.mask_HW)]
    sheet(it)
    for array, was in zip((it.image_HWC, it.truth_HW, it.mask_HW), before, strict=True):
        np.testing.assert_array_equal(array, was)
