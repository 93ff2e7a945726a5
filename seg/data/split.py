"""Division of patients, with all their cases, into train, valid and test; thinning of train."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from seg.contracts import Case, SegError, Splits
from seg.data.folder import natural

log = logging.getLogger(__name__)


def by_patient(
    cases: Sequence[Case],
    fractions: Sequence[float],
    seed: int,
    leakage: str = "warn",
    fold: int | None = None,
    folds: int = 5,
) -> Splits:
    """Use the ready-made sides where the cases have them, else draw patients by `seed`.

    All cases of a patient are drawn to one side, and every side gets patients with small and with
    large targets. A split drawn is a pure function of the patients, the sizes of their targets and
    the arguments: the order of the cases does not matter.

    Args:
        cases: as `seg.data.check.verified` returns them, all with a side or all without.
        fractions: of the patients in train, valid and test; they sum to 1. A fold is tested
            whatever the last says, and the first two share the others.
        seed: of the drawing, the same for all folds.
        leakage: "warn" or "error", where a ready-made split has a patient on two sides.
        fold: number of the part, from 0, to be tested in cross-validation; None for one split.
        folds: parts; each patient is in the test side of exactly one.

    Raises:
        SegError: a patient lies on two sides and leakage is "error"; fewer patients than folds; the
            folds would join slices of one name from different ready-made sides.
    """
    cases = sorted(cases, key=lambda case: (case.name, case.side or ""))
    ready_made = bool(cases) and cases[0].side is not None
    if ready_made and fold is not None:
        cases = _sides_set_aside(cases)
    if ready_made and fold is None:
        side_of = [case.side for case in cases]
    else:
        drawn = _draw(_largest_first(cases), fractions, seed, fold, folds)
        side_of = [drawn[case.patient] for case in cases]
    sides = {
        name: tuple(case for case, side in zip(cases, side_of, strict=True) if side == name)
        for name in ("train", "valid", "test")
    }
    patients = [{case.patient for case in side if case.identified} for side in sides.values()]
    leaks = sorted(set().union(*(a & b for a, b in combinations(patients, 2))))
    _report(leaks, "dataset.root: {} on two sides of the ready-made split", leakage)
    return Splits(**sides, leaks=tuple(leaks))


def thinned(cases: Sequence[Case], empty_ratio: float | None, seed: int) -> tuple[Case, ...]:
    """Leave out training slices without target, drawn from all cases together.

    Args:
        cases: of the training side, as `seg.data.check.verified` counted them.
        empty_ratio: slices without target to keep at most, for each slice with one; None for all.
        seed: of the drawing, which the order of the cases does not change.

    Returns:
        The cases in which a slice is left, cases and slices in their order.

    Raises:
        SegError: empty_ratio is given and no slice has a target.
    """
    slices = [slice_ for case in cases for slice_ in case.slices]
    empty = sorted(slice_.id for slice_ in slices if not slice_.target_px)
    if empty_ratio is None or not empty:
        return tuple(cases)
    if len(empty) == len(slices):
        raise SegError(
            f"dataset.empty_ratio={empty_ratio:g}: none of the {len(slices)} training slices has a "
            "target, so none would be left; take dataset.empty_ratio=null or another split"
        )
    n_kept = round(empty_ratio * (len(slices) - len(empty)))
    order = np.random.default_rng(seed).permutation(len(empty))
    left_out = {empty[i] for i in order[n_kept:]}
    log.info(
        "dataset.empty_ratio=%g: %d of %d training slices without target are left out",
        empty_ratio,
        len(left_out),
        len(empty),
    )
    rest = (
        replace(case, slices=tuple(s for s in case.slices if s.id not in left_out))
        for case in cases
    )
    return tuple(case for case in rest if case.slices)


def against_checkpoint(
    splits: Splits, trained_on: dict[str, dict], stages: Sequence[str], leakage: str
) -> Splits:
    """Add to the leaks the patients to be scored that a loaded model has been trained on.

    Args:
        splits: of this run.
        trained_on: the splits.json of the run that trained the model (see `as_json`), of a dataset
            whose patients have the same names.
        stages: of this run; training scores the validation side.
        leakage: as of `by_patient`.

    Raises:
        SegError: there are such patients and leakage is "error".
    """
    seen = {patient for side in ("train", "valid") for patient in trained_on[side]}
    scored = splits.test + (splits.valid if "train" in stages else ())
    known = sorted({case.patient for case in scored} & seen)
    _report(known, "checkpoint: {} to be scored among those the model has learned", leakage)
    return replace(splits, leaks=tuple(sorted({*splits.leaks, *known})))


def require(splits: Splits, stages: Sequence[str], monitor: str = "val/loss") -> None:
    """Check that every side which the stages need has a case.

    Args:
        splits: of the run.
        stages: of the run.
        monitor: curve that chooses the best epoch; one of training needs no validation.

    Raises:
        SegError: a side is empty.
    """
    needed = {
        "train": ("train", "valid") if monitor.startswith("val/") else ("train",),
        "evaluate": ("test",),
        "infer": ("test",),
    }
    for side in [side for stage in stages for side in needed.get(stage, ())]:
        if not splits.sides()[side]:
            without = "; or train without, by trainer.monitor=train/loss" if side == "valid" else ""
            raise SegError(
                f"empty split: {side} has no patient; add patients (at least 3), put slices under "
                f"{side}/, change dataset.fractions, or take dataset.fold=0{without}"
            )


def as_json(splits: Splits) -> dict[str, object]:
    """Return what splits.json holds: patients with their slice ids by side, and the leaks."""
    sides: dict[str, dict[str, list[str]]] = {}
    for side, cases in splits.sides().items():
        ids = sides[side] = {case.patient: [] for case in cases}
        for case in cases:
            ids[case.patient] += [slice_.id for slice_ in case.slices]
    return {**sides, "leaks": list(splits.leaks)}


def _sides_set_aside(cases: Sequence[Case]) -> list[Case]:
    """Join the ready-made sides, on each of which slice ids are unique, and cases torn by them."""
    times = Counter(slice_.id for case in cases for slice_ in case.slices)
    twice = sorted(name for name, n in times.items() if n > 1)
    if twice:
        raise SegError(
            f"dataset.fold: {len(twice)} slices ({twice[0]} first) lie on several sides of the "
            "ready-made split, which folds join; give every slice a name of its own, or take "
            "dataset.fold=null to use the split"
        )
    log.info("dataset.fold: the ready-made split is set aside, all patients are drawn anew")
    whole: dict[tuple[str, str], Case] = {}
    for case in cases:
        known = whole.get((case.name, case.patient), replace(case, slices=()))
        slices = sorted(known.slices + case.slices, key=lambda slice_: natural(slice_.id))
        whole[case.name, case.patient] = replace(known, slices=tuple(slices))
    return list(whole.values())


def _largest_first(cases: Sequence[Case]) -> list[str]:
    """Return the patients by the size of their target in all cases, then by name."""
    size: dict[str, float] = defaultdict(float)
    for case in cases:
        size[case.patient] += case.target_size
    return sorted(size, key=lambda patient: (-size[patient], patient))


def _draw(
    patients: list[str], fractions: Sequence[float], seed: int, fold: int | None, folds: int
) -> dict[str, str]:
    """Return the side of each patient: test is drawn first, then valid; train is the rest."""
    rng = np.random.default_rng(seed)
    of_train, of_valid, of_test = fractions
    if fold is None:
        test = _one_of_each_stratum(patients, _share(of_test, len(patients)), rng)
        n_valid = _share(of_valid, len(patients))
    else:
        test = _fold(patients, fold, folds, rng)
        n_valid = _share(of_valid / (of_train + of_valid or 1), len(patients) - len(test))
    valid = _one_of_each_stratum([p for p in patients if p not in test], n_valid, rng)
    return (
        dict.fromkeys(patients, "train")
        | dict.fromkeys(valid, "valid")
        | dict.fromkeys(test, "test")
    )


def _one_of_each_stratum(patients: list[str], n: int, rng: np.random.Generator) -> set[str]:
    """Cut the sorted patients into n strata, as equal as can be, and draw one from each."""
    n = min(n, len(patients))
    strata = np.array_split(np.arange(len(patients)), n) if n else []
    return {patients[rng.choice(stratum)] for stratum in strata}


def _fold(patients: list[str], fold: int, folds: int, rng: np.random.Generator) -> set[str]:
    """Deal the sorted patients, `folds` at a time and in random order, onto the folds."""
    if folds > len(patients):
        raise SegError(
            f"dataset.folds: {folds} folds of {len(patients)} patients, and each fold needs one to "
            "test; take fewer folds or add patients"
        )
    dealt = [number for _ in range(0, len(patients), folds) for number in rng.permutation(folds)]
    return {patient for patient, number in zip(patients, dealt, strict=False) if number == fold}


def _share(fraction: float, n: int) -> int:
    """Round to the nearest count, but to at least one where anything was asked for."""
    return max(round(fraction * n), 1 if fraction > 0 else 0)


def _report(leaks: Sequence[str], where: str, leakage: str) -> None:
    if not leaks:
        return
    named = f"{len(leaks)} patients ({', '.join(leaks[:5])}{', ...' if len(leaks) > 5 else ''}) are"
    text = f"{where.format(named)}: test scores will be too good; keep each patient on one side"
    if leakage == "error":
        raise SegError(f"{text}, or take dataset.leakage=warn to go on")
    log.warning("DATA LEAKAGE: %s", text)
