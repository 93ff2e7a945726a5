"""Facts about `seg.infer.choice`, against scores of masks made one by one."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from seg.contracts import Case, Slice
from seg.evaluate import score_cases, summarize
from seg.infer.cases import Probable, masked
from seg.infer.choice import MIN_SIZES, THRESHOLDS, Kept, Options, choose
from seg.models.manual import Cleanup


def case_of(patient, truths, probabilities, spacing_mm=None):
    """Return the slices of a case, of truths HW and probabilities HW or HWN."""
    slices = tuple(Slice(f"{patient}_{k}", Path("i"), Path("m")) for k in range(len(truths)))
    case = Case(patient, slices, spacing_mm=spacing_mm)
    return [
        Probable(case, slice_, truth, np.atleast_3d(p).astype(np.float32))
        for slice_, truth, p in zip(slices, truths, probabilities, strict=True)
    ]


def noisy(n_cases, n_slices, seed, spacing_mm=None):
    """Discs with noise: probabilities are high inside, but never sure."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:24, :24]
    stream = []
    for i in range(n_cases):
        centre, radius = rng.uniform(8, 16, 2), rng.uniform(4, 7)
        disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        truths = [disc] * n_slices if i else [np.zeros_like(disc)] * n_slices
        p = [np.clip(0.15 + 0.35 * t + rng.normal(0, 0.12, t.shape), 0, 1) for t in truths]
        stream += case_of(f"p{i}", truths, p, spacing_mm)
    return stream


def dice(stream, threshold, cleanup):
    return summarize(score_cases(masked(stream, threshold, cleanup)), "val")["val/dice"]


def value(stream, threshold, cleanup):
    """The same, where a case without target in which nothing is predicted counts as right."""
    rows = score_cases(masked(stream, threshold, cleanup))
    rows = [row | {"dice": 1.0 if np.isnan(row["dice"]) else row["dice"]} for row in rows]
    return summarize(rows, "val")["val/dice"]


@pytest.mark.parametrize(("n_slices", "spacing_mm"), [(1, None), (3, None), (3, (5.0, 1.0, 1.0))])
def test_the_dice_of_each_option_is_that_of_the_masks_made_so(n_slices, spacing_mm):
    stream = noisy(4, n_slices, 0, spacing_mm)
    kept = Kept(stream, THRESHOLDS)
    for threshold, found in kept.by_threshold().items():
        assert found == pytest.approx(value(stream, threshold, Cleanup()))
    cleanups = [Cleanup(*each) for each in product((False, True), (0.0, 30.0), (False, True))]
    for cleanup, found in kept.by_cleanup(0.35, cleanups).items():
        assert found == pytest.approx(value(stream, 0.35, cleanup))
    assert kept.plain() == pytest.approx(dice(stream, 0.5, Cleanup()))


def test_the_best_threshold_is_taken_and_what_gains_on_it():
    stream = noisy(5, 3, 1)
    choice = choose(Kept(stream, THRESHOLDS), Options())
    alone = {t: value(stream, t, Cleanup()) for t in THRESHOLDS}
    assert alone[choice.threshold] == max(alone.values())
    assert choice.plain == pytest.approx(dice(stream, 0.5, Cleanup()))
    assert choice.value == pytest.approx(value(stream, choice.threshold, choice.cleanup))
    assert choice.value > alone[choice.threshold] > alone[0.5]
    assert choice.cleanup.largest_component or choice.cleanup.min_size


def test_the_masks_are_those_that_a_new_look_at_the_model_would_give():
    stream = noisy(3, 2, 2)
    kept, cleanup = Kept(stream, THRESHOLDS), Cleanup(min_size=10, largest_component=True)
    for found, same in zip(
        kept.predictions(0.35, cleanup), masked(stream, 0.35, cleanup), strict=True
    ):
        assert (found.case, found.slice) == (same.case, same.slice)
        assert found.truth_HW.dtype == found.mask_HW.dtype == bool
        np.testing.assert_array_equal(found.truth_HW, same.truth_HW)
        np.testing.assert_array_equal(found.mask_HW, same.mask_HW)


def test_a_probability_equal_to_a_threshold_reaches_it():
    """Also where it has no exact float: 0.3 as float32 is more than 0.3."""
    truth = np.array([[True, False]])
    for threshold in THRESHOLDS:
        stream = case_of("a", [truth], [np.array([[threshold, 0]])])
        (found,) = Kept(stream, THRESHOLDS).predictions(threshold, Cleanup())
        np.testing.assert_array_equal(found.mask_HW, truth)


def test_where_nothing_gains_a_half_and_no_cleanup_is_kept():
    truth = np.zeros((8, 8), bool)
    truth[2:5, 2:5] = True
    choice = choose(Kept(case_of("a", [truth], [truth * 1.0]), THRESHOLDS), Options())
    assert (choice.threshold, choice.cleanup) == (0.5, Cleanup())
    assert choice.value == choice.plain == 1


def test_no_choice_is_better_for_making_a_case_undefined():
    """One patient is found by half, three without target have false alarms below 0.7."""
    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    p = np.where(truth, 0.6, 0.0)
    p[0] = 0.9
    stream = case_of("a", [truth], [p])
    stream += case_of("b", [~truth & truth], [np.full((4, 4), 0.65)])
    kept = Kept(stream, THRESHOLDS)
    values = kept.by_threshold()
    assert values[0.5] == pytest.approx((1 + 0) / 2)
    assert values[0.7] == pytest.approx((2 / 3 + 1) / 2)
    assert kept.plain() == pytest.approx((1 + 0) / 2)


def test_where_no_dice_is_defined_a_half_and_no_cleanup_are_kept():
    empty = np.zeros((4, 4), bool)
    choice = choose(Kept(case_of("a", [empty], [empty * 1.0]), THRESHOLDS), Options())
    assert (choice.threshold, choice.cleanup) == (0.5, Cleanup())
    assert choice.value == 1
    assert np.isnan(choice.plain)


def test_what_is_given_is_kept_whatever_would_gain():
    stream = noisy(4, 2, 3)
    given = Options((0.9,), (True,), (100.0,), (False,))
    choice = choose(Kept(stream, given.thresholds), given)
    assert (choice.threshold, choice.cleanup) == (0.9, Cleanup(True, 100.0, False, "px"))
    assert choice.plain == pytest.approx(dice(stream, 0.5, Cleanup()))


def test_each_patient_counts_once_whatever_its_cases_and_size():
    """Patient a has two cases that want a low threshold, b and c one each that want a high one."""
    truth = np.ones((4, 4), bool)
    low, high = np.full((4, 4), 0.3), np.where(np.arange(16).reshape(4, 4) < 8, 0.9, 0.4)
    half = np.arange(16).reshape(4, 4) < 8
    stream = [m for p in ("a", "a") for m in case_of(p, [truth], [low])]
    stream += case_of("b", [half], [high]) + case_of("c", [half], [high])
    by_threshold = Kept(stream, (0.25, 0.5)).by_threshold()
    assert by_threshold[0.25] == pytest.approx((1 + 2 * 2 / 3) / 3)
    assert by_threshold[0.5] == pytest.approx((0 + 1 + 1) / 3)


def test_of_several_classes_only_the_cleanup_is_chosen():
    rng = np.random.default_rng(0)
    truth = np.zeros((12, 12), np.uint8)
    truth[1:5, 1:5], truth[6:11, 6:11] = 1, 2
    p_HWN = 0.6 * (truth[..., None] == np.arange(3)) + 0.4 * rng.dirichlet([0.5] * 3, (12, 12))
    p_HWN[0, 11] = 0, 1, 0
    stream = case_of("a", [truth], [p_HWN])
    choice = choose(Kept(stream, (0.5,)), Options((0.5,)))
    (made,) = Kept(stream, (0.5,)).predictions(choice.threshold, choice.cleanup)
    assert choice.cleanup.largest_component or choice.cleanup.min_size
    assert choice.value > choice.plain
    np.testing.assert_array_equal(made.mask_HW, truth)
    assert made.mask_HW.dtype == np.uint8


def test_options_begin_with_what_changes_nothing():
    every = Options()
    assert every.thresholds[0] == 0.5
    assert {*every.thresholds} == {*THRESHOLDS}
    assert (every.fill_holes[0], every.min_sizes[0], every.largest_component[0]) == (
        False,
        0,
        False,
    )
    assert every.min_sizes == MIN_SIZES
