"""Facts about `seg.infer.hardest`: rows of pixels predicted by hand."""

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest

from seg.contracts import Case, Classes, Prediction, Slice
from seg.figures.confusion import OUTCOMES
from seg.figures.contact import Example, contact_sheet
from seg.figures.panels import GAP_PX, PANEL_PX
from seg.figures.pictures import Style
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
    path = tmp_path / "figures" / "contact_sheet.png"
    hardest.draw({"worst": [(case, case, 0.5) for case in cases]}, path, classes)
    return cv2.imread(str(path))[..., ::-1]


def sheet_of(*slices, names=(), style=Style()):  # noqa: B008
    """Return the picture of slices: case, name, and truth and mask as rows of digits."""
    examples = []
    for case, name, *rows in slices:
        truth_HW, mask_HW = (np.array([list(row)], np.uint8) for row in rows)
        examples.append(Example(case, name, 0.5, np.zeros((*truth_HW.shape, 1)), truth_HW, mask_HW))
    return contact_sheet({"worst": examples}, names, style)


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
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", *rows[1])))


def test_of_a_case_without_an_error_the_largest_target_is_drawn(hand_made, tmp_path):
    rows = ("0100", "0100"), ("0111", "0111"), ("0011", "0011"), ("0000", "0000")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", *rows[1])))


def test_one_wrong_pixel_outdoes_a_large_target(hand_made, tmp_path):
    rows = ("1111", "1111"), ("0000", "0001")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", *rows[1])))


def test_of_slices_equally_wrong_the_largest_target_is_drawn_and_then_the_first(
    hand_made, tmp_path
):
    rows = ("0001", "0000"), ("1100", "1000"), ("0011", "0001")
    picture = drawn(watched(hand_made("a", *rows)), tmp_path, "a")
    np.testing.assert_array_equal(picture, sheet_of(("a", "a_1", *rows[1])))


def test_cases_of_one_name_are_told_apart_by_their_patients(hand_made, tmp_path):
    """Volume b of patient a, and patient a_b, are both named a_b."""
    (one,), (other,) = hand_made("a", ("10", "00")), hand_made("a_b", ("11", "00"))
    one = replace(one, case=replace(one.case, volume="b"))
    hardest = watched([other, one])
    path = tmp_path / "a.png"
    hardest.draw({"worst": [("a_b", "a", 0.5), ("a_b", "a_b", 0.5)]}, path, BINARY)
    wanted = sheet_of(("a_b", "a_0", "10", "00"), ("a_b", "a_b_0", "11", "00"))
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], wanted)


def test_cases_whose_slices_alternate_stay_apart(hand_made, tmp_path):
    first = hand_made("a", ("1100", "0100"), ("1100", "0000"))
    second = hand_made("b", ("0011", "1100"), ("0011", "0001"))
    alternating = [p for pair in zip(first, second, strict=True) for p in pair]
    wanted = sheet_of(("b", "b_0", "0011", "1100"), ("a", "a_1", "1100", "0000"))
    np.testing.assert_array_equal(drawn(watched(alternating), tmp_path, "b", "a"), wanted)


def test_a_wrong_class_is_wrong(hand_made, tmp_path):
    """One false negative, or two pixels of a wrong class and a right one."""
    rows = ("1200", "1000"), ("1210", "1120")
    hardest = watched(hand_made("a", *rows, dtype=np.uint8))
    picture = drawn(hardest, tmp_path, "a", classes=ORGANS)
    wanted = sheet_of(("a", "a_1", *rows[1]), names=["liver", "tumour"])
    np.testing.assert_array_equal(picture, wanted)


def test_a_picture_is_of_the_image_in_its_colours(tmp_path):
    """The truth is the upper half, nothing is predicted: all of it is missed."""
    orange = np.full((PANEL_PX, PANEL_PX, 3), (0, 128, 255), np.uint8)
    file = tmp_path / "a.png"
    cv2.imwrite(str(file), orange)
    slice_, truth_HW = Slice("a", file, file), np.zeros((PANEL_PX, PANEL_PX), bool)
    truth_HW[: PANEL_PX // 2] = True
    missed = Prediction(Case("a", (slice_,)), slice_, truth_HW, np.zeros_like(truth_HW))
    picture = drawn(watched([missed]), tmp_path, "a")
    row, step = picture[-PANEL_PX - GAP_PX : -GAP_PX, :-GAP_PX], PANEL_PX + GAP_PX
    image, truth, prediction, errors = (
        row[:, row.shape[1] - (4 - i) * step + GAP_PX :][:, :PANEL_PX] for i in range(4)
    )
    half = PANEL_PX // 2
    for bare in (image, prediction, truth[half:], errors[half:]):
        assert (bare == (255, 128, 0)).all()
    assert (truth[0] == Style().truth(1)).all()
    assert (errors[0] == OUTCOMES[3][1]).all()


def test_the_masks_are_drawn_in_the_style_asked_for(hand_made, tmp_path):
    style, path = Style(["#123456"], outline_px=0, opacity=0.5), tmp_path / "a.png"
    hardest = watched(hand_made("a", ("0110", "0011")))
    hardest.draw({"worst": [("a", "a", 0.5)]}, path, BINARY, style)
    wanted = sheet_of(("a", "a_0", "0110", "0011"), style=style)
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], wanted)


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
