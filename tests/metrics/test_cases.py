"""Facts about `seg.metrics.cases`, counted by hand."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from seg.metrics.cases import Confusion, confusion, scores

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
    found = scores(Confusion(tp=3, fp=1, fn=2, tn=14))
    assert found.dice == pytest.approx(6 / 9)
    assert found.iou == pytest.approx(3 / 6)
    assert found.sensitivity == pytest.approx(3 / 5)
    assert found.specificity == pytest.approx(14 / 15)
    assert found.precision == pytest.approx(3 / 4)


def test_a_perfect_case_scores_one_throughout():
    assert set(scores(Confusion(tp=5, tn=7)).as_dict().values()) == {1.0}


def test_neither_target_nor_prediction_leaves_only_specificity_defined():
    found = scores(Confusion(tn=9)).as_dict()
    assert found.pop("specificity") == 1
    assert set(found) == {"dice", "iou", "sensitivity", "precision"}
    assert all(math.isnan(value) for value in found.values())


def test_a_false_alarm_in_an_empty_case_is_dice_zero_and_no_sensitivity():
    found = scores(Confusion(fp=1, tn=8))
    assert (found.dice, found.iou, found.precision) == (0, 0, 0)
    assert math.isnan(found.sensitivity)
    assert found.specificity == pytest.approx(8 / 9)


def test_a_missed_target_is_dice_zero_and_no_precision():
    found = scores(Confusion(fn=4, tn=5))
    assert (found.dice, found.iou, found.sensitivity, found.specificity) == (0, 0, 0, 1)
    assert math.isnan(found.precision)


def test_a_target_that_fills_the_picture_has_no_specificity():
    assert math.isnan(scores(Confusion(tp=4)).specificity)
