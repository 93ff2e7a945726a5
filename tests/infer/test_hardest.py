"""Facts about `seg.infer.hardest`: rows of pixels predicted by hand."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from seg.contracts import Case, Classes, Prediction, Slice
from seg.figures.confusion import OUTCOMES, confusion_sheet
from seg.figures.pictures import CAPTION_PX, GAP_PX, PANEL_PX
from seg.infer.hardest import Hardest

BINARY = Classes(127.5)
ORGANS = Classes(127, {"liver": 3, "tumour": 200})


@pytest.fixture
def hand_made(tmp_path):
    """Return a function that predicts a case whose slices are rows of digits, (truth, mask)."""

    def predicted(patient, *rows, dtype=bool):
        paths = [tmp_path / f"{patient}_{i}.png" for i in range(len(rows))]
        slices = tuple(Slice(path.stem, path, path) for path in paths)
        case = Case(patient, slices)
        for slice_, row in zip(slices, rows, strict=True):
            truth_HW, mask_HW = (np.array([list(digits)], np.uint8).astype(dtype) for digits in row)
            cv2.imwrite(str(slice_.image), np.zeros(truth_HW.shape, np.uint8))
            yield Prediction(case, slice_, truth_HW, mask_HW)

    return predicted


def watched(*predictions):
    hardest = Hardest()
    for _ in hardest.watch(p for stream in predictions for p in stream):
        pass
    return hardest


def drawn(hardest, tmp_path, *cases, classes=BINARY):
    """Return the picture of cases, named as their patients, with Dice 0.5."""
    path = tmp_path / "figures" / "worst_best.png"
    hardest.draw({"worst": [(case, case, 0.5) for case in cases]}, path, classes)
    return cv2.imread(str(path))[..., ::-1]


def sheet_of(*slices, several=False):
    """Return the picture of slices: case, name, and its outcomes as a row of digits."""
    rows = [(case, name, np.array([list(digits)], np.uint8)) for case, name, digits in slices]
    panels = [(np.zeros((*row.shape, 1)), row, case, name, 0.5) for case, name, row in rows]
    return confusion_sheet({"worst": panels}, several)


def test_watching_passes_every_prediction_on_unchanged_and_one_at_a_time(hand_made):
    predictions = list(hand_made("a", *[("0110", "0011")] * 5))
    before = [(p.truth_HW.copy(), p.mask_HW.copy()) for p in predictions]
    left = iter(predictions)
    stream = Hardest().watch(left)
    assert next(stream) is predictions[0]
    assert next(left) is predictions[1]
    assert [id(p) for p in stream] == [id(p) for p in predictions[2:]]
    for prediction, (truth_HW, mask_HW) in zip(predictions, before, strict=True):
        np.testing.assert_array_equal(prediction.truth_HW, truth_HW)
        np.testing.assert_array_equal(prediction.mask_HW, mask_HW)


def test_the_slice_with_the_most_wrong_pixels_is_drawn(hand_made, tmp_path):
    """One, three (two false positives, a false negative) and two wrong pixels."""
    rows = ("11110", "11111"), ("01100", "10101"), ("11000", "00000")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", "23102")))


def test_of_a_case_without_an_error_the_largest_target_is_drawn(hand_made, tmp_path):
    rows = ("0100", "0100"), ("0111", "0111"), ("0011", "0011"), ("0000", "0000")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", "0111")))


def test_one_wrong_pixel_outdoes_a_large_target(hand_made, tmp_path):
    rows = ("1111", "1111"), ("0000", "0001")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", "0002")))


def test_of_slices_equally_wrong_the_largest_target_is_drawn_and_then_the_first(
    hand_made, tmp_path
):
    rows = ("0001", "0000"), ("1100", "1000"), ("0011", "0001")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", "1300")))


def test_cases_of_one_name_are_told_apart_by_their_patients(hand_made, tmp_path):
    """Volume b of patient a, and patient a_b, are both named a_b."""
    (one,), (other,) = hand_made("a", ("10", "00")), hand_made("a_b", ("11", "00"))
    one = replace(one, case=replace(one.case, volume="b"))
    hardest = watched([other, one])
    path = tmp_path / "a.png"
    hardest.draw({"worst": [("a_b", "a", 0.5), ("a_b", "a_b", 0.5)]}, path, BINARY)
    wanted = sheet_of(("a_b", "a_0", "30"), ("a_b", "a_b_0", "33"))
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], wanted)


def test_cases_whose_slices_alternate_stay_apart(hand_made, tmp_path):
    first = hand_made("a", ("1100", "0100"), ("1100", "0000"))
    second = hand_made("b", ("0011", "1100"), ("0011", "0001"))
    alternating = [p for pair in zip(first, second, strict=True) for p in pair]
    wanted = sheet_of(("b", "b_0", "2233"), ("a", "a_1", "3300"))
    np.testing.assert_array_equal(drawn(watched(alternating), tmp_path, "b", "a"), wanted)


def test_a_wrong_class_is_wrong(hand_made, tmp_path):
    """One false negative, or two pixels of a wrong class and a right one."""
    rows = ("1200", "1000"), ("1210", "1120")
    hardest = watched(hand_made("a", *rows, dtype=np.uint8))
    picture = drawn(hardest, tmp_path, "a", classes=ORGANS)
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", "1440"), several=True))


def test_a_picture_is_of_the_image_in_its_colours(tmp_path):
    """The truth is the upper half, nothing is predicted: all of it is missed."""
    orange = np.full((PANEL_PX, PANEL_PX, 3), (0, 128, 255), np.uint8)
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), orange)
    slice_, truth_HW = Slice("a", file, file), np.zeros((PANEL_PX, PANEL_PX), bool)
    truth_HW[: PANEL_PX // 2] = True
    missed = Prediction(Case("a", (slice_,)), slice_, truth_HW, np.zeros_like(truth_HW))
    picture = drawn(watched([missed]), tmp_path, "a")
    panel = picture[5 * CAPTION_PX + GAP_PX :, GAP_PX:][:PANEL_PX, :PANEL_PX]
    half = PANEL_PX // 2
    assert (panel[half:] == (255, 128, 0)).all()
    assert (panel[0] == OUTCOMES[3][1]).all()


def test_without_a_case_no_picture_is_written(tmp_path):
    Hardest().draw({}, tmp_path / "figures" / "none.png", BINARY)
    assert not (tmp_path / "figures").exists()


def test_a_slice_of_each_case_is_held_in_less_than_a_byte_a_pixel():
    """200 cases of 5 slices of 256 x 256, of which each is harder than the last."""
    mask_HW, slice_ = np.zeros((256, 256), bool), Slice("s", None, None)

    def predictions():
        for case in (Case(str(i), (slice_,)) for i in range(200)):
            for n in range(5):
                truth_HW = mask_HW.copy()
                truth_HW[: 20 * (n + 1), 50:100] = True
                yield Prediction(case, slice_, truth_HW, mask_HW)

    tracemalloc.start()
    try:
        hardest = watched(predictions())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(hardest._kept) == 200
    assert held < 200 * 256 * 256 / 10
