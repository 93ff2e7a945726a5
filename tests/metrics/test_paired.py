"""Facts about `seg.metrics.paired`: by hand, by enumeration, and against a bootstrap of its own."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from seg import evaluate
from seg.contracts import Scores
from seg.metrics.paired import differences, holm, interval, pairs, per_patient, signed_rank_p

NAN = math.nan


def table(patients, **columns):
    """Return scores, a row per case; cases of a patient are numbered."""
    cases = [f"{patient}_{i}" for i, patient in enumerate(patients)]
    index = pd.MultiIndex.from_arrays([cases, list(patients)], names=["case", "patient"])
    return pd.DataFrame(columns, index)


def drawn(seed, n=12, runs=3):
    rng = np.random.default_rng(seed)
    patients = [f"p{i // 2}" for i in range(n)]
    scores = table(patients, **{name: rng.random(n) for name in "abcdefgh"[:runs]})
    return scores.mask(rng.random(scores.shape) < 0.1)


# Per patient


def test_a_patients_cases_are_averaged_where_both_runs_are_defined():
    """Of p the cases 1 and 3, (0.2 + 0.6) / 2 and (0.4 + 0.8) / 2; q has no case in both."""
    scores = table("pppq", a=[0.2, 0.9, 0.6, NAN], b=[0.4, NAN, 0.8, 0.5])
    found = per_patient(scores)
    assert list(found.index) == ["p"]
    assert found.loc["p"].tolist() == pytest.approx([0.4, 0.6])


def test_patients_stay_in_the_order_met():
    assert list(per_patient(table("qpq", a=[1.0, 1, 1])).index) == ["q", "p"]


def test_one_run_alone_has_the_mean_and_interval_that_its_summary_says():
    scores = drawn(0, n=30, runs=1)
    rows = [
        {"case": case, "patient": patient, "truth_px": 1, "predicted_px": 1}
        | dict.fromkeys(Scores.names(), value)
        for (case, patient), value in scores["a"].items()
    ]
    summary = evaluate.summarize(rows, "test")
    values = per_patient(scores)["a"].to_numpy()
    assert values.mean() == pytest.approx(summary["test/dice"])
    ends = summary["test/dice_ci_low"], summary["test/dice_ci_high"]
    assert interval(values) == pytest.approx(ends)


# Interval


def test_the_interval_is_that_of_a_bootstrap_written_out():
    """Within 0.1 standard errors: four times the error of a quantile of 9999 resamples."""
    values = np.array([-0.11, -0.02, 0.0, 0.01, 0.03, 0.04, 0.08, 0.1, 0.15, 0.31])
    rng = np.random.default_rng(1)
    means = [values[rng.integers(0, 10, 10)].mean() for _ in range(50_000)]
    wanted = np.quantile(means, [0.025, 0.975])
    tolerance = 0.1 * values.std() / math.sqrt(10)
    np.testing.assert_allclose(interval(values), wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_fewer_than_two_values_have_no_interval(values):
    assert all(math.isnan(end) for end in interval(np.array(values)))


# Signed ranks


def enumerated_p(moved):
    """Count how many of all signs give rank sums as far from the middle or further."""
    moved = [d for d in moved if d]
    sizes = sorted(abs(d) for d in moved)
    ranks = [np.mean([i + 1 for i, s in enumerate(sizes) if s == abs(d)]) for d in moved]
    middle = sum(ranks) / 2
    seen = abs(sum(r for r, d in zip(ranks, moved, strict=True) if d > 0) - middle)
    sums = [
        sum(itertools.compress(ranks, signs))
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return np.mean([abs(s - middle) >= seen - 1e-9 for s in sums])


@pytest.mark.parametrize(
    "moved",
    [
        [1, 2],
        [1, 2, 3, 4, -5],
        [3, -1, 2, 5, 4, 8, -6, 7, 9, 10, 11, -12],
        [1, 1, 2, -3, 4],
        [0, 0, 0, 0.5],
        [0, 1, 1, -1, 0, 2, 3, 3, 0, 5],
        [0] * 60 + [1, 2, 3, 4, 5],
    ],
    ids=["two", "five", "twelve", "ties", "one and zeros", "ties and zeros", "few of many"],
)
def test_p_is_that_of_all_signs_enumerated(moved):
    assert signed_rank_p(np.array(moved, float)) == pytest.approx(enumerated_p(moved))


def test_five_equal_signs_are_one_of_sixteen():
    assert signed_rank_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) == 2 / 2**5


def test_of_many_patients_p_is_near_the_normal_one():
    """W+ of 100 ranks has mean 2525 and variance 100 * 101 * 201 / 24, here without ties."""
    moved = np.random.default_rng(3).normal(0.2, 1, 100)
    ranks = np.abs(moved).argsort().argsort() + 1
    z = (ranks[moved > 0].sum() - 2525) / math.sqrt(100 * 101 * 201 / 24)
    assert signed_rank_p(moved) == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), rel=1e-6)


@pytest.mark.parametrize(("moved", "p"), [([], NAN), ([0.3], NAN), ([0.0], NAN), ([0.0, 0.0], 1)])
def test_too_few_have_no_p_and_no_change_has_one(moved, p):
    assert signed_rank_p(np.array(moved)) == pytest.approx(p, nan_ok=True)


# Holm


def test_holm_by_hand():
    """Ordered 0.005, 0.01, 0.03, 0.04 by 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, which may not fall."""
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(
    ("p", "wanted"),
    [
        ([0.2], [0.2]),
        ([0.6, 0.7], [1, 1]),
        ([0.02, NAN, 0.03], [0.04, NAN, 0.04]),
        ([NAN], [NAN]),
    ],
)
def test_holm_of_one_is_itself_is_at_most_one_and_leaves_out_what_is_undefined(p, wanted):
    assert holm(np.array(p)) == pytest.approx(wanted, nan_ok=True)


# Pairs


def test_differences_are_b_minus_a_over_patients_not_cases():
    """p gains (0.2 + 0.4) / 2 = 0.3, q loses 0.1, r stays: mean 0.2 / 3."""
    scores = table("ppqr", a=[0.1, 0.2, 0.9, 0.5], b=[0.3, 0.6, 0.8, 0.5])
    found = differences(scores)
    assert found["patients"] == 3
    assert found["mean_difference"] == pytest.approx(0.2 / 3)
    assert (found["b_higher"], found["equal"], found["b_lower"]) == (1, 1, 1)
    assert found["p"] == enumerated_p([0.3, -0.1])


def test_a_case_defined_in_one_run_only_is_counted_and_not_paired():
    scores = table("pqrs", a=[0.5, NAN, NAN, 0.4], b=[0.6, 0.0, NAN, NAN])
    found = differences(scores)
    assert (found["patients"], found["mean_difference"]) == (1, pytest.approx(0.1))
    assert (found["defined_in_a_only"], found["defined_in_b_only"]) == (1, 1)
    assert all(math.isnan(found[name]) for name in ("ci_low", "ci_high", "p"))


def test_no_patient_in_both_is_undefined_throughout():
    found = differences(table("pq", a=[0.5, NAN], b=[NAN, 0.5]))
    assert found["patients"] == 0
    assert all(math.isnan(found[n]) for n in ("mean_difference", "ci_low", "ci_high", "p"))


def test_a_run_against_itself_does_not_differ():
    a = drawn(1, runs=1)["a"]
    found = differences(pd.DataFrame({"a": a, "again": a}))
    assert [found[n] for n in ("mean_difference", "ci_low", "ci_high", "p")] == [0, 0, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_the_other_way_round_the_signs_are_turned(seed):
    scores = drawn(seed, runs=2)
    there, back = differences(scores), differences(scores[["b", "a"]])
    assert back["mean_difference"] == pytest.approx(-there["mean_difference"])
    assert (back["ci_low"], back["ci_high"]) == pytest.approx((-there["ci_high"], -there["ci_low"]))
    assert back["p"] == pytest.approx(there["p"])
    assert (back["b_higher"], back["b_lower"]) == (there["b_lower"], there["b_higher"])
    assert back["defined_in_a_only"] == there["defined_in_b_only"]


def test_the_order_of_the_rows_changes_the_draws_of_the_interval_only():
    scores = drawn(2, n=24, runs=2)
    found, other = differences(scores), differences(scores[::-1])
    for name in found:
        tolerance = {"abs": 0.02} if name.startswith("ci") else {}
        assert other[name] == pytest.approx(found[name], **tolerance)


def test_a_pair_uses_the_cases_of_its_two_runs_whatever_a_third_lacks():
    scores = drawn(4, runs=3).assign(c=NAN)
    found = pairs(scores)
    assert list(zip(found["a"], found["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    alone = differences(scores[["a", "b"]])
    assert found.loc[0, list(alone)].tolist() == pytest.approx(list(alone.values()))
    assert found["patients"].tolist()[1:] == [0, 0]


def test_p_is_corrected_for_the_number_of_pairs():
    scores = drawn(5, n=16, runs=4)
    found = pairs(scores)
    assert len(found) == 6
    np.testing.assert_array_equal(found["p_holm"], holm(found["p"].to_numpy()))
    assert (found["p_holm"] >= found["p"]).all()
    assert found["p_holm"].min() == pytest.approx(min(1, 6 * found["p"].min()))


def test_differences_that_only_rounding_tells_apart_are_ties():
    a = [0.2, 0.1, 0.5, 0.6, 0.8, 0.7]
    table = pd.DataFrame({"a": a, "b": [value + 0.1 for value in a]})
    table.index = pd.Index([*"pqrstu"], name="patient")
    found = differences(table)
    assert found["p"] == pytest.approx(2 / 2**6)
    table["b"] = table["a"] + 1e-17
    assert (differences(table)["equal"], differences(table)["p"]) == (6, 1)
