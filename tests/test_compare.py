"""Facts about `seg.compare` and `seg.finished`: folders of runs in; tables by hand, refusals."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from seg import compare, finished
from seg.contracts import Case, Prediction, Scores, SegError, Slice, Splits
from seg.data.split import as_json
from seg.evaluate import interval, score_cases, summarize, write_rows
from seg.figures.comparison import side_by_side
from seg.figures.pictures import overlay, write_png
from seg.runfolder import write_json
from seg.track import find

# A slice's truth and prediction. By Dice: 1, 2 * 2 / (4 + 2), 2 * 1 / (4 + 1), 0, undefined.
FULL, HALF, LITTLE, MISSED, QUIET = (
    ("11110000", "11110000"),
    ("11110000", "11000000"),
    ("11110000", "10000000"),
    ("11110000", "00000000"),
    ("00000000", "00000000"),
)
ALARM = "00000000", "01000000"
CONFIG = {
    "dataset": {"name": "liver"},
    "model": {"name": "unet"},
    "loss": {"name": "dice"},
    "tracking": {"experiment": "phantom"},
    "checkpoint": None,
}


def case(name, n):
    """Return a case of n slices, named PATIENT or PATIENT/VOLUME."""
    patient, _, volume = name.partition("/")
    ids = [f"{patient}{volume}_{i}" for i in range(n)]
    slices = tuple(Slice(i, Path("i.png"), Path("m.png"), 4) for i in ids)
    return Case(patient, slices, volume=volume, spacing_mm=(5, 1, 1))


def finish(folder, tested, classes=(), infer=False, config=None, **sides):
    """Leave in a folder what a run leaves.

    Args:
        folder: of the run, made here.
        tested: truth and prediction of each slice, in class indices, by case.
        classes: their names.
        infer: whether there are predictions and overlays.
        config: where it is not `CONFIG`.
        sides: names of the patients of train, valid, and leaks.
    """
    folder.mkdir(parents=True)
    cases = {name: case(name, len(slices)) for name, slices in tested.items()}
    predictions = [
        Prediction(cases[name], slice_, *(np.array([[*map(int, text)]], np.uint8) for text in pair))
        for name, slices in tested.items()
        for slice_, pair in zip(cases[name].slices, slices, strict=True)
    ]
    rows = score_cases(predictions, classes)
    write_rows(rows, folder / "cases.csv")
    write_json(folder / "summary.json", summarize(rows, "test"))
    train, valid = (tuple(case(p, 1) for p in sides.get(side, ())) for side in ("train", "valid"))
    splits = Splits(train, valid, tuple(cases.values()), tuple(sides.get("leaks", ())))
    write_json(folder / "splits.json", as_json(splits))
    (folder / "config.yaml").write_text(yaml.dump(CONFIG | (config or {})))
    for p in predictions if infer else ():
        name = f"{p.slice.id}.png"
        picture = overlay(np.zeros((*p.mask_HW.shape, 1)), p.truth_HW, p.mask_HW, classes)
        write_png(folder / "predictions" / name, p.mask_HW * 255)
        write_png(folder / "overlays" / name, picture)
    return folder


def one_slice(*kinds):
    """Return patients a, b, ... of one slice each."""
    return {letter: [kind] for letter, kind in zip("abcdefgh", kinds, strict=False)}


@pytest.fixture
def runs(tmp_path):
    """Make runs A, B, ... of what each has tested; labels and folders out."""

    def make(*tested, at="", **options):
        named = zip("ABCDEF", tested, strict=False)
        return [(name, finish(tmp_path / at / name, t, **options)) for name, t in named]

    return make


def change(folder, name, old, new):
    path = folder / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def compared(made, score="dice"):
    return compare.compared(finished.read(made, score), score)


# Numbers


def test_differences_are_of_the_later_run_minus_the_earlier(runs):
    """Dice of a to d in A 1, 2/3, 0, 2/5, in B 2/3, 1, 2/5, 1, in C as in A."""
    a, b = one_slice(FULL, HALF, MISSED, LITTLE), one_slice(HALF, FULL, LITTLE, FULL)
    found = compared(runs(a, b, a))
    moved = np.array([-1 / 3, 1 / 3, 2 / 5, 3 / 5])
    assert found.pairs[["a", "b"]].to_numpy().tolist() == [["A", "B"], ["A", "C"], ["B", "C"]]
    assert found.pairs["mean_difference"].tolist() == pytest.approx([0.25, 0, -0.25])
    assert found.pairs.loc[0, ["ci_low", "ci_high"]].tolist() == pytest.approx(interval(moved))
    assert found.pairs["p"].tolist() == pytest.approx([3 / 8, 1, 3 / 8])
    assert found.pairs["p_holm"].tolist() == pytest.approx([1, 1, 1])
    assert found.to_first()["b"].tolist() == ["B", "C"]
    assert found.cases.loc[("b", "b")].tolist() == pytest.approx([2 / 3, 1, 2 / 3])


def test_on_the_same_cases_a_run_has_the_mean_and_interval_of_its_summary(runs):
    made = runs(one_slice(FULL, HALF, MISSED), one_slice(HALF, LITTLE, LITTLE))
    found = compared(made, "iou")
    for row, (label, folder) in zip(found.runs.itertuples(), made, strict=True):
        summary = json.loads((folder / "summary.json").read_text())
        wanted = [summary[f"test/iou{end}"] for end in ("", "_ci_low", "_ci_high")]
        assert [row.mean, row.ci_low, row.ci_high] == wanted
        assert [row.common_mean, row.common_ci_low, row.common_ci_high] == pytest.approx(wanted)
        assert (row.run, row.folder, row.patients, row.cases) == (label, str(folder), 3, 3)


def test_of_a_distance_the_better_run_is_the_lower_one(runs, tmp_path):
    """A pixel of four 1 mm away, another 2 mm: 1.85; missed, the diagonal of 1 x 8 mm."""
    made = runs(one_slice(HALF, MISSED, FULL), one_slice(FULL, FULL, FULL))
    found = compare.compare(made, "hd95_mm", tmp_path / "out")
    pair = found.pairs.iloc[0]
    assert found.runs["mean"].tolist() == pytest.approx([(1.85 + 65**0.5) / 3, 0])
    assert pair["mean_difference"] == pytest.approx(-(1.85 + 65**0.5) / 3)
    assert (pair["b_higher"], pair["equal"], pair["b_lower"]) == (0, 1, 2)


def test_volume_differences_that_cancel_are_those_of_the_summary(runs):
    """Half of the target, or half of it too much: by patient -1/2 and 1/2, then the other way."""
    more = "11110000", "11111100"
    found = compared(runs(one_slice(HALF, more), one_slice(more, HALF)), "volume_difference")
    assert found.runs["mean"].tolist() == [0, 0]
    assert found.cases["A"].tolist() == [-0.5, 0.5]


def test_only_common_cases_are_compared_and_the_rest_is_said(runs, caplog):
    """Of A's mean (1 + 2/3 + 0) / 3 the patients b and c are common: 1/3."""
    a, b = one_slice(FULL, HALF, MISSED), {"b": [FULL], "c": [FULL], "d": [MISSED], "e": [HALF]}
    found = compared(runs(a, b))
    assert found.runs["mean"].tolist() == pytest.approx([5 / 9, 2 / 3])
    assert found.runs["common_mean"].tolist() == pytest.approx([1 / 3, 1])
    assert found.runs[["patients", "common_patients"]].to_numpy().tolist() == [[3, 2], [4, 2]]
    assert found.pairs.loc[0, "mean_difference"] == pytest.approx(2 / 3)
    assert "only the 2 test cases common to the runs are compared (3 of A, 4 of B)" in caplog.text


def test_equally_many_other_cases_are_said_too(runs, caplog):
    compared(runs(one_slice(FULL, HALF), {"b": [FULL], "x": [HALF]}))
    assert "only the 1 test cases common to the runs are compared (2 of A, 2 of B)" in caplog.text


def test_the_cases_of_a_patient_are_averaged_first(runs):
    """Patient p gains (1/3 + 0) / 2, q 3/5: mean 23/60, not the 14/45 of three cases."""
    a = {"p/1": [HALF], "p/2": [FULL], "q": [LITTLE]}
    b = {"p/1": [FULL], "p/2": [FULL], "q": [FULL]}
    found = compared(runs(a, b))
    assert found.pairs.loc[0, "mean_difference"] == pytest.approx(23 / 60)
    assert found.runs[["patients", "cases"]].to_numpy().tolist() == [[2, 3]] * 2


def test_cases_of_one_name_and_two_patients_stay_apart(runs, caplog):
    """Volume 1 of patient p, and patient p_1: only the second is common."""
    found = compared(runs({"p/1": [HALF], "p_1": [FULL]}, {"p_1": [HALF], "q": [FULL]}))
    assert found.cases.index.tolist() == [("p_1", "p_1")]
    assert "only the 1 test cases common to the runs are compared (2 of A, 2 of B)" in caplog.text
    found = compared(runs({"p/1": [HALF], "p_1": [FULL]}, {"p/1": [FULL], "p_1": [FULL]}, at="2"))
    assert found.runs["cases"].tolist() == [2, 2]


def test_a_false_alarm_against_nothing_predicted_is_counted_not_compared(runs, caplog):
    made = runs(one_slice(HALF, HALF, QUIET), one_slice(FULL, LITTLE, ALARM))
    found = compared(made)
    (pair,) = found.pairs.itertuples()
    assert (pair.patients, pair.defined_in_a_only, pair.defined_in_b_only) == (2, 0, 1)
    assert pair.mean_difference == pytest.approx((1 / 3 - 4 / 15) / 2)
    assert found.runs["mean"].tolist() == pytest.approx([2 / 3, 7 / 15])
    assert found.runs["common_mean"].tolist() == pytest.approx([2 / 3, 7 / 10])
    assert "dice is defined in 2 of A, 3 of B, of 3 rows each" in caplog.text


def test_classes_are_rows_and_a_patients_classes_are_averaged(runs):
    """Class 1 gains 1/3 and class 2 loses all of it: a patient's difference is -1/3."""
    a, b = {"p": [("11002200", "10002200")]}, {"p": [("11002200", "11000000")]}
    made = runs(a, b, classes=("liver", "tumour"))
    found = compared(made)
    assert found.cases.index.names == ["case", "patient", "class"]
    assert found.cases.loc[("p", "p", "liver")].tolist() == pytest.approx([2 / 3, 1])
    assert found.cases.loc[("p", "p", "tumour")].tolist() == pytest.approx([1, 0])
    assert found.pairs.loc[0, "mean_difference"] == pytest.approx(-1 / 3)
    assert found.runs["cases"].tolist() == [1, 1]


def test_a_run_against_its_copy_does_not_differ(runs):
    kinds = FULL, HALF, MISSED, LITTLE
    found = compared(runs(one_slice(*kinds), one_slice(*kinds)))
    assert found.pairs[["mean_difference", "ci_low", "ci_high"]].to_numpy().tolist() == [[0, 0, 0]]
    assert found.pairs.loc[0, ["p", "p_holm", "equal"]].tolist() == [1, 1, 4]


def test_the_order_of_the_rows_of_a_file_does_not_matter(runs):
    a, b = one_slice(FULL, HALF, MISSED, LITTLE), one_slice(HALF, FULL, LITTLE, FULL)
    made = runs(a, b)
    found = compared(made)
    path = made[1][1] / "cases.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows[::-1]]) + "\n")
    other = compared(made)
    pd.testing.assert_frame_equal(found.pairs, other.pairs)
    pd.testing.assert_frame_equal(found.cases, other.cases)


def test_the_other_way_round_the_signs_are_turned(runs):
    made = runs(one_slice(FULL, HALF, MISSED), one_slice(HALF, FULL, FULL))
    there = compared(made).pairs.loc[0]
    back = compared(made[::-1]).pairs.loc[0]
    assert (back["a"], back["b"]) == ("B", "A")
    assert back["mean_difference"] == pytest.approx(-there["mean_difference"])
    assert back["ci_low"] == pytest.approx(-there["ci_high"])
    assert back["p"] == there["p"]


@pytest.mark.parametrize("names", [("007", "7"), ("NA", "nan", "7"), ("1e3", "1000")])
def test_patients_are_called_as_they_are_written(names, runs):
    tested = dict.fromkeys(names, [FULL])
    found = compared(runs(tested, tested))
    assert set(found.cases.index.get_level_values("patient")) == set(names)
    assert found.pairs.loc[0, "patients"] == len(names)


def test_too_few_patients_for_a_corrected_p_below_a_twentieth_are_said(runs, caplog):
    """6 patients: 2 / 2^6 = 0.031 is enough for one pair, 0.094 is too much for three."""
    tested = one_slice(*[FULL, HALF] * 3)
    made = runs(tested, tested, tested)
    compared(made[:2])
    assert not caplog.records
    compared(made)
    assert (
        "patients: 6, pairs of runs: 3: too few for a test, no corrected p is below 0.094"
        in caplog.text
    )


# Patients that a run has learned from


def test_a_patient_that_a_run_calls_a_leak_is_left_out(tmp_path, caplog):
    made = [("A", finish(tmp_path / "a", one_slice(FULL, HALF, MISSED)))]
    made += [("B", finish(tmp_path / "b", one_slice(MISSED, FULL, FULL), leaks="a", train="a"))]
    found = compared(made)
    assert found.cases.index.get_level_values("case").tolist() == ["b", "c"]
    assert found.pairs.loc[0, "mean_difference"] == pytest.approx(2 / 3)
    assert "B has learned from 1 of 3 test patients (a), which are left out" in caplog.text


@pytest.mark.parametrize("side", ["train", "valid"])
def test_a_tested_patient_of_another_side_is_left_out(side, tmp_path, caplog):
    """As where splits.json is of another run than cases.csv."""
    tested = one_slice(FULL, HALF, MISSED)
    made = [(n, finish(tmp_path / n, tested)) for n in "AB"]
    splits = json.loads((made[1][1] / "splits.json").read_text())
    splits[side]["c"] = splits["test"].pop("c")
    (made[1][1] / "splits.json").write_text(json.dumps(splits))
    found = compared(made)
    assert found.runs["common_patients"].tolist() == [2, 2]
    assert "B has learned from 1 of 3 test patients (c)" in caplog.text


def test_a_name_on_two_sides_that_is_no_leak_is_of_two_persons(tmp_path):
    """Slices whose names name no patient: 1.png of train/ is not 1.png of test/."""
    made = [(n, finish(tmp_path / n, one_slice(FULL, HALF), train="ab")) for n in "AB"]
    assert compared(made).pairs.loc[0, "patients"] == 2


def test_where_all_patients_have_been_learned_from_nothing_is_compared(tmp_path):
    tested = one_slice(FULL, HALF)
    made = [(n, finish(tmp_path / n, tested, leaks=leak)) for n, leak in ("Aa", "Bb")]
    with pytest.raises(SegError, match=r"each of the 2 common test patients .*\(A, B\)"):
        compared(made)


# Refusals


def refused(made, out, score="dice"):
    """Return the sentence of a refusal that has written nothing."""
    with pytest.raises(SegError) as error:
        compare.compare(made, score, out)
    assert not out.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_runs_are_refused(n, runs, tmp_path):
    made = runs(*[one_slice(FULL)] * n)
    said = f"runs to compare: {'A' if n else 'none'}; give two or more"
    assert said in refused(made, tmp_path / "out")


def test_two_runs_of_one_label_are_refused(runs, tmp_path):
    made = runs(one_slice(FULL), one_slice(FULL))
    assert "A, A" in refused([("A", folder) for _, folder in made], tmp_path / "out")


def test_an_unknown_score_is_refused_with_those_there_are(runs, tmp_path):
    made = runs(one_slice(FULL), one_slice(FULL))
    said = refused(made, tmp_path / "out", "f1")
    assert said == f"--score f1: unknown; take one of {', '.join(Scores.names())}"
    assert "precision, volume_difference, hd95_mm, " in said


@pytest.mark.parametrize("name", ["config.yaml", "cases.csv", "summary.json", "splits.json"])
def test_a_folder_without_a_file_of_a_run_is_refused_by_name(name, runs, tmp_path):
    made = runs(one_slice(FULL), one_slice(FULL))
    (made[1][1] / name).unlink()
    assert refused(made, tmp_path / "out").startswith(f"{made[1][1]} has no {name}; ")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.yaml", "name: liver", "nome: liver"),
        ("config.yaml", "dataset:", "dataset: ]"),
        ("cases.csv", "dice", "f1"),
        ("cases.csv", "truth_px", "pixels"),
        ("cases.csv", "1.0", "one"),
        ("cases.csv", "a,a,", "b,b,"),
        ("summary.json", "test/dice", "dice"),
        ("summary.json", "{", ""),
        ("splits.json", "leaks", "weeks"),
        ("splits.json", "}", ""),
    ],
)
def test_a_file_that_no_run_writes_is_refused_by_name(name, old, new, runs, tmp_path):
    made = runs(one_slice(FULL, HALF), one_slice(FULL, HALF))
    change(made[1][1], name, old, new)
    assert f"{made[1][1] / name}: not what a run writes (" in refused(made, tmp_path / "out")


def test_an_empty_table_is_refused(runs, tmp_path):
    made = runs(one_slice(FULL), one_slice(FULL))
    (made[0][1] / "cases.csv").write_text("\n")
    assert "cases.csv: not what a run writes" in refused(made, tmp_path / "out")


def test_a_table_that_is_not_that_of_the_summary_is_refused(runs, tmp_path):
    made = runs(one_slice(FULL, HALF), one_slice(FULL, HALF))
    change(made[0][1], "cases.csv", "0.6666666666666666", "0.7")
    said = refused(made, tmp_path / "out")
    assert "test/dice is 0.833333 in summary.json but 0.85 by cases.csv" in said


def test_runs_of_two_datasets_are_refused(tmp_path):
    other = {"dataset": {"name": "spleen"}}
    made = [("A", finish(tmp_path / "a", one_slice(FULL)))]
    made += [("B", finish(tmp_path / "b", one_slice(FULL), config=other))]
    said = refused(made, tmp_path / "out")
    assert said.startswith(f"dataset: liver in {tmp_path / 'a'}, spleen in {tmp_path / 'b'}; ")


@pytest.mark.parametrize("classes", [(), ("liver",), ("tumour", "liver", "spleen")])
def test_runs_of_other_classes_are_refused(classes, tmp_path):
    made = [("A", finish(tmp_path / "a", one_slice(FULL), classes=("liver", "tumour")))]
    made += [("B", finish(tmp_path / "b", one_slice(FULL), classes=classes))]
    assert refused(made, tmp_path / "out").startswith("classes: liver, tumour in ")


def test_another_target_of_a_case_is_refused_by_its_name(runs, tmp_path):
    made = runs(one_slice(FULL, HALF), one_slice(FULL, ("11111000", "11110000")))
    assert "case b: truth_px is 4 in A, 5 in B" in refused(made, tmp_path / "out")


def test_other_slices_of_a_case_are_refused_by_its_name(runs, tmp_path):
    made = runs(one_slice(FULL, HALF), {"a": [FULL, QUIET], "b": [HALF]})
    assert "case a: slices is 1 in A, 2 in B" in refused(made, tmp_path / "out")


def test_runs_without_a_common_case_are_refused(runs, tmp_path):
    made = runs(one_slice(FULL, HALF), {"x": [FULL]})
    said = refused(made, tmp_path / "out")
    assert said.startswith("no test case is common to the runs (2 of A, 1 of B); ")


def test_a_score_that_a_run_has_nowhere_is_refused_with_how_often_each_has_it(runs, tmp_path):
    made = runs(one_slice(FULL, HALF), one_slice(MISSED, MISSED))
    said = refused(made, tmp_path / "out", "precision")
    assert "--score precision: defined in no case of all runs, but in 2 of A, 0 of B" in said


def test_a_folder_with_something_in_it_is_not_written_to(runs, tmp_path):
    made = runs(one_slice(FULL), one_slice(FULL))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slices.png").touch()
    with pytest.raises(SegError, match=r"--out .*out: not empty"):
        compare.compare(made, "dice", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["slices.png"]


# Files


def test_the_tables_are_read_back_as_they_were_returned(runs, tmp_path):
    made = runs(one_slice(FULL, HALF, QUIET), one_slice(HALF, FULL, ALARM), infer=True)
    found = compare.compare(made, "dice", tmp_path / "out")
    read = {n: pd.read_csv(tmp_path / "out" / f"{n}.csv") for n in ("runs", "pairs", "cases")}
    for name, table in (("runs", found.runs), ("pairs", found.pairs)):
        assert set(read[name].pop("score")) == {"dice"}
        pd.testing.assert_frame_equal(read[name], table, check_dtype=False)
    pd.testing.assert_frame_equal(read["cases"], found.cases.reset_index(), check_dtype=False)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cases.csv",
        "comparison.png",
        "pairs.csv",
        "runs.csv",
        "slices.png",
    ]


def shown(out, made, *rows):
    """Tell whether slices.png shows these: slice, patient, and the Dice of the patient by run."""
    wanted = [
        (
            f"slice {name}, scores of patient {patient}",
            [cv2.imread(str(f / "overlays" / f"{name}.png"))[..., ::-1] for _, f in made],
            [f"dice {value:.3f}" for value in dice],
        )
        for name, patient, dice in rows
    ]
    picture = cv2.imread(str(out / "slices.png"))[..., ::-1]
    return np.array_equal(picture, side_by_side([label for label, _ in made], wanted))


def test_the_slice_shown_is_that_in_which_the_predictions_differ_most(runs, tmp_path):
    """b, further apart than a, is shown first; its slice 1 differs in four pixels, slice 0 in two.

    Pooled Dice of b in A: 2 * 6 / (12 + 6).
    """
    made = runs(
        {"a": [LITTLE, FULL], "b": [HALF, MISSED, FULL]},
        {"a": [HALF, FULL], "b": [FULL] * 3},
        infer=True,
    )
    compare.compare(made, "dice", tmp_path / "out")
    a = "a_0", "a", (2 * 5 / (8 + 5), 2 * 6 / (8 + 6))
    b = "b_1", "b", (2 / 3, 1)
    assert shown(tmp_path / "out", made, b, a)
    assert not shown(tmp_path / "out", made, a, b)


def test_of_slices_that_differ_alike_the_one_with_most_predicted_is_shown(runs, tmp_path):
    tested = {"a": [QUIET, HALF, FULL, LITTLE]}
    made = runs(tested, tested, infer=True)
    compare.compare(made, "dice", tmp_path / "out")
    assert shown(tmp_path / "out", made, ("a_2", "a", [2 * 7 / (12 + 7)] * 2))


def test_four_slices_are_shown_at_most(runs, tmp_path):
    """Patients by how far apart: f 1, c 3/5, b and d 1/3, then the others."""
    a = one_slice(FULL, HALF, LITTLE, FULL, FULL, MISSED)
    b = one_slice(FULL, FULL, FULL, HALF, FULL, FULL)
    made = runs(a, b, infer=True)
    compare.compare(made, "dice", tmp_path / "out")
    rows = [("f", 0, 1), ("c", 2 / 5, 1), ("b", 2 / 3, 1), ("d", 1, 2 / 3)]
    assert shown(tmp_path / "out", made, *((f"{p}_0", p, dice) for p, *dice in rows))


def test_runs_without_overlays_are_not_in_the_picture_and_one_alone_makes_none(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    tested = one_slice(FULL, HALF)
    made = [(n, finish(tmp_path / n, tested, infer=n != "B")) for n in "ABC"]
    compare.compare(made, "dice", tmp_path / "out")
    rows = [("a_0", "a", [1] * 2), ("b_0", "b", [2 / 3] * 2)]
    assert shown(tmp_path / "out", made[::2], *rows)
    compare.compare(made[:2], "dice", tmp_path / "none")
    assert not (tmp_path / "none" / "slices.png").exists()
    assert "no slices.png: no two runs have pictures" in caplog.text


# Command line


def test_the_command_prints_the_table_and_last_the_new_folder(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SEG_OUTPUTS", str(tmp_path / "outputs"))
    a, b = one_slice(FULL, HALF, MISSED, LITTLE), one_slice(HALF, FULL, LITTLE, FULL)
    assert compare.main([str(folder) for _, folder in runs(a, b)]) == 0
    title, head, first, second, folder = capsys.readouterr().out.splitlines()
    (told,) = mlflow.MlflowClient(find.default_uri(tmp_path / "outputs")).search_runs(["1"])
    assert told.info.run_name == f"comparison of 2 runs {folder[-6:]}"
    assert second.strip() in told.data.tags["mlflow.note.content"]
    assert title.strip() == "dice: mean [95% interval]"
    assert head.split("  ")[0].strip() == "run"
    assert first.split()[:4] == ["unet", "dice", "A", "0.5167"]
    assert "+0.2500 [" in second
    assert second.split()[-1] == "0.375"
    assert Path(folder).parent == tmp_path / "outputs" / "compare"
    assert (Path(folder) / "pairs.csv").is_file()


def test_a_refusal_is_one_sentence_and_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SEG_OUTPUTS", str(tmp_path / "outputs"))
    folder = str(finish(tmp_path / "a", one_slice(FULL)))
    for words, said in (
        ([], "runs to compare: none; "),
        ([folder], "runs to compare: unet dice a; "),
        ([folder, folder], "runs to compare: unet dice a; "),
        ([folder, "missing"], "missing: no folder, and no run or query of runs to sqlite:///"),
        ([folder, str(tmp_path)], f"{tmp_path} has no config.yaml; "),
        ([folder, "--score", "hd95"], "--score hd95: unknown; "),
    ):
        assert compare.main(words) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("error: ")
        assert said in err
    assert not (tmp_path / "outputs").exists()


def test_a_folder_that_cannot_be_made_is_a_sentence(runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    folders = [str(folder) for _, folder in runs(one_slice(FULL), one_slice(FULL))]
    assert compare.main([*folders, "--out", str(tmp_path / "file" / "out")]) == 1
    assert capsys.readouterr().err.endswith("Not a directory; check --out and the disk\n")


def test_the_command_starts_without_what_learns_and_what_tracks():
    heavy = "{'tensorflow', 'keras', 'mlflow'}"
    code = f"import sys, seg.compare; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
