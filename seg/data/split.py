"""Division of cases into train, valid and test, never of a patient's slices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from seg.contracts import Case, SegError, Splits

log = logging.getLogger(__name__)


def by_patient(
    cases: Sequence[Case], fractions: Sequence[float], seed: int, leakage: str = "warn"
) -> Splits:
    """Use the ready-made sides where the cases have them, else draw patients by `seed`.

    Args:
        cases: as a reader returns them, either all with a side or all without.
        fractions: of the patients in train, valid and test; they sum to 1.
        seed: of the drawing; the same patients and seed give the same split in any file order.
        leakage: "warn" or "error", where a ready-made split has a patient on two sides.

    Raises:
        SegError: a patient lies on two sides and leakage is "error".
    """
    if cases and cases[0].side is not None:
        sides = {
            side: tuple(case for case in cases if case.side == side)
            for side in ("train", "valid", "test")
        }
    else:
        sides = _draw(cases, fractions, seed)
    patients = [{c.patient for c in cases if c.identified} for cases in sides.values()]
    leaks = sorted(set().union(*(a & b for a, b in combinations(patients, 2))))
    _report(leaks, "dataset.root: {} on two sides of the ready-made split", leakage)
    return Splits(**sides, leaks=tuple(leaks))


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
    known = [case.patient for case in scored if case.patient in seen]
    _report(known, "checkpoint: {} to be scored among those the model has learned", leakage)
    return replace(splits, leaks=tuple(sorted({*splits.leaks, *known})))


def require(splits: Splits, stages: Sequence[str]) -> None:
    """Check that every side which the stages need has a case.

    Raises:
        SegError: a side is empty.
    """
    needed = {"train": ("train", "valid"), "evaluate": ("test",), "infer": ("test",)}
    for side in [side for stage in stages for side in needed[stage]]:
        if not splits.sides()[side]:
            raise SegError(
                f"empty split: {side} has no patient; add patients (at least 3 in a flat folder), "
                f"put slices under {side}/, or change dataset.fractions"
            )


def as_json(splits: Splits) -> dict[str, object]:
    """Return what splits.json holds: patients with their slice ids by side, and the leaks."""
    return {
        side: {case.patient: [slice_.id for slice_ in case.slices] for case in cases}
        for side, cases in splits.sides().items()
    } | {"leaks": list(splits.leaks)}


def _draw(
    cases: Sequence[Case], fractions: Sequence[float], seed: int
) -> dict[str, tuple[Case, ...]]:
    by_name = sorted(cases, key=lambda case: case.patient)
    order = np.random.default_rng(seed).permutation(len(by_name))
    n_valid, n_test = (_share(fraction, len(by_name)) for fraction in fractions[1:])
    bounds = np.cumsum([0, len(by_name) - n_valid - n_test, n_valid, n_test]).clip(min=0)
    return {
        side: tuple(by_name[i] for i in sorted(order[start:end]))
        for side, start, end in zip(
            ("train", "valid", "test"), bounds[:-1], bounds[1:], strict=True
        )
    }


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
