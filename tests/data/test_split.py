"""Facts about `seg.data.split`: every patient on one side, and who says so when not."""

import json
import logging
from collections import Counter
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.contracts import Case, SegError, Slice, Splits
from seg.data.split import against_checkpoint, as_json, by_patient, require, thinned

USUAL = (0.7, 0.15, 0.15)


def case(patient, side=None, slices=2, volume=""):
    name = "_".join(part for part in (side, patient, volume) if part)
    ids = [f"{name}_{i}" for i in range(slices)]
    members = tuple(Slice(i, Path(f"{i}.png"), Path(f"{i}.png")) for i in ids)
    return Case(patient, members, side, volume=volume)


def counted(case, *target_px):
    """Return the case with as many slices as there are counts."""
    pairs = zip(case.slices, target_px, strict=True)
    return replace(case, slices=tuple(replace(s, target_px=px) for s, px in pairs))


def cohort(n):
    return [case(f"p{i:03d}") for i in range(n)]


def sized(sizes):
    """Return a patient for each size, named so that the names say nothing of the size."""
    return [counted(case(f"p{i * 7 % 101:03d}", slices=1), size) for i, size in enumerate(sizes)]


def patients(splits):
    return {side: [c.patient for c in cases] for side, cases in splits.sides().items()}


def sizes(cases):
    return [case.target_size for case in cases]


def folds_of(cases, folds, seed=0):
    """Return the patients of the test side of every fold."""
    splits = (by_patient(cases, USUAL, seed, fold=fold, folds=folds) for fold in range(folds))
    return [{case.patient for case in split.test} for split in splits]


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


def test_a_side_is_sorted_by_patient_and_volume():
    cases = [case(p, volume=v) for p, v in (("b", "2"), ("a", "2"), ("b", "1"), ("a", "1"))]
    train = by_patient(cases, (1, 0, 0), 0).train
    assert [case.name for case in train] == ["a_1", "a_2", "b_1", "b_2"]


@st.composite
def cohorts(draw):
    """Draw 2 to 24 patients of 1 to 4 cases of 0 to 3 slices, some without target."""
    shape = st.lists(st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=4)
    return [
        counted(case(f"p{i:02d}", slices=len(px), volume=str(v) if len(volumes) > 1 else ""), *px)
        for i, volumes in enumerate(draw(st.lists(shape, min_size=2, max_size=24)))
        for v, px in enumerate(volumes)
    ]


@st.composite
def shares(draw):
    first, second = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
    return first / 20, (second - first) / 20, 1 - second / 20


def check_division(splits, cases):
    """Check that each case is there once and that no patient is on two sides."""
    everything = Counter(chain(*splits.sides().values()))
    assert everything == Counter(cases)
    of_side = [set(names) for names in patients(splits).values()]
    assert not any(a & b for a, b in combinations(of_side, 2))
    assert splits.leaks == ()


often = settings(derandomize=True, deadline=None, max_examples=150, database=None)


@often
@given(cohorts(), shares(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_any_cohort_is_divided_by_patient_in_any_order_of_its_cases(cases, share, seed, shuffle):
    splits = by_patient(cases, share, seed)
    check_division(splits, cases)
    n = len({case.patient for case in cases})
    n_test, n_valid = (max(round(part * n), part > 0) for part in (share[2], share[1]))
    numbers = [len(set(names)) for names in patients(splits).values()]
    assert numbers[1:] == [min(n_valid, n - n_test), n_test]
    mixed = shuffle.sample(cases, len(cases))
    assert by_patient(mixed, share, seed) == splits


@often
@given(cohorts(), shares(), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False), st.data())
def test_the_folds_of_any_cohort_test_every_patient_once(cases, share, seed, shuffle, data):
    """Ready-made sides are dealt out at random: the folds are those of the flat folder."""
    everyone = {case.patient for case in cases}
    folds = data.draw(st.integers(2, len(everyone)))
    sided = [replace(c, side=shuffle.choice(("train", "valid", "test"))) for c in cases]
    seen = Counter()
    for fold in range(folds):
        splits = by_patient(cases, share, seed, fold=fold, folds=folds)
        check_division(splits, cases)
        test = {case.patient for case in splits.test}
        assert len(test) in (len(everyone) // folds, -(-len(everyone) // folds))
        seen.update(test)
        again = by_patient(shuffle.sample(sided, len(cases)), share, seed, "error", fold, folds)
        check_division(again, sided)
        assert patients(again) == patients(splits)
    assert seen == dict.fromkeys(everyone, 1)


@pytest.mark.parametrize("seed", range(40))
def test_every_quarter_of_the_sizes_gives_one_test_and_one_validation_patient(seed):
    """Of 1..20: test has one of 1..5, of 6..10, ...; valid one of each four that are left."""
    splits = by_patient(sized(range(1, 21)), (0.6, 0.2, 0.2), seed)
    assert sorted((size - 1) // 5 for size in sizes(splits.test)) == [0, 1, 2, 3]
    left = [size for size in range(1, 21) if size not in sizes(splits.test)]
    places = sorted(left.index(size) // 4 for size in sizes(splits.valid))
    assert places == [0, 1, 2, 3]


def test_any_patient_of_a_stratum_may_be_drawn():
    seen = {side: set() for side in ("train", "valid", "test")}
    for seed in range(200):
        for side, cases in by_patient(sized(range(20)), (0.6, 0.2, 0.2), seed).sides().items():
            seen[side] |= set(sizes(cases))
    assert all(found == set(range(20)) for found in seen.values())


def test_the_size_of_a_patient_is_that_of_all_its_cases():
    """Patients of 10, 20, ..., 120 pixels, in one case or in as many as there are tens."""
    whole, parts = [], []
    for i in range(1, 13):
        name = f"p{i * 5 % 13:02d}"
        whole.append(counted(case(name, slices=1), 10 * i))
        parts += [counted(case(name, slices=1, volume=str(v)), 10) for v in range(i)]
    for seed in range(10):
        sides = patients(by_patient(parts, USUAL, seed))
        assert {side: list(dict.fromkeys(names)) for side, names in sides.items()} == patients(
            by_patient(whole, USUAL, seed)
        )


def test_the_test_side_does_not_depend_on_how_the_rest_is_divided():
    for seed in range(10):
        tests = [
            by_patient(cohort(20), (0.8 - valid, valid, 0.2), seed).test for valid in (0, 0.2, 0.5)
        ]
        assert tests[0] == tests[1] == tests[2]


@pytest.mark.parametrize("seed", range(20))
def test_every_fold_has_one_of_each_five_patients_of_like_size(seed):
    folds = [
        by_patient(sized(range(20)), USUAL, seed, fold=fold, folds=5).test for fold in range(5)
    ]
    for cases in folds:
        assert sorted(size // 5 for size in sizes(cases)) == [0, 1, 2, 3]


def test_the_patients_left_over_go_to_any_of_the_folds():
    """Of 12 patients in 5 folds two folds have three: in 100 seeds each of the ten pairs."""
    cases = sized(range(12))
    pairs = set()
    for seed in range(100):
        numbers = [len(test) for test in folds_of(cases, 5, seed)]
        assert sorted(numbers) == [2, 2, 2, 3, 3]
        pairs.add(tuple(fold for fold, n in enumerate(numbers) if n == 3))
    assert pairs == set(combinations(range(5), 2))


def test_any_two_patients_of_different_size_may_share_a_fold():
    pairs = set()
    for seed in range(200):
        pairs |= {pair for test in folds_of(cohort(6), 3, seed) for pair in combinations(test, 2)}
    together = {frozenset(pair) for pair in pairs}
    assert together == {
        frozenset((f"p{i:03d}", f"p{j:03d}")) for i in range(3) for j in range(3, 6)
    }


@pytest.mark.parametrize(
    ("fractions", "counts"),
    [
        ((0.6, 0.2, 0.2), [15, 5, 5]),
        ((0.3, 0.1, 0.6), [15, 5, 5]),
        ((0.7, 0.0, 0.3), [20, 0, 5]),
        ((0.99, 0.01, 0.0), [19, 1, 5]),
        ((0.0, 0.0, 1.0), [20, 0, 5]),
    ],
)
def test_train_and_valid_share_what_a_fold_leaves(fractions, counts):
    for fold in range(5):
        splits = by_patient(sized(range(25)), fractions, 3, fold=fold, folds=5)
        assert [len(side) for side in splits.sides().values()] == counts


def test_the_validation_side_of_a_fold_has_one_patient_of_each_size_class():
    """Of the 20 patients that a fold of 25 leaves, a quarter: one of each four in a row."""
    cases = sized(range(25))
    for fold in range(5):
        splits = by_patient(cases, (0.6, 0.2, 0.2), 1, fold=fold, folds=5)
        left = sorted(set(range(25)) - set(sizes(splits.test)))
        assert sorted(left.index(size) // 4 for size in sizes(splits.valid)) == [0, 1, 2, 3, 4]


def test_as_many_folds_as_patients_leave_one_out():
    assert sorted(chain(*folds_of(cohort(4), 4))) == ["p000", "p001", "p002", "p003"]


def test_more_folds_than_patients_are_refused():
    cases = [case(f"p{i}", volume=str(v)) for i in range(4) for v in range(3)]
    with pytest.raises(SegError, match=r"dataset\.folds: 5 folds of 4 patients"):
        by_patient(cases, USUAL, 0, fold=0, folds=5)


def test_folds_set_a_ready_made_split_aside_and_say_so(caplog):
    caplog.set_level(logging.INFO)
    cases = [case("both", side) for side in ("train", "test")] + [
        case("x", "test"),
        case("y", "train"),
    ]
    splits = [by_patient(cases, USUAL, 0, "error", fold, 3) for fold in range(3)]
    tests = [[c.patient for c in split.test] for split in splits]
    assert sorted(tests) == [["both"], ["x"], ["y"]]
    assert [split.leaks for split in splits] == [()] * 3
    assert [record.levelno for record in caplog.records] == [logging.INFO] * 3
    assert "the ready-made split is set aside" in caplog.text


def test_folds_put_a_volume_that_sides_have_torn_together_in_the_order_of_its_slices():
    torn = [
        Case("p", tuple(Slice(f"p_{i}", Path(), Path()) for i in numbers), side)
        for side, numbers in (("train", (1, 3, 11)), ("test", (2, 10)))
    ]
    for fold in range(2):
        splits = by_patient([*torn, case("q", "train")], USUAL, 0, fold=fold, folds=2)
        (whole,) = [c for side in splits.sides().values() for c in side if c.patient == "p"]
        assert [slice_.id for slice_ in whole.slices] == ["p_1", "p_2", "p_3", "p_10", "p_11"]


def test_folds_do_not_join_slices_of_one_name(caplog):
    cases = [case("a", "train"), case("b", "train"), replace(case("a", "train"), side="test")]
    with pytest.raises(SegError, match=r"dataset\.fold: 2 slices \(train_a_0 first\)"):
        by_patient(cases, USUAL, 0, fold=0, folds=2)
    by_patient(cases, USUAL, 0)


def test_a_flat_folder_is_not_said_to_be_set_aside(caplog):
    caplog.set_level(logging.INFO)
    by_patient(cohort(6), USUAL, 0, fold=1, folds=3)
    assert not caplog.records


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


def test_a_known_patient_of_several_volumes_is_named_once(caplog):
    splits = Splits((), (), tuple(case("c", volume=v) for v in "123"))
    known = against_checkpoint(splits, learned(case("c", volume="4")), ["infer"], "warn")
    assert known.leaks == ("c",)
    assert "checkpoint: 1 patients (c) are" in caplog.text


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


def test_splits_json_lists_the_slices_of_all_volumes_of_a_patient():
    volumes = tuple(case("a", volume=volume) for volume in "12")
    splits = Splits((*volumes, case("b", slices=1)), (), ())
    assert as_json(splits)["train"] == {"a": ["a_1_0", "a_1_1", "a_2_0", "a_2_1"], "b": ["b_0"]}


@pytest.fixture
def mixed():
    """Three cases of two slices with target, a_0 and b_1, and six without."""
    counts = {"a": (5, 0, 0), "b": (0, 1), "c": (0, 0, 0)}
    return [counted(case(name, slices=len(px)), *px) for name, px in counts.items()]


def ids(cases):
    return [slice_.id for case in cases for slice_ in case.slices]


def test_without_a_ratio_all_slices_are_kept(mixed, caplog):
    caplog.set_level(logging.INFO)
    assert thinned(mixed, None, 0) == tuple(mixed)
    assert not caplog.records


def test_a_ratio_of_0_keeps_the_slices_with_target_and_the_cases_that_have_one(mixed, caplog):
    caplog.set_level(logging.INFO)
    left = thinned(mixed, 0, 0)
    assert [(c.patient, ids([c])) for c in left] == [("a", ["a_0"]), ("b", ["b_1"])]
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "6 of 6 training slices without target are left out" in record.getMessage()


@pytest.mark.parametrize(
    ("ratio", "n_empty"),
    [(0.2, 0), (0.3, 1), (0.7, 1), (0.8, 2), (1, 2), (2.5, 5), (3, 6), (99, 6)],
)
def test_a_ratio_keeps_so_many_empty_slices_for_each_with_target(mixed, caplog, ratio, n_empty):
    """Two slices have a target: a ratio of 0.7 asks for 1.4, one of 2.5 for five."""
    caplog.set_level(logging.INFO)
    for seed in range(5):
        left = ids(thinned(mixed, ratio, seed))
        assert {"a_0", "b_1"} <= set(left)
        assert len(left) == 2 + n_empty
        assert left == sorted(left)
        assert f"{6 - n_empty} of 6 training slices" in caplog.records[-1].getMessage()


def test_any_two_empty_slices_may_be_kept_whatever_their_cases(mixed):
    drawn = Counter(frozenset(ids(thinned(mixed, 1, seed))) - {"a_0", "b_1"} for seed in range(300))
    empty = ["a_1", "a_2", "b_0", "c_0", "c_1", "c_2"]
    assert set(drawn) == set(map(frozenset, combinations(empty, 2)))
    assert max(drawn.values()) < 20 + 6 * np.sqrt(20)


def test_what_is_kept_depends_on_the_seed_and_not_on_the_order(mixed):
    for seed in range(20):
        left = thinned(mixed, 1, seed)
        assert left == thinned(mixed, 1, seed)
        assert thinned(mixed[::-1], 1, seed) == left[::-1]
        backwards = [replace(c, slices=c.slices[::-1]) for c in mixed]
        assert sorted(ids(thinned(backwards, 1, seed))) == ids(left)


def test_a_higher_ratio_adds_to_what_a_lower_one_keeps(mixed):
    kept = [set(ids(thinned(mixed, ratio, 4))) for ratio in (0, 0.5, 1, 2, 3)]
    assert all(fewer < more for fewer, more in zip(kept, kept[1:], strict=False))


@pytest.mark.parametrize("cases", [[], [counted(case("a"), 1, 2)]])
def test_where_no_slice_is_empty_all_are_kept_without_a_word(caplog, cases):
    caplog.set_level(logging.INFO)
    assert thinned(cases, 0, 0) == tuple(cases)
    assert not caplog.records


@pytest.mark.parametrize("ratio", [0, 2.5])
def test_a_ratio_of_nothing_is_refused(ratio):
    cases = [counted(case("a"), 0, 0), counted(case("b"), 0, 0)]
    with pytest.raises(SegError, match=rf"dataset\.empty_ratio={ratio}: none of the 4 training"):
        thinned(cases, ratio, 0)
    assert thinned(cases, None, 0) == tuple(cases)


def test_the_size_of_a_target_does_not_depend_on_how_its_volume_was_sliced():
    """The same 60 mm3, as 60 pixels of 1 mm, and as 30 of 2 mm; the other patient has 45."""
    fine = replace(case("fine", slices=1), spacing_mm=(1.0, 1.0, 1.0))
    thick = replace(case("thick", slices=1), spacing_mm=(2.0, 1.0, 1.0))
    px = {"fine": 60, "thick": 30}
    sized = [
        replace(c, slices=tuple(replace(s, target_px=px[c.patient]) for s in c.slices))
        for c in (fine, thick)
    ]
    assert [c.target_size for c in sized] == [60, 60]
