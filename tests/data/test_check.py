"""Facts about `seg.data.check`: what of a dataset is refused before anything is learned."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from seg.contracts import Case, SegError, Slice
from seg.data import folder
from seg.data.check import verify


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
def test_good_data_passes(cohort, channels):
    verify(folder.read(cohort, r"^(p\d+)_"), channels, 127)


def test_slices_may_differ_in_size_from_each_other(case_of):
    verify([case_of((grey(4, 5), target(4, 5)), (grey(6, 3), target(6, 3)))], 1, 127)


def test_a_slice_without_target_is_good_data(case_of):
    verify([case_of((grey(4, 4), grey(4, 4) * 0), (grey(4, 4), target(4, 4)))], 1, 127)


@pytest.mark.parametrize("cases", [[], [Case("p", ())]])
def test_a_dataset_without_slices_is_refused(cases):
    with pytest.raises(SegError, match=r"no slice found; check dataset\.root"):
        verify(cases, 1, 127)


def test_a_mask_of_another_size_is_named_with_both_sizes(case_of):
    case = case_of((grey(4, 6), target(4, 6)), (grey(4, 6), target(6, 4)))
    with pytest.raises(SegError) as caught:
        verify([case], 1, 127)
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
        verify([case], 1, 127)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_vanished_file_is_named(case_of, kind):
    case = case_of((grey(4, 4), target(4, 4)))
    path = getattr(case.slices[0], kind)
    path.unlink()
    with pytest.raises(SegError) as caught:
        verify([case], 1, 127)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("bad", "more"), [(3, None), (4, 1), (6, 3)])
def test_the_first_three_problems_are_named_and_the_rest_counted(case_of, bad, more):
    pairs = [(grey(4, 4), target(4, 4))] + [(grey(4, 4), target(3, 3))] * bad
    case = case_of(*pairs)
    halves = [replace(case, slices=case.slices[:2]), replace(case, slices=case.slices[2:])]
    with pytest.raises(SegError) as caught:
        verify(halves, 1, 127)
    message = str(caught.value)
    assert sorted(set(re.findall(r"s\d_mask", message))) == ["s1_mask", "s2_mask", "s3_mask"]
    assert re.findall(r"\(and (\d+) more\)", message) == ([str(more)] if more else [])


def test_masks_of_0_and_1_are_answered_with_the_threshold_to_set(case_of):
    case = case_of((grey(4, 4), target(4, 4, 1)))
    with pytest.raises(SegError, match=r"the largest is 1; set dataset\.mask_threshold=0$"):
        verify([case], 1, 127)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(1, np.uint8), (2, np.uint8), (3, np.uint8), (127, np.uint8), (1, np.uint16)],
)
def test_the_proposed_threshold_mends_the_dataset(case_of, value, dtype):
    case = case_of((grey(4, 4), target(4, 4, value, dtype)))
    with pytest.raises(SegError) as caught:
        verify([case], 1, 127)
    proposed = re.search(r"set dataset\.mask_threshold=(\S+)$", str(caught.value))
    verify([case], 1, float(proposed[1]))


def test_masks_without_any_target_are_not_answered_with_a_threshold(case_of):
    case = case_of((grey(4, 4), grey(4, 4) * 0))
    with pytest.raises(SegError) as caught:
        verify([case], 1, 0)
    assert "set dataset.mask_threshold=" not in str(caught.value)


def test_one_pixel_above_the_threshold_is_enough(case_of):
    case = case_of((grey(4, 4), target(4, 4, 128)))
    verify([case], 1, 127)
    with pytest.raises(SegError, match="no mask has a value above 128"):
        verify([case], 1, 128)


def test_some_masks_of_another_encoding_are_reported(case_of, caplog):
    mixed = case_of(
        (grey(8, 8), target(8, 8)),
        (grey(8, 8), target(8, 8, value=1)),
        (grey(8, 8), np.zeros((8, 8), np.uint8)),
    )
    verify([mixed], 1, 127)
    assert "1 masks hold values, but none above dataset.mask_threshold=127" in caplog.text


def test_twelve_bits_in_sixteen_are_reported(case_of, caplog):
    dark = np.full((8, 8), 4095, np.uint16)
    verify([case_of((dark, target(8, 8)))], 1, 127)
    assert "6.2% of the largest value" in caplog.text
