"""Facts about `seg.tables`: numbers and their words."""

import pytest

from seg import tables
from seg.contracts import Scores


def summary(side="test", **changes):
    """Return what summary.json holds of a side: each score 0.25 in 0.125 to 0.5."""
    values = {}
    for name in Scores.names():
        ends = {"": 0.25, "_sd": 0.0625, "_median": 0.75, "_ci_low": 0.125, "_ci_high": 0.5}
        values |= {f"{side}/{name}{end}": value for end, value in ends.items()}
        values[f"{side}/{name}_undefined"] = 3
    return values | {f"{side}/{key}": value for key, value in changes.items()}


def row(table, name):
    (found,) = [cells for cells in table.rows if cells[0] == name]
    return [*found[1:]]


def test_a_score_has_mean_interval_median_sd_and_how_often_it_is_undefined():
    table = tables.scores(summary(), "test")
    assert [*table.head] == ["score", "mean", "95% interval", "median", "sd", "undefined"]
    assert row(table, "dice") == ["0.250", "0.125 to 0.500", "0.750", "0.062", "3"]
    assert len(table.rows) == len(Scores.names())


def test_distances_are_in_millimetres_and_as_counts_told_with_two_digits():
    far = {"hd95_mm": 12.345, "hd95_mm_ci_low": 7, "hd95_mm_ci_high": 20.25}
    table = tables.scores(summary(**far), "test")
    assert row(table, "hd95 (mm)")[:2] == ["12.35", "7.00 to 20.25"]
    assert row(table, "lesion false positives")[0] == "0.25"


def test_what_is_undefined_says_so():
    nothing = {f"dice{end}": None for end in ("", "_sd", "_median", "_ci_low", "_ci_high")}
    table = tables.scores(summary(**nothing), "test")
    assert row(table, "dice") == ["undefined"] * 4 + ["3"]


def test_a_mean_of_one_patient_has_no_interval():
    (dice,) = tables.dice(summary(dice_ci_low=None, dice_ci_high=None), "test")
    assert (dice.mean, dice.interval) == ("0.250", "too few patients")


def test_classes_follow_with_dice_and_interval():
    of_class = {
        "dice_left_lung": 0.875,
        "dice_left_lung_ci_low": 0.8,
        "dice_left_lung_ci_high": 0.9,
    }
    _, lung = tables.dice(summary(**of_class), "test")
    assert (lung.name, lung.mean, lung.interval) == ("left_lung", "0.875", "0.800 to 0.900")
    last = tables.scores(summary(**of_class), "test").rows[-1]
    assert last == ["dice of left_lung", "0.875", "0.800 to 0.900", "", "", ""]


def test_strata_show_dice_by_size():
    common = {"stratum": "small", "unit": "ml", "smallest": "0.0125", "largest": "3.25"}
    common |= {"patients": "4", "cases": "5", "sd": "", "median": "0.5"}
    ends = {"mean": "0.5", "ci_low": "0.25", "ci_high": "0.75"}
    rows = [{**common, **ends, "score": "dice"}, {**common, **ends, "score": "iou"}]
    table = tables.strata(rows)
    said = ["small, 0.0125 to 3.25 ml", "4", "5", "0.500", "0.250 to 0.750", "0.500", "undefined"]
    assert table.rows == [said]
    named = tables.strata([{"class": "spine", **row} for row in rows])
    assert named.rows == [["spine", *said]]
    assert (table.names, named.names) == (1, 2)
    assert not tables.strata([]).rows


def test_cases_keep_their_names_and_round_their_scores():
    rows = [
        {"case": "007", "patient": "NA", "truth_px": "12", "truth_ml": "0.012345", "dice": ""},
        {"case": "8", "patient": "8", "truth_px": "0", "truth_ml": "", "dice": "0.98765"},
    ]
    table = tables.cases(rows)
    assert [*table.head] == ["case", "patient", "truth (px)", "truth (ml)", "dice"]
    assert table.rows[0] == ["007", "NA", "12", "0.01235", "undefined"]
    assert table.rows[1] == ["8", "8", "0", "undefined", "0.988"]
    assert table.names == 2


def test_how_masks_are_made_is_every_key_of_infer():
    told = {"infer/threshold": 0.45, "infer/tta": 1.0, "infer/fill_holes": 0.0, "infer/new_one": 7}
    assert tables.chosen(told | {"val/dice": 1}).rows == [
        ["threshold", "0.45"],
        ["mean over flips", "yes"],
        ["holes filled", "no"],
        ["new one", "7"],
    ]


def test_the_origin_names_code_and_versions_but_no_person_and_no_machine():
    tags = {
        **{"mlflow.source.git.commit": "abc", "git.dirty": "true", "version.keras": "3.15.1"},
        **{"python": "3.11.7", "mlflow.user": "ann", "host": "ward7"},
    }
    assert tables.origin(tags).rows == [
        ["commit", "abc"],
        ["changed since", "yes, see changes.diff"],
        ["keras", "3.15.1"],
        ["python", "3.11.7"],
    ]
    clean = tables.origin(tags | {"git.dirty": "false"}).rows
    assert clean[1] == ["changed since", "no"]
    assert tables.origin({"version.seg": "0.1.0"}).rows == [["seg", "0.1.0"]]
    assert not tables.origin({}).rows


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "undefined"), (3, "3"), (31054145, "31054145"), (0.1234567, "0.123457"), (2.0, "2")],
)
def test_a_number_is_told_with_what_matters(value, said):
    assert tables.numbers({"a": value}).rows == [["a", said]]
