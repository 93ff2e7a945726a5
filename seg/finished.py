"""Finished runs, as their folders tell them, and on which cases they can be compared."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import yaml

from seg.contracts import Scores, SegError, first_line
from seg.metrics.paired import per_patient

log = logging.getLogger(__name__)
T = TypeVar("T")

MISSING = {
    "config.yaml": "give the folder of a run, OUTPUTS/DATASET/MODEL/TIME-ID",
    "cases.csv": "give runs that had evaluate among their stages",
    "summary.json": "the run did not finish, so run it again or leave it out",
    "splits.json": "the run did not finish, so run it again or leave it out",
}


@dataclass(frozen=True)
class Finished:
    """A finished run and one of its scores.

    Attributes:
        label: its name in tables and figures.
        folder: where it lies.
        dataset: name of the dataset.
        cases: columns slices, truth_px and the score; the index is case, patient and, where they
            have names, class.
        own: mean, ci_low and ci_high of the score over all its test patients, as it reported them.
        splits: patients with their slice ids by side, and the leaks; `seg.data.split.as_json`.
    """

    label: str
    folder: Path
    dataset: str
    cases: pd.DataFrame
    own: dict[str, float]
    splits: dict

    @property
    def classes(self) -> str:
        """Name the classes that it was scored on."""
        if "class" not in self.cases.index.names:
            return "one without a name"
        return ", ".join(sorted(names(self.cases, "class")))

    @property
    def learned(self) -> set[str]:
        """Return the patients it has trained on, or chosen its best epoch by."""
        train, valid, test = (set(self.splits[side]) for side in ("train", "valid", "test"))
        # On two sides and no leak: slices whose names name no patient, of two persons.
        return (train | valid) - test | set(self.splits["leaks"])


def read(runs: Sequence[tuple[str, Path]], score: str) -> list[Finished]:
    """Read labelled folders, and refuse runs that were not tested on the same.

    Raises:
        SegError: a file is missing or is not what a run writes; an unknown score; fewer than two
            runs, or two of one label; other datasets, classes or targets.
    """
    if score not in Scores.names():
        raise SegError(f"--score {score}: unknown; take one of {', '.join(Scores.names())}")
    labels = [label for label, _ in runs]
    if len(set(labels)) < max(2, len(labels)):
        received = ", ".join(labels) or "none"
        raise SegError(f"runs to compare: {received}; give two or more, no two of one label")
    finished = [_read(label, folder, score) for label, folder in runs]
    first = finished[0]
    for run in finished[1:]:
        for what in ("dataset", "classes"):
            if getattr(run, what) != getattr(first, what):
                raise SegError(
                    f"{what}: {getattr(first, what)} in {first.folder}, {getattr(run, what)} in "
                    f"{run.folder}; compare runs of one dataset with the same labels"
                )
    for column in ("slices", "truth_px"):
        _refuse_other_targets(side_by_side(finished, column), column)
    return finished


def comparable(runs: Sequence[Finished], score: str) -> pd.DataFrame:
    """Set the score of the runs side by side where it can be compared; warn of what is left out.

    Returns:
        A row per case (and class) that all runs have, of patients that none has learned from; a
        column per run, by label.

    Raises:
        SegError: nothing is left.
    """
    scores = side_by_side(runs, score)
    common, each = cases(scores), [cases(run.cases) for run in runs]
    said = ", ".join(f"{len(own)} of {run.label}" for run, own in zip(runs, each, strict=True))
    if not common:
        raise SegError(
            f"no test case is common to the runs ({said}); compare runs with the same "
            "dataset.split_seed, dataset.fractions and dataset.fold"
        )
    if any(own != common for own in each):
        log.warning(
            "only the %d test cases common to the runs are compared (%s)", len(common), said
        )
    return _not_learned(scores, runs)


def side_by_side(runs: Sequence[Finished], column: str) -> pd.DataFrame:
    """Return a column of each run's cases, over the rows that all have, by the order of names."""
    columns = {run.label: run.cases[column] for run in runs}
    return pd.concat(columns, axis=1, join="inner").sort_index()


def cases(table: pd.DataFrame) -> set[tuple[str, str]]:
    """Return case and patient of each row: a case's name alone may be another patient's too."""
    return set(zip(*(table.index.get_level_values(n) for n in ("case", "patient")), strict=True))


def names(table: pd.DataFrame, level: str) -> set[str]:
    """Return the values of a level of a table's index."""
    return set(table.index.get_level_values(level))


def parsed(folder: Path, name: str, parse: Callable[[str], T]) -> T:
    """Parse the text of a file of a run.

    Raises:
        SegError: it is missing, or not what a run writes.
    """
    try:
        return parse((folder / name).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise SegError(f"{folder} has no {name}; {MISSING[name]}") from None
    except (ValueError, LookupError, TypeError, yaml.YAMLError) as error:
        raise SegError(
            f"{folder / name}: not what a run writes ({first_line(error)}); run it again "
            "or leave it out"
        ) from error


def _not_learned(scores: pd.DataFrame, runs: Sequence[Finished]) -> pd.DataFrame:
    patients = names(scores, "patient")
    for run in runs:
        if known := sorted(patients & run.learned):
            named = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            said = f"{len(known)} of {len(patients)} test patients ({named})"
            log.warning("%s has learned from %s, which are left out", run.label, said)
    left = patients.difference(*(run.learned for run in runs))
    if not left:
        learners = ", ".join(run.label for run in runs if patients & run.learned)
        raise SegError(
            f"each of the {len(patients)} common test patients is one that a run has learned from "
            f"({learners}); compare runs with the same split"
        )
    return scores[scores.index.get_level_values("patient").isin(left)]


def _read(label: str, folder: Path, score: str) -> Finished:
    dataset = parsed(folder, "config.yaml", lambda text: yaml.safe_load(text)["dataset"]["name"])
    cases = parsed(folder, "cases.csv", lambda text: _cases(text, score))
    own = parsed(folder, "summary.json", lambda text: _own(json.loads(text), score))
    splits = parsed(folder, "splits.json", _splits)
    mean = per_patient(cases[[score]])[score].mean()
    # Volume differences cancel: a mean near 0 depends on the order of the sum.
    if not np.isclose(mean, own["mean"], rtol=1e-9, atol=1e-12, equal_nan=True):
        raise SegError(
            f"{folder}: test/{score} is {own['mean']:g} in summary.json but {mean:g} by cases.csv, "
            "so one was changed or another version of seg wrote them; run it again or leave it out"
        )
    return Finished(label, folder, dataset, cases, own, splits)


def _cases(text: str, score: str) -> pd.DataFrame:
    index = ("case", "patient", "class")
    types = dict.fromkeys(index, str) | {"slices": int, "truth_px": int, score: float}
    # A patient may be called 007 or NA: only an empty cell of the score is undefined.
    undefined = {"keep_default_na": False, "na_values": {score: [""]}}
    rows = pd.read_csv(io.StringIO(text), dtype=types, float_precision="round_trip", **undefined)
    if "class" not in rows:
        index = index[:2]
    return rows.set_index([*index], verify_integrity=True)[["slices", "truth_px", score]]


def _own(summary: dict, score: str) -> dict[str, float]:
    ends = {"mean": "", "ci_low": "_ci_low", "ci_high": "_ci_high"}
    values = {name: summary[f"test/{score}{end}"] for name, end in ends.items()}
    return {name: float("nan") if value is None else value for name, value in values.items()}


def _splits(text: str) -> dict:
    splits = json.loads(text)
    return {key: splits[key] for key in ("train", "valid", "test", "leaks")}


def _refuse_other_targets(table: pd.DataFrame, column: str) -> None:
    differing = table[table.nunique(axis=1) > 1]
    if not differing.empty:
        said = ", ".join(f"{n} in {label}" for label, n in differing.iloc[0].items())
        raise SegError(
            f"case {' '.join(dict.fromkeys(differing.index[0]))}: {column} is {said}, so the "
            "targets differ; compare runs of one version and one size of the dataset"
        )
