"""A run in words."""

import math
import shlex

import pandas as pd
import pytest

from seg import report
from seg.contracts import Scores
from seg.evaluate import strata, summarize

OVERLAP = ("dice", "iou", "sensitivity", "specificity", "precision")
ROWS = [
    {"case": c, "patient": c, "slices": 2, "truth_px": t, "predicted_px": 5, "truth_ml": math.nan}
    | dict.fromkeys(Scores.names(), math.nan)
    | scores
    for c, t, scores in (
        ("p1", 5, dict.fromkeys(OVERLAP, 0.5)),
        ("p2", 9, dict.fromkeys(OVERLAP, 0.75)),
        (
            "p3",
            0,
            dict.fromkeys(("dice", "iou", "precision"), 0.0)
            | {"sensitivity": math.nan, "specificity": 0.9},
        ),
    )
]
DATA = {
    "train": {
        "digest": "a" * 36,
        "patients": 7,
        "cases": 7,
        "slices": 70,
        "slices_with_target": 50,
    }
}


def rows_of(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and "--" not in line
    ]


def test_the_command_can_be_typed_again():
    words = ["dataset=spleen", "stages=[train,evaluate]", "+model.text=a b", "x='q'"]
    assert shlex.split(report.command(words)) == ["python", "-m", "seg.run", *words]


def test_numbers_are_those_of_the_summary():
    summary = summarize(ROWS, "test")
    text = report.report(["model=unet"], summary, DATA, {"version.seg": "9"})
    shown = {row[0]: row[1:] for row in rows_of(text)}
    low, high = (summary[f"test/dice_ci_{end}"] for end in ("low", "high"))
    dice = f"{pd.DataFrame(ROWS)['dice'].mean():.3f} ({low:.3f} to {high:.3f})"
    assert shown["dice"] == [dice]
    assert text.startswith(f"Test Dice **{dice}**")
    assert shown["sensitivity"][0].startswith("0.625 (")
    assert shown["train"] == ["7", "70", "50", "a" * 12]
    assert "**Test** of 3 patients" in text
    assert "Cases: 3, without target 1, of which with a false alarm 1." in text
    assert "version 9" in text
    assert "Validation" not in text


def test_too_few_are_said_and_scores_that_no_case_defines_are_left_out():
    text = report.report([], summarize(ROWS[2:], "val"), {}, {})
    shown = {row[0]: row[1:] for row in rows_of(text)}
    assert list(shown) == ["score", "dice", "iou", "specificity", "precision"]
    assert shown["dice"] == ["0.000 (too few patients)"]
    assert "nan" not in text


def test_an_undefined_dice_is_said():
    rows = [row | {"dice": math.nan} for row in ROWS]
    assert report.report([], summarize(rows, "test"), {}, {}).startswith("Test Dice **undefined**")


def test_millimetres_and_counts_have_two_decimals():
    rows = [row | {"hd95_mm": 12.345, "lesion_false_positives": 2.0} for row in ROWS]
    shown = {r[0]: r[1] for r in rows_of(report.report([], summarize(rows, "test"), {}, {}))}
    assert shown["hd95_mm"] == "12.35 (12.35 to 12.35)"
    assert shown["lesion_false_positives"] == "2.00 (2.00 to 2.00)"


# Cases of 1, 2, ..., 6 ml, of Dice 0.1, 0.2, ..., 0.6.
SIZED = [
    ROWS[0] | {"case": f"c{i}", "patient": f"c{i}", "truth_ml": float(i), "dice": i / 10}
    for i in range(1, 7)
]


def test_dice_is_told_by_size_of_the_target():
    """Of two values the interval reaches from one to the other."""
    summary = summarize(SIZED, "test")
    text = report.report([], summary, {}, {}, strata=strata(SIZED))
    assert "**Dice by size of the target**:" in text
    assert rows_of(text)[-4:] == [
        ["target", "patients", "mean (95% interval)"],
        ["small, 1 to 2 ml", "2", "0.150 (0.100 to 0.200)"],
        ["medium, 3 to 4 ml", "2", "0.350 (0.300 to 0.400)"],
        ["large, 5 to 6 ml", "2", "0.550 (0.500 to 0.600)"],
    ]


def test_sizes_are_told_of_each_class():
    rows = [row | {"class": name} for row in SIZED for name in ("organ", "spine")]
    text = report.report([], summarize(rows, "test"), {}, {}, strata=strata(rows))
    assert [row[0] for row in rows_of(text)[-7:]] == ["class", *["organ"] * 3, *["spine"] * 3]


def test_of_few_cases_there_is_no_table_of_sizes():
    summary = summarize(SIZED[:5], "test")
    text = report.report([], summary, {}, {}, strata=strata(SIZED[:5]))
    assert text == report.report([], summary, {}, {})


def test_each_class_has_its_row():
    rows = [row | {"class": name} for row in ROWS for name in ("organ", "spine")]
    text = report.report([], summarize(rows, "test"), {}, {})
    assert {"dice_organ", "dice_spine"} <= {row[0] for row in rows_of(text)}
    assert len(rows_of(text)) == 1 + 5 + 2


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (
            {"mlflow.source.git.commit": "0123456789abcdef", "git.dirty": "false"},
            "commit 0123456789ab.",
        ),
        (
            {"mlflow.source.git.commit": "0123456789abcdef", "git.dirty": "true"},
            "commit 0123456789ab with changes, see changes.diff.",
        ),
    ],
)
def test_the_code_is_named(tags, said):
    assert f"Code: {said}" in report.report([], {}, {}, tags)


def test_leakage_is_said_first():
    text = report.report([], {}, {}, {}, leaks=("p1", "p2"))
    assert "**Data leakage**: patients on two sides of the split: 2." in text
