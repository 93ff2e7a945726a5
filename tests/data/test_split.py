"""Facts about `seg.data.split`: every patient on one side, and who says so when not."""

import json
import logging
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from seg.contracts import Case, SegError, Slice, Splits
from seg.data.split import against_checkpoint, as_json, by_patient, require

USUAL = (0.7, 0.15, 0.15)


def case(patient, side=None, slices=2):
    ids = [f"{side}_{patient}_{i}" if side else f"{patient}_{i}" for i in range(slices)]
    return Case(patient, tuple(Slice(i, Path(f"{i}.png"), Path(f"{i}.png")) for i in ids), side)


def cohort(n):
    return [case(f"p{i:03d}") for i in range(n)]


def patients(splits):
    return {side: [c.patient for c in cases] for side, cases in splits.sides().items()}


def learned(*cases, side="train"):
    """Return splits.json of a run, as it comes back from disk."""
    sides = {"train": (), "valid": (), "test": ()} | {side: cases}
    return json.loads(json.dumps(as_json(Splits(**sides))))


@pytest.mark.parametrize("seed", range(12))
def test_a_patient_never_lies_on_two_sides_and_none_is_lost(seed):
    for n in range(3, 41):
        splits = by_patient(cohort(n), USUAL, seed)
        assert sorted(chain(*patients(splits).values())) == [f"p{i:03d}" for i in range(n)]
        assert splits.leaks == ()


@pytest.mark.parametrize("n", range(3, 41))
def test_three_patients_are_enough_for_three_sides(n):
    assert all(patients(by_patient(cohort(n), USUAL, 0)).values())


def test_a_case_keeps_its_slices():
    cases = cohort(9)
    splits = by_patient(cases, USUAL, 0)
    assert {c for side in splits.sides().values() for c in side} == set(cases)


@pytest.mark.parametrize(
    ("n", "fractions", "counts"),
    [
        (100, USUAL, [70, 15, 15]),
        (20, USUAL, [14, 3, 3]),
        (7, USUAL, [5, 1, 1]),
        (3, USUAL, [1, 1, 1]),
        (40, (0.6, 0.15, 0.25), [24, 6, 10]),
        (10, (0.8, 0.2, 0.0), [8, 2, 0]),
        (10, (1.0, 0.0, 0.0), [10, 0, 0]),
        (10, (0.0, 0.0, 1.0), [0, 0, 10]),
    ],
)
def test_the_sides_get_their_fractions_of_the_patients(n, fractions, counts):
    assert [len(side) for side in patients(by_patient(cohort(n), fractions, 5)).values()] == counts


def test_the_same_seed_gives_the_same_split():
    assert by_patient(cohort(20), USUAL, 3) == by_patient(cohort(20), USUAL, 3)


def test_the_order_of_the_files_does_not_matter():
    cases = cohort(20)
    mixed = [cases[i] for i in np.random.default_rng(0).permutation(20)]
    assert by_patient(mixed, USUAL, 3) == by_patient(cases, USUAL, 3)


def test_another_seed_gives_another_split():
    tests = {tuple(patients(by_patient(cohort(20), USUAL, seed))["test"]) for seed in range(20)}
    assert len(tests) >= 18


def test_every_patient_is_tested_equally_often():
    drawn = [patients(by_patient(cohort(10), USUAL, seed))["test"] for seed in range(300)]
    counts = np.unique(list(chain(*drawn)), return_counts=True)[1]
    n_test = len(drawn[0])
    assert len(counts) == 10
    assert np.abs(counts - 30 * n_test).max() < 6 * np.sqrt(30 * n_test)


def test_the_patients_of_a_side_are_sorted():
    for side in patients(by_patient(cohort(30), USUAL, 1)).values():
        assert side == sorted(side)


@pytest.mark.parametrize("seed", [0, 1])
def test_ready_made_sides_are_used_as_they_are(seed):
    cases = [case("a", "test"), case("b", "train"), case("c", "train"), case("d", "valid")]
    splits = by_patient(cases, (0.1, 0.1, 0.8), seed)
    assert patients(splits) == {"train": ["b", "c"], "valid": ["d"], "test": ["a"]}


@pytest.mark.parametrize("sides", [("train", "valid"), ("train", "test"), ("valid", "test")])
def test_a_patient_on_two_ready_made_sides_is_a_leak_and_logged(caplog, sides):
    cases = [case("both", side) for side in sides] + [case(s, s) for s in ("train", "test")]
    splits = by_patient(cases, USUAL, 0, "warn")
    assert splits.leaks == ("both",)
    assert [len(c) for c in splits.sides().values()] == [
        ("train" in sides) + 1,
        "valid" in sides,
        ("test" in sides) + 1,
    ]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "DATA LEAKAGE: dataset.root: 1 patients (both)" in record.getMessage()


def test_a_leak_can_be_an_error():
    cases = [case("both", "train"), case("both", "test")]
    with pytest.raises(SegError, match=r"\(both\).*dataset\.leakage=warn"):
        by_patient(cases, USUAL, 0, "error")


def test_a_patient_on_all_three_sides_is_named_once():
    cases = [case("x", side) for side in ("train", "valid", "test")]
    assert by_patient(cases, USUAL, 0).leaks == ("x",)


def test_many_leaks_are_counted_and_the_first_five_named(caplog):
    cases = [case(f"q{i}", side) for i in range(7) for side in ("train", "test")]
    by_patient(cases, USUAL, 0)
    assert "7 patients (q0, q1, q2, q3, q4, ...) are" in caplog.text


@pytest.mark.parametrize("leakage", ["warn", "error"])
def test_clean_sides_are_no_leak(caplog, leakage):
    cases = [case("a", "train"), case("b", "valid"), case("c", "test")]
    assert by_patient(cases, USUAL, 0, leakage).leaks == ()
    assert not caplog.records


@pytest.mark.parametrize("side", ["train", "valid"])
def test_a_test_patient_that_the_checkpoint_learned_is_a_leak(caplog, side):
    splits = Splits((case("a"),), (case("b"),), (case("c"), case("d")))
    known = against_checkpoint(
        splits, learned(case("c"), case("z"), side=side), ["evaluate"], "warn"
    )
    assert known.leaks == ("c",)
    assert known.sides() == splits.sides()
    assert "DATA LEAKAGE: checkpoint: 1 patients (c)" in caplog.text


def test_a_patient_that_the_checkpoint_was_tested_on_is_no_leak(caplog):
    splits = Splits((), (), (case("c"),))
    assert against_checkpoint(splits, learned(case("c"), side="test"), ["train"], "error") == splits
    assert not caplog.records


def test_training_patients_of_this_run_may_be_known_to_the_checkpoint():
    splits = Splits((case("a"),), (case("b"),), (case("c"),))
    assert (
        against_checkpoint(splits, learned(case("a"), case("b")), ["evaluate"], "error").leaks == ()
    )


def test_one_known_slice_makes_its_patient_a_leak():
    splits = Splits((), (), (case("c", slices=3),))
    assert against_checkpoint(splits, learned(case("c", slices=1)), ["infer"], "warn").leaks == (
        "c",
    )


def test_a_validation_patient_the_checkpoint_learned_is_a_leak_where_training_scores_it():
    splits = Splits((case("a"),), (case("b"),), (case("c"),))
    assert against_checkpoint(splits, learned(case("b")), ["train"], "warn").leaks == ("b",)


def test_slices_that_name_no_patient_cannot_tell_a_leak(caplog):
    twice = [replace(case("1", side), identified=False) for side in ("train", "test")]
    assert by_patient(twice, USUAL, seed=0, leakage="error").leaks == ()


def test_a_leak_of_the_checkpoint_can_be_an_error():
    splits = Splits((), (), (case("c"),))
    with pytest.raises(SegError, match=r"checkpoint: 1 patients \(c\)"):
        against_checkpoint(splits, learned(case("c")), ["evaluate"], "error")


def test_leaks_of_split_and_checkpoint_are_joined_in_order():
    splits = Splits((), (), (case("c"), case("a")), leaks=("b", "c"))
    assert against_checkpoint(splits, learned(case("a"), case("c")), ["infer"], "warn").leaks == (
        "a",
        "b",
        "c",
    )


@pytest.mark.parametrize(
    ("stages", "empty"),
    [
        (["train"], "train"),
        (["train"], "valid"),
        (["evaluate"], "test"),
        (["infer"], "test"),
        (["train", "evaluate"], "test"),
        (["evaluate", "train"], "valid"),
    ],
)
def test_an_empty_side_that_a_stage_needs_is_refused_by_name(stages, empty):
    full = {side: (case(side),) for side in ("train", "valid", "test")}
    with pytest.raises(SegError, match=f"empty split: {empty} has no patient"):
        require(Splits(**full | {empty: ()}), stages)


def test_an_empty_side_that_no_stage_needs_is_accepted():
    require(Splits((case("a"),), (case("b"),), ()), ["train"])
    require(Splits((), (), (case("c"),)), ["evaluate", "infer"])


def test_two_patients_in_a_flat_folder_are_too_few_to_train_and_test():
    with pytest.raises(SegError, match="train has no patient"):
        require(by_patient(cohort(2), USUAL, 0), ["train", "evaluate"])


def test_splits_json_lists_slice_ids_by_side_and_patient():
    splits = Splits((case("a"), case("b", slices=1)), (case("c", "valid", 1),), (), ("b",))
    assert as_json(splits) == {
        "train": {"a": ["a_0", "a_1"], "b": ["b_0"]},
        "valid": {"c": ["valid_c_0"]},
        "test": {},
        "leaks": ["b"],
    }
