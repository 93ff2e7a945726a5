"""Facts about `seg.metrics.cases`, counted by hand."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from seg.contracts import Scores
from seg.metrics.cases import Confusion, confusion, of_counts, of_volume

TRUTH = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], bool)
PREDICTED = np.array([[1, 1, 0, 0], [0, 1, 0, 0]], bool)


def test_counts_are_those_by_hand():
    """Two hits, one false alarm below, one miss at the end of the bar, four rightly left."""
    assert confusion(TRUTH, PREDICTED) == Confusion(tp=2, fp=1, fn=1, tn=4)


def test_truth_and_prediction_swapped_swap_the_errors():
    truth, predicted = np.array([1, 1, 1, 0], bool), np.array([1, 0, 0, 0], bool)
    assert confusion(truth, predicted) == Confusion(tp=1, fp=0, fn=2, tn=1)
    assert confusion(predicted, truth) == Confusion(tp=1, fp=2, fn=0, tn=1)


def test_counts_are_plain_integers_that_add_up():
    total = confusion(TRUTH, PREDICTED) + Confusion(tp=10, fp=20, fn=30, tn=40)
    assert total == Confusion(tp=12, fp=21, fn=31, tn=44)
    assert {type(count) for count in astuple(total)} == {int}


def test_counts_of_nothing_are_the_neutral_element():
    assert Confusion() + confusion(TRUTH, PREDICTED) == confusion(TRUTH, PREDICTED)


def test_scores_are_those_by_hand():
    found = of_counts(Confusion(tp=3, fp=1, fn=2, tn=14))
    assert found.dice == pytest.approx(6 / 9)
    assert found.iou == pytest.approx(3 / 6)
    assert found.sensitivity == pytest.approx(3 / 5)
    assert found.specificity == pytest.approx(14 / 15)
    assert found.precision == pytest.approx(3 / 4)
    assert found.volume_difference == pytest.approx((4 - 5) / 5)


OF_VOLUMES = {"hd95_mm", "assd_mm", "surface_dice", "lesion_sensitivity", "lesion_false_positives"}


def test_a_perfect_case_scores_one_throughout_and_differs_by_nothing():
    found = of_counts(Confusion(tp=5, tn=7)).as_dict()
    assert found.pop("volume_difference") == 0
    assert {found.pop(name) for name in found.keys() - OF_VOLUMES} == {1.0}


def test_counts_leave_undefined_what_needs_a_volume():
    found = of_counts(Confusion(tp=5, tn=7)).as_dict()
    assert {name for name, value in found.items() if math.isnan(value)} == OF_VOLUMES


def test_neither_target_nor_prediction_leaves_only_specificity_defined():
    found = of_counts(Confusion(tn=9)).as_dict()
    assert found.pop("specificity") == 1
    assert all(math.isnan(value) for value in found.values())


def test_a_false_alarm_in_an_empty_case_is_dice_zero_and_no_sensitivity():
    found = of_counts(Confusion(fp=1, tn=8))
    assert (found.dice, found.iou, found.precision) == (0, 0, 0)
    assert math.isnan(found.sensitivity)
    assert math.isnan(found.volume_difference)
    assert found.specificity == pytest.approx(8 / 9)


def test_a_missed_target_is_dice_zero_and_no_precision():
    found = of_counts(Confusion(fn=4, tn=5))
    assert (found.dice, found.iou, found.sensitivity, found.specificity) == (0, 0, 0, 1)
    assert found.volume_difference == -1
    assert math.isnan(found.precision)


def test_a_target_that_fills_the_picture_has_no_specificity():
    assert math.isnan(of_counts(Confusion(tp=4)).specificity)


def test_of_a_volume_all_is_scored():
    """Two true voxels, the second is found with a false one beside it, 2 mm on."""
    truth, mask = np.zeros((2, 3, 5, 5), bool)
    truth[1, 2, 1:3] = mask[1, 2, 2:4] = True
    found = of_volume(truth, mask, (5, 1, 2), 1, lesions=True)
    assert found == Scores(
        dice=1 / 2,
        iou=1 / 3,
        sensitivity=1 / 2,
        specificity=72 / 73,
        precision=1 / 2,
        volume_difference=0,
        hd95_mm=pytest.approx(1.9),
        assd_mm=1,
        surface_dice=1 / 2,
        lesion_sensitivity=1,
        lesion_false_positives=0,
    )


@pytest.mark.parametrize(
    ("spacing", "lesions", "undefined"),
    [
        (None, True, {"hd95_mm", "assd_mm", "surface_dice"}),
        ((1, 1, 1), False, {"lesion_sensitivity", "lesion_false_positives"}),
    ],
)
def test_what_is_not_known_or_not_asked_for_is_undefined(spacing, lesions, undefined):
    truth = np.ones((1, 2, 2), bool) & [True, False]
    found = of_volume(truth, truth, spacing, 1, lesions).as_dict()
    assert {name for name, value in found.items() if math.isnan(value)} == undefined


def test_more_is_better_of_all_but_differences_distances_and_false_positives():
    losses = {"volume_difference", "hd95_mm", "assd_mm", "lesion_false_positives"}
    assert set(Scores.gains()) == set(Scores.names()) - losses
