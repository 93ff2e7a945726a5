"""Facts about `seg.data.check`: what of a dataset is refused before anything is learned."""

import logging
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from seg.contracts import Case, Classes, SegError, Slice
from seg.data import folder
from seg.data.check import verified, warn_of_gaps


@pytest.fixture
def case_of(tmp_path):
    """Return a function that writes (image, mask) pairs as the slices s0, s1, ... of a case."""

    def written(*pairs):
        slices = []
        for i, (image, mask) in enumerate(pairs):
            paths = tmp_path / f"s{i}_image.png", tmp_path / f"s{i}_mask.png"
            cv2.imwrite(str(paths[0]), image)
            cv2.imwrite(str(paths[1]), mask)
            slices.append(Slice(f"s{i}", *paths))
        return Case("p", tuple(slices))

    return written


def grey(height, width):
    return np.full((height, width), 90, np.uint8)


def target(height, width, value=255, dtype=np.uint8):
    mask = np.zeros((height, width), dtype)
    mask[1, 1] = value
    return mask


@pytest.mark.parametrize("channels", [1, 3])
def test_good_data_comes_back_as_it_was_but_for_the_count(cohort, channels):
    cases = folder.read(cohort, r"^(p\d+)_")
    back = verified(cases, channels, Classes(127))
    assert [forget(case) for case in back] == cases
    for slice_ in (s for case in back for s in case.slices):
        mask = cv2.imread(str(slice_.mask), cv2.IMREAD_UNCHANGED)
        assert slice_.target_px == (mask == 255).sum()


def forget(case):
    return replace(case, slices=tuple(replace(s, target_px=None) for s in case.slices))


def test_what_is_counted_lies_above_the_threshold_in_any_channel_at_the_stored_size(case_of):
    """Of 7 x 5 pixels the first row holds 128 and the second 127; or 60, once in red."""
    grey_HW, colour_HWC = np.zeros((7, 5), np.uint8), np.zeros((7, 5, 3), np.uint8)
    grey_HW[0], grey_HW[1], colour_HWC[3, 3, 2] = 128, 127, 60
    case = case_of((grey(7, 5), grey_HW), (grey(7, 5), colour_HWC))
    for threshold, counts in ((127, [5, 0]), (126, [10, 0]), (59, [10, 1]), (0, [10, 1])):
        (found,) = verified([case], 1, Classes(threshold))
        assert [slice_.target_px for slice_ in found.slices] == counts
        assert found.target_size == sum(counts)


def test_slices_may_differ_in_size_from_each_other(case_of):
    (case,) = verified(
        [case_of((grey(4, 5), target(4, 5)), (grey(6, 3), target(6, 3)))], 1, Classes(127)
    )
    assert [slice_.target_px for slice_ in case.slices] == [1, 1]


def test_a_slice_without_target_is_good_data_and_counted_as_0(case_of):
    pairs = (grey(4, 4), grey(4, 4) * 0), (grey(4, 4), target(4, 4))
    (case,) = verified([case_of(*pairs)], 1, Classes(127))
    assert [slice_.target_px for slice_ in case.slices] == [0, 1]


def test_what_has_been_verified_can_be_verified_again(case_of):
    once = verified([case_of((grey(4, 4), target(4, 4)))], 1, Classes(127))
    assert verified(once, 1, Classes(127)) == once


@pytest.mark.parametrize("cases", [[], [Case("p", ())]])
def test_a_dataset_without_slices_is_refused(cases):
    with pytest.raises(SegError, match=r"no slice found; check dataset\.root"):
        verified(cases, 1, Classes(127))


def test_a_mask_of_another_size_is_named_with_both_sizes(case_of):
    case = case_of((grey(4, 6), target(4, 6)), (grey(4, 6), target(6, 4)))
    with pytest.raises(SegError) as caught:
        verified([case], 1, Classes(127))
    message = str(caught.value)
    assert f"{case.slices[1].mask}: mask is 6x4" in message
    assert f"{case.slices[1].image} is 4x6" in message
    assert "s0_image" not in message


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_an_unreadable_file_is_named(case_of, kind):
    case = case_of((grey(4, 4), target(4, 4)))
    path = getattr(case.slices[0], kind)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SegError) as caught:
        verified([case], 1, Classes(127))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_vanished_file_is_named(case_of, kind):
    case = case_of((grey(4, 4), target(4, 4)))
    path = getattr(case.slices[0], kind)
    path.unlink()
    with pytest.raises(SegError) as caught:
        verified([case], 1, Classes(127))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("bad", "more"), [(3, None), (4, 1), (6, 3)])
def test_the_first_three_problems_are_named_and_the_rest_counted(case_of, bad, more):
    pairs = [(grey(4, 4), target(4, 4))] + [(grey(4, 4), target(3, 3))] * bad
    case = case_of(*pairs)
    halves = [replace(case, slices=case.slices[:2]), replace(case, slices=case.slices[2:])]
    with pytest.raises(SegError) as caught:
        verified(halves, 1, Classes(127))
    message = str(caught.value)
    assert sorted(set(re.findall(r"s\d_mask", message))) == ["s1_mask", "s2_mask", "s3_mask"]
    assert re.findall(r"\(and (\d+) more\)", message) == ([str(more)] if more else [])


def test_masks_of_0_and_1_are_answered_with_the_threshold_to_set(case_of):
    case = case_of((grey(4, 4), target(4, 4, 1)))
    with pytest.raises(SegError, match=r"the largest is 1; set dataset\.mask_threshold=0$"):
        verified([case], 1, Classes(127))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1, np.uint8), (2, np.uint8), (3, np.uint8), (127, np.uint8), (1, np.uint16)],
)
def test_the_proposed_threshold_mends_the_dataset(case_of, value, dtype):
    case = case_of((grey(4, 4), target(4, 4, value, dtype)))
    with pytest.raises(SegError) as caught:
        verified([case], 1, Classes(127))
    proposed = re.search(r"set dataset\.mask_threshold=(\S+)$", str(caught.value))
    verified([case], 1, Classes(float(proposed[1])))


def test_masks_without_any_target_are_not_answered_with_a_threshold(case_of):
    case = case_of((grey(4, 4), grey(4, 4) * 0))
    with pytest.raises(SegError) as caught:
        verified([case], 1, Classes(0))
    assert "set dataset.mask_threshold=" not in str(caught.value)


def test_one_pixel_above_the_threshold_is_enough(case_of):
    case = case_of((grey(4, 4), target(4, 4, 128)))
    verified([case], 1, Classes(127))
    with pytest.raises(SegError, match="no mask has a value above 128"):
        verified([case], 1, Classes(128))


def test_some_masks_of_another_encoding_are_reported(case_of, caplog):
    mixed = case_of(
        (grey(8, 8), target(8, 8)),
        (grey(8, 8), target(8, 8, value=1)),
        (grey(8, 8), np.zeros((8, 8), np.uint8)),
    )
    verified([mixed], 1, Classes(127))
    assert "1 masks hold values, but none above dataset.mask_threshold=127" in caplog.text


def test_twelve_bits_in_sixteen_are_reported(case_of, caplog):
    dark = np.full((8, 8), 4095, np.uint16)
    verified([case_of((dark, target(8, 8)))], 1, Classes(127))
    assert "6.2% of the largest value" in caplog.text


def test_one_bright_image_among_dark_ones_is_enough(case_of, caplog):
    verified([case_of((grey(4, 4), target(4, 4)), (grey(4, 4) * 0, target(4, 4)))], 1, Classes(127))
    assert not caplog.records


GOOD, TORN = (grey(4, 4), target(4, 4)), (grey(4, 4), target(3, 3))


def test_an_error_says_how_to_go_on_without_the_bad_slices(case_of):
    with pytest.raises(SegError, match=r"dataset\.on_bad=skip to leave them out$"):
        verified([case_of(GOOD, TORN)], 1, Classes(127))


def test_bad_slices_are_left_out_and_each_is_logged_with_its_reason(case_of, caplog):
    case = case_of(GOOD, TORN, GOOD, GOOD)
    case.slices[3].image.write_bytes(b"")
    (left,) = verified([case], 1, Classes(127), "skip")
    assert [slice_.id for slice_ in left.slices] == ["s0", "s2"]
    assert [slice_.target_px for slice_ in left.slices] == [1, 1]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    number, *reasons = [record.getMessage() for record in caplog.records]
    assert number == "dataset.on_bad=skip: 2 slices are left out, 2 are used"
    assert [("s1_mask" in r, "mask is 3x3" in r) for r in reasons] == [(True, True), (False,) * 2]
    assert "s3_image.png: not a readable image" in reasons[1]


def test_a_case_left_with_no_slice_goes_and_the_others_keep_their_order(case_of):
    pairs = case_of(GOOD, TORN, GOOD, TORN).slices
    cases = [
        Case(name, tuple(pairs[i] for i in places))
        for name, places in (("c", [0]), ("b", [1, 3]), ("a", [2, 3]))
    ]
    found = verified(cases, 1, Classes(127), "skip")
    assert [(case.patient, [s.id for s in case.slices]) for case in found] == [
        ("c", ["s0"]),
        ("a", ["s2"]),
    ]


@pytest.mark.parametrize(("bad", "last"), [(20, "left out: "), (21, "and 1 more"), (25, "and 5 ")])
def test_twenty_bad_slices_are_listed_and_the_rest_counted(case_of, caplog, bad, last):
    verified([case_of(GOOD, *[TORN] * bad)], 1, Classes(127), "skip")
    messages = [record.getMessage() for record in caplog.records]
    assert sum(message.startswith("left out: ") for message in messages) == 20
    assert messages[-1].startswith(last)


def test_good_data_is_not_remarked_on_where_bad_would_be_left_out(case_of, caplog):
    assert len(verified([case_of(GOOD, GOOD)], 1, Classes(127), "skip")[0].slices) == 2
    assert not caplog.records


def test_a_dataset_of_bad_slices_only_is_refused_with_the_first_reason(case_of):
    case = case_of(TORN, TORN)
    with pytest.raises(SegError, match=r"none of 2 slices can be used.*s0_mask\.png: mask is 3x3"):
        verified([case], 1, Classes(127), "skip")


def test_the_masks_left_over_must_have_a_target(case_of):
    with pytest.raises(SegError, match="every mask is black"):
        verified([case_of((grey(4, 4), grey(4, 4) * 0), TORN)], 1, Classes(127), "skip")


LABELLED = Classes(127, {"liver": 2, "tumour": 5})


def labels(*values):
    """Return a mask of 4 x 4 whose first pixels have these values."""
    mask = np.zeros((4, 4), np.uint8)
    mask.flat[: len(values)] = values
    return mask


def test_with_labels_every_class_is_target_and_no_threshold_plays_a_role(case_of, caplog):
    pairs = [(grey(4, 4), labels(2, 5, 5)), (grey(4, 4), labels()), (grey(4, 4), labels(2))]
    (case,) = verified([case_of(*pairs)], 1, LABELLED)
    assert [slice_.target_px for slice_ in case.slices] == [3, 0, 1]
    assert not caplog.records


def test_a_mask_with_a_value_that_has_no_label_is_named_or_left_out(case_of, caplog):
    case = case_of((grey(4, 4), labels(2, 5)), (grey(4, 4), labels(2, 3)))
    with pytest.raises(SegError) as caught:
        verified([case], 1, LABELLED)
    message = str(caught.value)
    assert "s1_mask.png: pixels must be 0 or named in dataset.labels={liver: 2, tumour" in message
    assert "received 3; name that value too" in message
    assert message.endswith("take dataset.on_bad=skip to leave them out")
    (left,) = verified([case], 1, LABELLED, "skip")
    assert [slice_.id for slice_ in left.slices] == ["s0"]
    assert "s1_mask.png" in caplog.text


def test_a_label_that_no_mask_holds_is_reported(case_of, caplog):
    verified([case_of((grey(4, 4), labels(5)), (grey(4, 4), labels()))], 1, LABELLED)
    assert "dataset.labels: no mask has a pixel of liver=2" in caplog.text
    assert "tumour" not in caplog.text


def test_masks_of_nothing_but_background_are_refused_with_labels_too(case_of):
    with pytest.raises(SegError, match="every mask is black"):
        verified([case_of((grey(4, 4), labels()))], 1, LABELLED)


def numbered(*names):
    slices = tuple(Slice(name, Path(name), Path(name)) for name in names)
    return Case("a", slices, spacing_mm=(1, 1, 1))


@pytest.mark.parametrize(
    ("names", "around"),
    [
        (("a_1", "a_2", "a_4", "a_8"), ("a_2", "a_4")),
        (("1_s010", "1_s015", "1_s030"), ("1_s015", "1_s030")),
    ],
)
def test_slices_that_are_missing_between_others_are_reported(names, around, caplog):
    warn_of_gaps([numbered("b_1", "b_2", "b_3"), numbered(*names)])
    between = f"1 of 2 cases lack slices, the first between {around[0]} and {around[1]}: "
    assert between in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ("a_1",),
        ("a_1", "a_7"),
        ("a_9", "a_10", "a_11"),
        ("a_2", "a_4", "a_6"),
        ("top", "middle_1", "low_5"),
        ("1_left", "1_right", "2_left"),
        ("a_3", "a_1", "a_2"),
    ],
)
def test_slices_whose_numbers_say_nothing_of_a_gap_are_not_remarked_on(names, caplog):
    warn_of_gaps([numbered(*names)])
    assert not caplog.text
