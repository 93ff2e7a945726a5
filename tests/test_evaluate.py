"""Facts about `seg.evaluate`, by hand and against a bootstrap of its own."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seg.contracts import Case, Prediction, Scores, Slice
from seg.evaluate import examples, interval, score_cases, strata, summarize, write_rows

SCORES = Scores.names()
SIZES = ("truth_px", "predicted_px", "truth_ml")


def predicted(patient, truth, mask, volume="", side=None, spacing_mm=None):
    """Return a slice of one row of pixels, from strings of 0 and 1."""
    truth_HW, mask_HW = (np.array([list(row)]) == "1" for row in (truth, mask))
    slice_ = Slice("s", Path("i.png"), Path("m.png"))
    case = Case(patient, (slice_,), side, volume=volume, spacing_mm=spacing_mm)
    return Prediction(case, slice_, truth_HW, mask_HW)


def row(case, dice, truth_px=10, predicted_px=10, patient=None, truth_ml=math.nan):
    return {
        "case": case,
        "patient": patient or case,
        "slices": 1,
        "truth_px": truth_px,
        "predicted_px": predicted_px,
        "truth_ml": truth_ml,
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
    assert list(case) == ["case", "patient", "slices", *SIZES, *SCORES]
    assert list(case.values())[:5] == ["a", "a", 2, 4, 3]
    assert math.isnan(case["truth_ml"])


def test_the_size_of_a_target_is_told_in_millilitres():
    """4 of 30 x 5 x 2 mm: 1.2 ml."""
    (case,) = score_cases(
        [predicted("a", truth, "0000", spacing_mm=(30, 5, 2)) for truth in ("1110", "1000")]
    )
    assert case["truth_ml"] == pytest.approx(1.2)


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


# A case is a volume


def test_distances_are_measured_from_slice_to_slice():
    """Two slices of 3 mm further on and a column of 4 mm aside: the root of 36 + 16."""
    masks = [("10", "00"), ("00", "00"), ("00", "01")]
    (case,) = score_cases([predicted("a", *pair, spacing_mm=(3, 1, 4)) for pair in masks])
    assert case["hd95_mm"] == case["assd_mm"] == pytest.approx(math.sqrt(52))
    assert case["surface_dice"] == 0


def test_slices_that_arrive_among_those_of_other_cases_make_the_same_volume():
    def slices(patient):
        masks = [("110", "100"), ("111", "011"), ("000", "001")]
        return [predicted(patient, *pair, spacing_mm=(3, 1, 1)) for pair in masks]

    alone = score_cases(slices("a"), lesions=True)
    mixed = [one for pair in zip(slices("b"), slices("a"), strict=True) for one in pair]
    assert score_cases(mixed, lesions=True)[1:] == alone


def test_the_tolerance_is_that_asked_for():
    def share(**options):
        (case,) = score_cases([predicted("a", "1000", "0010", spacing_mm=(1, 1, 1))], **options)
        return case["surface_dice"]

    assert (share(), share(tolerance_mm=2.0), share(tolerance_mm=1.9)) == (1, 1, 0)


def test_lesions_are_counted_where_it_is_asked_for_also_without_spacing():
    slices = [predicted("a", "10001", "11000"), predicted("a", "10000", "00100")]
    (counted,), (plain,) = score_cases(slices, lesions=True), score_cases(slices)
    assert (counted["lesion_sensitivity"], counted["lesion_false_positives"]) == (1 / 2, 0)
    assert math.isnan(plain["lesion_sensitivity"])
    assert math.isnan(plain["lesion_false_positives"])


def test_slices_of_several_sizes_make_no_volume():
    slices = [predicted("a", truth, truth, spacing_mm=(1, 1, 1)) for truth in ("10", "100", "1000")]
    (case,) = score_cases(slices, lesions=True)
    assert (case["dice"], case["volume_difference"]) == (1, 0)
    assert all(math.isnan(case[name]) for name in SCORES[SCORES.index("hd95_mm") :])


def test_a_missed_structure_enters_the_mean_distance():
    """0 mm of the one that is found; of the missed one the diagonal, 3 x 4 mm in its slice."""
    pairs = {"found": ("1000", "1000"), "missed": ("0001", "0000")}
    slices = [predicted(name, *pair, spacing_mm=(9, 3, 1)) for name, pair in pairs.items()]
    summary = summarize(score_cases(slices), "val")
    assert summary["val/hd95_mm"] == summary["val/assd_mm"] == pytest.approx(5 / 2)
    assert summary["val/hd95_mm_undefined"] == 0
    assert summary["val/surface_dice"] == 1 / 2


def test_no_predictions_give_no_rows():
    assert score_cases([]) == []


def test_rows_are_written_with_an_empty_cell_for_what_is_undefined(tmp_path):
    write_rows(score_cases([predicted("007", "00", "00")]), tmp_path / "cases.csv")
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    assert lines == [
        f"case,patient,slices,truth_px,predicted_px,truth_ml,{','.join(SCORES)}",
        "007,007,1,0,0,,,,,1.0,,,,,,,",
    ]


def test_written_scores_are_read_back_exactly(tmp_path):
    pairs = [("a", "1110", "0111"), ("b", "11111110", "10000000")]
    rows = score_cases([predicted(*pair, spacing_mm=(1, 0.7, 0.3)) for pair in pairs], lesions=True)
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


def test_every_score_has_six_numbers_under_the_side():
    ends = ("", "_sd", "_median", "_ci_low", "_ci_high", "_undefined")
    names = {f"test/{s}{end}" for s in SCORES for end in ends}
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
    assert summary["val/iou_undefined"] == 0
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
    assert list(rows[0]) == ["case", "patient", "class", "slices", *SIZES, *SCORES]
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


# Small and large targets


def of_sizes(*sizes, **options):
    """Return a case for each size in ml, named p0, p1, ..., whose Dice is a tenth of the size."""
    return [row(f"p{i}", ml / 10, truth_ml=ml, **options) for i, ml in enumerate(sizes)]


def dice_of(table):
    return table[table["score"] == "dice"].drop(columns="score").to_dict("records")


def test_a_third_of_the_targets_is_small_a_third_large():
    """Sizes in ml 1 1 2 | 3 4 5 | 6 7 9; Dice 0.1 0.1 0.2, 0.3 0.4 0.5 and 0.6 0.7 0.9."""
    small, medium, large = dice_of(strata(of_sizes(7, 1, 3, 9, 2, 5, 1, 4, 6)))
    about = ["stratum", "unit", "smallest", "largest", "patients", "cases"]
    assert [small[name] for name in about] == ["small", "ml", 1, 2, 3, 3]
    assert [medium[name] for name in about] == ["medium", "ml", 3, 5, 3, 3]
    assert [large[name] for name in about] == ["large", "ml", 6, 9, 3, 3]
    assert small["mean"] == pytest.approx(0.4 / 3)
    assert medium["sd"] == pytest.approx(0.1)
    assert large["median"] == pytest.approx(0.7)
    assert (large["ci_low"], large["ci_high"]) == interval(np.array([0.7, 0.9, 0.6]))


def test_each_stratum_has_each_score():
    table = strata(of_sizes(*range(1, 8)))
    assert table["score"].tolist() == [*SCORES] * 3
    assert table.groupby("stratum")["cases"].first().to_dict() == {
        "small": 2,
        "medium": 2,
        "large": 3,
    }


def test_strata_together_have_the_patients_that_the_summary_describes():
    """Of one case each, the mean of all is that of the strata, weighted by their patients."""
    rows = of_sizes(*range(1, 11))
    table = strata(rows).query("score == 'dice'")
    assert np.average(table["mean"], weights=table["patients"]) == pytest.approx(
        summarize(rows, "val")["val/dice"]
    )


def test_the_cases_of_a_patient_are_averaged_first_in_a_stratum_too():
    """Patient q has two of the three largest targets: (0.8 + 0.9) / 2 = 0.85, with 0.7: 0.775."""
    rows = of_sizes(1, 2, 3, 4, 5, 6, 7) + of_sizes(8, 9, patient="q")
    *_, large = dice_of(strata(rows))
    assert (large["patients"], large["cases"]) == (2, 3)
    assert large["mean"] == pytest.approx(0.775)


def test_where_a_size_in_ml_is_unknown_all_are_compared_in_pixels():
    rows = of_sizes(*range(1, 7), truth_px=20) + [row("x", 0.5, truth_px=5)]
    table = strata(rows)
    assert set(table["unit"]) == {"px"}
    assert (table["smallest"].min(), table["largest"].max()) == (5, 20)


def test_cases_without_target_have_no_size_and_do_not_count():
    empty = [row(f"e{i}", math.nan, truth_px=0) for i in range(9)]
    assert strata(of_sizes(1, 2, 3, 4, 5) + empty).empty
    assert strata(of_sizes(1, 2, 3, 4, 5, 6) + empty)["cases"].tolist() == [2] * 3 * len(SCORES)


def test_too_few_targets_have_an_empty_table_of_the_same_columns():
    columns = list(strata(of_sizes(*range(1, 7))))
    for rows in ([], of_sizes(1, 2, 3, 4, 5)):
        assert list(strata(rows)) == columns


def test_the_order_of_rows_does_not_decide_among_targets_of_one_size():
    rows = [row(f"p{i}", i / 10, truth_ml=2.0) for i in range(7)]
    assert dice_of(strata(rows[::-1])) == dice_of(strata(rows))
    assert [of["mean"] for of in dice_of(strata(rows))] == pytest.approx([0.05, 0.25, 0.5])


def test_each_class_has_strata_of_its_own():
    rows = [r | {"class": "liver"} for r in of_sizes(*range(10, 16))]
    rows += [r | {"class": "tumour"} for r in of_sizes(*range(1, 7))]
    rows += [r | {"class": "cyst"} for r in of_sizes(1, 2)]
    table = strata(rows)
    assert list(table)[0] == "class"
    largest = table.query("score == 'dice' and stratum == 'large'")
    assert largest["class"].tolist() == ["liver", "tumour"]
    assert largest["largest"].tolist() == [15, 6]


# The best, the median and the worst


def cases(*dices):
    return [row(f"c{i}", dice) for i, dice in enumerate(dices)]


def named(groups):
    return {title: [case for case, _, _ in chosen] for title, chosen in groups.items()}


def test_the_best_the_middle_and_the_worst_go_down():
    groups = examples(cases(0.5, 0.9, 0.1, 0.8, 0.3, 0.7, 0.2, 0.6, 0.4, 0.95))
    assert groups == {
        "best": [("c9", "c9", 0.95), ("c1", "c1", 0.9), ("c3", "c3", 0.8)],
        "median": [("c7", "c7", 0.6), ("c0", "c0", 0.5)],
        "worst": [("c4", "c4", 0.3), ("c6", "c6", 0.2), ("c2", "c2", 0.1)],
    }


@pytest.mark.parametrize(
    ("n", "best", "median", "worst"),
    [
        (2, "0", "", "1"),
        (3, "0", "1", "2"),
        (4, "0", "1", "23"),
        (5, "01", "2", "34"),
        (6, "01", "23", "45"),
        (7, "01", "23", "456"),
        (8, "012", "34", "567"),
        (9, "012", "45", "678"),
    ],
)
def test_of_few_cases_none_is_chosen_twice(n, best, median, worst):
    """Case 0 is the best; of nine, 4 is the middle, and of its neighbours the worse is taken."""
    groups = named(examples(cases(*(1 - i / 10 for i in range(n)))))
    wanted = {"best": best, "median": median, "worst": worst}
    assert groups == {title: [f"c{i}" for i in which] for title, which in wanted.items() if which}


def test_the_median_cases_of_many_are_those_nearest_the_middle():
    groups = named(examples(cases(*(i / 100 for i in range(100)))))
    assert groups["median"] == ["c50", "c49"]


def test_of_cases_with_one_dice_the_first_come_first():
    groups = named(examples(cases(0.5, 0.5, 0.5, 0.5)))
    assert groups == {"best": ["c0"], "median": ["c1"], "worst": ["c2", "c3"]}


def test_a_single_case_is_the_worst_and_a_group_without_any_is_not_there():
    assert named(examples(cases(0.4))) == {"worst": ["c0"]}
    assert examples(cases(math.nan, math.nan)) == examples([]) == {}


def test_a_case_whose_dice_is_undefined_is_in_no_group_and_a_false_alarm_is_among_the_worst():
    """Nothing to find: of b nothing is predicted, 0/0; of c something is, Dice 0."""
    stream = [
        predicted("a", "1110", "1100"),
        predicted("b", "00", "00"),
        predicted("c", "00", "01"),
    ]
    assert examples(score_cases(stream)) == {"best": [("a", "a", 0.8)], "worst": [("c", "c", 0)]}


def test_dice_of_a_case_is_the_mean_over_the_classes_in_which_it_is_defined():
    table = {"a": (0.2, 0.8), "b": (0.6, math.nan), "c": (math.nan, math.nan), "d": (0.3, 0.5)}
    rows = [
        row(case, dice) | {"class": name}
        for case, dices in table.items()
        for name, dice in zip(("liver", "tumour"), dices, strict=True)
    ]
    groups = examples(rows)
    assert named(groups) == {"best": ["b"], "median": ["a"], "worst": ["d"]}
    assert [dice for ((_, _, dice),) in groups.values()] == pytest.approx([0.6, 0.5, 0.4])


def test_cases_of_one_name_are_told_apart_by_their_patients():
    rows = [row("a_b", 0.2, patient="a"), row("a_b", 0.6, patient="a_b")]
    assert examples(rows) == {"best": [("a_b", "a_b", 0.6)], "worst": [("a_b", "a", 0.2)]}
