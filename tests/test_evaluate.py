"""Facts about `seg.evaluate`, by hand and against a bootstrap of its own."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seg.contracts import Case, Prediction, Slice
from seg.evaluate import extremes, interval, score_cases, summarize, write_rows

SCORES = ("dice", "iou", "sensitivity", "specificity", "precision")


def predicted(patient, truth, mask, volume="", side=None):
    """Return a slice of one row of pixels, from strings of 0 and 1."""
    truth_HW, mask_HW = (np.array([list(row)]) == "1" for row in (truth, mask))
    slice_ = Slice("s", Path("i.png"), Path("m.png"))
    return Prediction(Case(patient, (slice_,), side, volume=volume), slice_, truth_HW, mask_HW)


def row(case, dice, truth_px=10, predicted_px=10, patient=None):
    return {
        "case": case,
        "patient": patient or case,
        "slices": 1,
        "truth_px": truth_px,
        "predicted_px": predicted_px,
        **dict.fromkeys(SCORES, 0.5),
        "dice": dice,
    }


def test_slices_of_a_case_are_pooled_not_their_dice_averaged():
    """Slice Dice 1 and 0, mean 0.5; pooled 2 * 3 / (2 * 3 + 0 + 1) = 6/7."""
    (case,) = score_cases([predicted("a", "1110", "1110"), predicted("a", "0001", "0000")])
    assert case["dice"] == pytest.approx(6 / 7)
    assert case["sensitivity"] == pytest.approx(3 / 4)


def test_a_row_says_how_much_was_counted():
    (case,) = score_cases([predicted("a", "1110", "0111"), predicted("a", "1000", "0000")])
    assert list(case) == ["case", "patient", "slices", "truth_px", "predicted_px", *SCORES]
    assert list(case.values())[:5] == ["a", "a", 2, 4, 3]


def test_cases_stay_apart_in_the_order_met_even_where_their_slices_alternate():
    rows = score_cases(
        [
            predicted("b", "10", "10"),
            predicted("a", "10", "01"),
            predicted("b", "10", "00"),
        ]
    )
    assert [(row["case"], row["slices"]) for row in rows] == [("b", 2), ("a", 1)]
    assert [row["dice"] for row in rows] == [pytest.approx(2 / 3), 0]


def test_the_volumes_of_a_patient_are_scored_apart():
    """The patient p_1 of one volume is not the volume 1 of patient p."""
    rows = score_cases(
        [
            predicted("p", "10", "10", volume="1"),
            predicted("p", "10", "01", volume="2"),
            predicted("p_1", "00", "01"),
        ]
    )
    assert [(r["case"], r["patient"], r["slices"], r["truth_px"]) for r in rows] == [
        ("p_1", "p", 1, 1),
        ("p_2", "p", 1, 1),
        ("p_1", "p_1", 1, 0),
    ]
    assert [r["dice"] for r in rows] == [1, 0, 0]


def test_parts_of_a_volume_from_two_ready_made_sides_are_one_case():
    parts = [predicted("p", "10", "10", side=side) for side in ("train", "test")]
    assert [(r["case"], r["slices"]) for r in score_cases(parts)] == [("p", 2)]


def test_slices_of_a_case_may_differ_in_size():
    (case,) = score_cases([predicted("a", "10", "10"), predicted("a", "0001", "0011")])
    assert case["dice"] == pytest.approx(4 / 5)


def test_a_false_alarm_in_an_empty_slice_lowers_the_score_of_the_case():
    (case,) = score_cases([predicted("a", "11", "11"), predicted("a", "00", "11")])
    assert case["dice"] == pytest.approx(4 / 6)


def test_no_predictions_give_no_rows():
    assert score_cases([]) == []


def test_rows_are_written_with_an_empty_cell_for_what_is_undefined(tmp_path):
    write_rows(score_cases([predicted("007", "00", "00")]), tmp_path / "cases.csv")
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    assert lines == [
        "case,patient,slices,truth_px,predicted_px,dice,iou,sensitivity,specificity,precision",
        "007,007,1,0,0,,,,1.0,",
    ]


def test_written_scores_are_read_back_exactly(tmp_path):
    rows = score_cases([predicted("a", "1110", "0111"), predicted("b", "11111110", "10000000")])
    write_rows(rows, tmp_path / "cases.csv")
    table = pd.read_csv(tmp_path / "cases.csv", float_precision="round_trip")
    assert table.to_dict("records") == rows


def test_mean_sd_and_median_are_those_by_hand():
    """Of 0.2, 0.4, 0.9: mean 0.5, squares 0.09 + 0.01 + 0.16 = 0.26 over 2, middle 0.4."""
    summary = summarize([row("a", 0.2), row("b", 0.4), row("c", 0.9)], "val")
    assert summary["val/dice"] == pytest.approx(0.5)
    assert summary["val/dice_sd"] == pytest.approx(math.sqrt(0.13))
    assert summary["val/dice_median"] == pytest.approx(0.4)
    assert summary["val/dice_undefined"] == 0
    assert summary["val/cases"] == 3


def test_every_score_has_four_numbers_under_the_side_and_dice_two_more():
    names = {f"test/{s}{end}" for s in SCORES for end in ("", "_sd", "_ci_low", "_ci_high")}
    names |= {"test/dice_median", "test/dice_undefined"}
    names |= {f"test/{n}" for n in ("patients", "cases", "cases_without_target", "false_alarms")}
    assert set(summarize([row("a", 0.5), row("b", 0.6)], "test")) == names


def test_cases_in_which_a_score_is_undefined_are_left_out_and_counted():
    rows = [row("a", 0.2), row("b", math.nan), row("c", 0.4), row("d", math.nan)]
    summary = summarize(rows, "val")
    assert summary["val/dice"] == pytest.approx(0.3)
    assert summary["val/dice_sd"] == pytest.approx(math.sqrt(0.02))
    assert summary["val/dice_median"] == pytest.approx(0.3)
    assert summary["val/dice_undefined"] == 2
    assert summary["val/iou"] == 0.5
    assert summary["val/cases"] == 4
    assert (summary["val/dice_ci_low"], summary["val/dice_ci_high"]) == interval(
        np.array([0.2, 0.4])
    )


def of_patients(**dice):
    """Return rows of patients, each with a list of the Dice of its cases."""
    return [
        row(f"{patient}_{i}", value, patient=patient)
        for patient, values in dice.items()
        for i, value in enumerate(values)
    ]


def test_the_cases_of_a_patient_are_averaged_before_the_patients():
    """Patients 0.2, (0.9 + 0.7 + 0.5) / 3 = 0.7 and 0.9: mean 0.6, squares 0.16 + 0.01 + 0.09."""
    summary = summarize(of_patients(a=[0.2], b=[0.9, 0.7, 0.5], c=[1.0, 0.8]), "test")
    assert summary["test/dice"] == pytest.approx(0.6)
    assert summary["test/dice_sd"] == pytest.approx(math.sqrt(0.13))
    assert summary["test/dice_median"] == pytest.approx(0.7)
    assert (summary["test/patients"], summary["test/cases"]) == (3, 6)
    low, high = summary["test/dice_ci_low"], summary["test/dice_ci_high"]
    assert (low, high) == pytest.approx(interval(np.array([0.2, 0.7, 0.9])))


def test_a_patient_scanned_often_weighs_no_more_and_makes_nothing_surer():
    once = summarize(of_patients(a=[0.2], b=[0.8]), "val")
    often = summarize(of_patients(a=[0.2], b=[0.8] * 50), "val")
    changed = {name for name in once if once[name] != pytest.approx(often[name])}
    assert changed == {"val/cases"}


def test_a_patient_is_averaged_over_the_cases_in_which_the_score_is_defined():
    """Patients 0.4 and (0.9 + 0.5) / 2 = 0.7; c has no defined case; 1 + 2 cases are undefined."""
    rows = of_patients(a=[0.4], b=[0.9, math.nan, 0.5], c=[math.nan, math.nan])
    summary = summarize(rows, "val")
    assert summary["val/dice"] == pytest.approx(0.55)
    assert summary["val/dice_sd"] == pytest.approx(0.3 / math.sqrt(2))
    assert summary["val/dice_undefined"] == 3
    assert (summary["val/patients"], summary["val/cases"]) == (3, 6)


def test_where_the_cases_of_a_patient_stand_in_the_table_does_not_matter():
    rows = of_patients(a=[0.25, 0.75], b=[0.5, 1.0])
    assert summarize(rows[::2] + rows[1::2], "val") == summarize(rows, "val")


def test_one_patient_of_two_cases_has_no_spread_and_no_interval():
    summary = summarize(of_patients(a=[0.5, 0.75]), "val")
    assert summary["val/dice"] == 0.625
    for end in ("sd", "ci_low", "ci_high"):
        assert math.isnan(summary[f"val/dice_{end}"])


def test_with_a_case_for_each_patient_the_summary_is_that_of_the_cases():
    """Bit for bit, for 40 numbers that are no round ones."""
    dice = np.random.default_rng(0).random(40)
    summary = summarize([row(f"p{i}", value) for i, value in enumerate(dice.tolist())], "val")
    assert summary["val/dice"] == dice.mean()
    assert summary["val/dice_sd"] == dice.std(ddof=1)
    assert summary["val/dice_median"] == np.median(dice)
    assert (summary["val/dice_ci_low"], summary["val/dice_ci_high"]) == interval(dice)


def test_a_summary_can_be_written_as_json():
    rows = of_patients(a=[0.4, math.nan], b=[0.5])
    assert json.loads(json.dumps(summarize(rows, "val")))["val/dice_undefined"] == 1


def test_no_cases_have_a_summary_of_nothing():
    summary = summarize([], "val")
    assert math.isnan(summary["val/dice"])
    assert (summary["val/dice_undefined"], summary["val/patients"], summary["val/cases"]) == (
        0,
    ) * 3


def test_cases_without_target_and_false_alarms_among_them_are_counted():
    rows = [
        row("none of both", math.nan, truth_px=0, predicted_px=0),
        row("false alarm", 0.0, truth_px=0, predicted_px=3),
        row("missed", 0.0, truth_px=5, predicted_px=0),
        row("found", 0.8, truth_px=5, predicted_px=6),
    ]
    summary = summarize(rows, "val")
    assert summary["val/cases_without_target"] == 2
    assert summary["val/false_alarms"] == 1


def test_the_whole_way_from_masks_to_summary():
    """A false alarm scores 0, a case with neither is left out: (6/7 + 0) / 2."""
    rows = score_cases(
        [
            predicted("hit", "1110", "1110"),
            predicted("hit", "0001", "0000"),
            predicted("alarm", "0000", "0100"),
            predicted("quiet", "0000", "0000"),
        ]
    )
    summary = summarize(rows, "test")
    assert summary["test/dice"] == pytest.approx(3 / 7)
    assert summary["test/dice_undefined"] == 1
    assert summary["test/sensitivity"] == pytest.approx(3 / 4)
    assert summary["test/specificity"] == pytest.approx((1 + 3 / 4 + 1) / 3)
    assert summary["test/cases_without_target"] == 2
    assert summary["test/false_alarms"] == 1


def test_one_case_has_a_mean_but_no_spread_and_no_interval():
    summary = summarize([row("a", 0.7)], "val")
    assert (summary["val/dice"], summary["val/dice_median"]) == (0.7, 0.7)
    for end in ("sd", "ci_low", "ci_high"):
        assert math.isnan(summary[f"val/dice_{end}"])


def test_a_score_defined_nowhere_is_nan_throughout():
    summary = summarize([row("a", math.nan), row("b", math.nan)], "val")
    for end in ("", "_sd", "_median", "_ci_low", "_ci_high"):
        assert math.isnan(summary[f"val/dice{end}"])
    assert summary["val/dice_undefined"] == 2


VALUES = np.array([0.05, 0.31, 0.62, 0.7, 0.74, 0.8, 0.83, 0.85, 0.88, 0.9, 0.91, 0.93])


def test_the_same_values_give_the_same_interval():
    assert interval(VALUES) == interval(VALUES.copy())


def test_the_interval_brackets_the_mean_within_the_values():
    low, high = interval(VALUES)
    assert VALUES.min() < low < VALUES.mean() < high < VALUES.max()


def test_the_interval_is_that_of_a_bootstrap_written_out():
    """Quantiles of 200 000 resampled means.

    One of 9999 has a standard error of 0.027 standard errors of the mean; 0.1 is four times that.
    """
    draws = np.random.default_rng(1).integers(0, len(VALUES), (200_000, len(VALUES)))
    wanted = np.quantile(VALUES[draws].mean(axis=1), [0.025, 0.975])
    tolerance = 0.1 * VALUES.std() / math.sqrt(len(VALUES))
    np.testing.assert_allclose(interval(VALUES), wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values):
    assert all(math.isnan(end) for end in interval(np.array(values)))


def test_equal_values_have_an_interval_of_no_width():
    assert interval(np.full(4, 0.25)) == (0.25, 0.25)


def test_the_interval_of_two_values_reaches_from_one_to_the_other():
    """A quarter of the resamples holds each value twice: more than 2.5%."""
    assert interval(np.array([0.75, 0.25])) == (0.25, 0.75)


# Several classes


def sorted_into(patient, truth, mask, volume=""):
    """Return a slice of one row of pixels, from strings of class indices."""
    truth_HW, mask_HW = (np.array([list(row)]).astype(np.uint8) for row in (truth, mask))
    slice_ = Slice("s", Path("i.png"), Path("m.png"))
    return Prediction(Case(patient, (slice_,), volume=volume), slice_, truth_HW, mask_HW)


NAMES = ("liver", "tumour")
# Patient a: liver 3 true, 3 given, 2 shared; tumour 3 true, 2 given, 1 shared. Patient b has liver,
# 1 of 2 found, and no tumour, and none is seen. Patient c has neither, and 2 pixels of tumour are
# seen.
OF_THREE = [
    sorted_into("a", "1110", "1102"),
    sorted_into("a", "0222", "0201"),
    sorted_into("b", "1100", "1000"),
    sorted_into("c", "0000", "2200"),
]


def test_each_case_has_a_row_for_each_class_against_all_other_pixels():
    rows = score_cases(OF_THREE, NAMES)
    assert list(rows[0]) == ["case", "patient", "class", "slices", "truth_px", "predicted_px"] + [
        *SCORES
    ]
    assert [tuple(row.values())[:6] for row in rows] == [
        ("a", "a", "liver", 2, 3, 3),
        ("a", "a", "tumour", 2, 3, 2),
        ("b", "b", "liver", 1, 2, 1),
        ("b", "b", "tumour", 1, 0, 0),
        ("c", "c", "liver", 1, 0, 0),
        ("c", "c", "tumour", 1, 0, 2),
    ]
    assert [row["dice"] for row in rows] == pytest.approx(
        [2 / 3, 2 / 5, 2 / 3, math.nan, math.nan, 0], nan_ok=True
    )
    assert rows[1]["sensitivity"] == pytest.approx(1 / 3)
    assert rows[1]["specificity"] == pytest.approx(4 / 5)


def test_a_patients_classes_are_averaged_first_and_each_class_is_reported_by_name():
    """Dice of a (2/3 + 2/5) / 2 = 8/15, of b 2/3, of c 0: mean 2/5. Liver 2/3, tumour 1/5."""
    summary = summarize(score_cases(OF_THREE, NAMES), "test")
    assert summary["test/dice"] == pytest.approx(2 / 5)
    assert summary["test/dice_median"] == pytest.approx(8 / 15)
    assert summary["test/dice_liver"] == pytest.approx(2 / 3)
    assert summary["test/dice_tumour"] == pytest.approx(1 / 5)
    for name, values in (
        ("dice", [8 / 15, 2 / 3, 0]),
        ("dice_liver", [2 / 3, 2 / 3]),
        ("dice_tumour", [2 / 5, 0]),
    ):
        found = summary[f"test/{name}_ci_low"], summary[f"test/{name}_ci_high"]
        assert found == pytest.approx(interval(np.array(values)))


def test_classes_make_no_more_cases_and_only_a_case_without_any_is_without_target():
    summary = summarize(score_cases(OF_THREE, NAMES), "test")
    assert (summary["test/patients"], summary["test/cases"]) == (3, 3)
    assert summary["test/cases_without_target"] == summary["test/false_alarms"] == 1
    assert summary["test/dice_undefined"] == 2


def test_a_class_that_no_patient_has_is_nan_and_leaves_the_mean_alone():
    summary = summarize(score_cases([sorted_into("a", "110", "100")], NAMES), "val")
    assert summary["val/dice"] == summary["val/dice_liver"] == pytest.approx(2 / 3)
    assert all(math.isnan(summary[f"val/dice_tumour{end}"]) for end in ("", "_ci_low", "_ci_high"))


def test_the_volumes_of_a_patient_count_with_each_of_their_classes():
    """Dice of volume 1: 1 and 0; of volume 2: liver 1 alone. Patient (1 + 0 + 1) / 3."""
    found = [sorted_into("p", "12", "10", "1"), sorted_into("p", "10", "10", "2")]
    rows = score_cases(found, NAMES)
    assert [(row["case"], row["class"]) for row in rows] == [
        (case, name) for case in ("p_1", "p_2") for name in NAMES
    ]
    assert summarize(rows, "val")["val/dice"] == pytest.approx(2 / 3)


def test_of_one_class_with_a_name_the_scores_are_those_without():
    pairs = [("1110", "0111"), ("1000", "0000")]
    named = summarize(score_cases([sorted_into("a", *p) for p in pairs], ["lesion"]), "val")
    plain = summarize(score_cases([predicted("a", *p) for p in pairs]), "val")
    extra = {f"val/dice_lesion{end}" for end in ("", "_ci_low", "_ci_high")}
    assert named.keys() - plain.keys() == extra
    assert {key: named[key] for key in plain} == pytest.approx(plain, nan_ok=True)
    assert named["val/dice_lesion"] == plain["val/dice"]


# The worst and the best


def cases(*dices):
    return [row(f"c{i}", dice) for i, dice in enumerate(dices)]


def named(groups):
    return {title: [case for case, _, _ in chosen] for title, chosen in groups.items()}


def test_the_four_worst_go_up_and_the_four_best_go_down():
    groups = extremes(cases(0.5, 0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.4, 0.95))
    assert groups == {
        "worst": [("c2", "c2", 0.1), ("c6", "c6", 0.2), ("c4", "c4", 0.3), ("c8", "c8", 0.4)],
        "best": [("c9", "c9", 0.95), ("c1", "c1", 0.9), ("c3", "c3", 0.8), ("c5", "c5", 0.7)],
    }


@pytest.mark.parametrize(
    ("dices", "worst", "best"),
    [
        ((0.4, 0.1), ["c1"], ["c0"]),
        ((0.4, 0.1, 0.7), ["c1", "c0"], ["c2"]),
        ((0.5, 0.5, 0.5, 0.5), ["c0", "c1"], ["c3", "c2"]),
        (
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
            ["c0", "c1", "c2", "c3"],
            ["c6", "c5", "c4"],
        ),
    ],
)
def test_of_few_cases_none_is_chosen_twice(dices, worst, best):
    assert named(extremes(cases(*dices))) == {"worst": worst, "best": best}


def test_a_group_without_any_case_is_not_there():
    assert named(extremes(cases(0.4))) == {"worst": ["c0"]}
    assert extremes(cases(math.nan, math.nan)) == extremes([]) == {}


def test_a_case_whose_dice_is_undefined_is_neither_and_a_false_alarm_is_among_the_worst():
    """Nothing to find: of b nothing is predicted, 0/0; of c something is, Dice 0."""
    stream = [
        predicted("a", "1110", "1100"),
        predicted("b", "00", "00"),
        predicted("c", "00", "01"),
    ]
    assert extremes(score_cases(stream)) == {"worst": [("c", "c", 0)], "best": [("a", "a", 0.8)]}


def test_dice_of_a_case_is_the_mean_over_the_classes_in_which_it_is_defined():
    table = {"a": (0.2, 0.8), "b": (0.6, math.nan), "c": (math.nan, math.nan), "d": (0.3, 0.5)}
    rows = [
        row(case, dice) | {"class": name}
        for case, dices in table.items()
        for name, dice in zip(("liver", "tumour"), dices, strict=True)
    ]
    groups = extremes(rows)
    assert named(groups) == {"worst": ["d", "a"], "best": ["b"]}
    assert [dice for _, _, dice in groups["worst"]] == pytest.approx([0.4, 0.5])


def test_cases_of_one_name_are_told_apart_by_their_patients():
    rows = [row("a_b", 0.2, patient="a"), row("a_b", 0.6, patient="a_b")]
    assert extremes(rows) == {"worst": [("a_b", "a", 0.2)], "best": [("a_b", "a_b", 0.6)]}
