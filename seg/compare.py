"""Compare finished runs: `python -m seg.compare RUN RUN --score iou`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from seg import command, finished, runfolder, which
from seg.contracts import Scores, SegError
from seg.data.images import read_image, read_label
from seg.figures import comparison, pictures
from seg.finished import Finished
from seg.metrics import paired

log = logging.getLogger(__name__)

MOST_SLICES = 4
SURE = 0.05
PICTURES = ("predictions", "overlays")


@dataclass(frozen=True)
class Comparison:
    """What runs say together, about the test cases that all of them have scored.

    Attributes:
        score: its name.
        runs: a row per run: run, folder, patients and cases; mean, ci_low and ci_high as the run
            reported them; common_patients, and common_mean to common_ci_high over these.
        pairs: a row per pair of runs, `seg.metrics.paired.pairs`.
        cases: the score, a column per run; the index is case, patient and any class.
    """

    score: str
    runs: pd.DataFrame
    pairs: pd.DataFrame
    cases: pd.DataFrame

    def to_first(self) -> pd.DataFrame:
        """Return the pairs of the first run with each other, in order."""
        return self.pairs[self.pairs["a"] == self.cases.columns[0]]


def compare(runs: Sequence[tuple[str, Path]], score: str, out: Path) -> Comparison:
    """Compare runs on the test cases common to them; write tables and pictures.

    Args:
        runs: label and folder of each; the others are set against the first.
        score: a name of `Scores`.
        out: new or empty folder for runs.csv, pairs.csv, cases.csv, comparison.png and, where two
            runs have overlays, slices.png.

    Raises:
        SegError: what is given cannot be compared; nothing has been written then.
    """
    read = finished.read(runs, score)
    found = compared(read, score)
    write(found, read, out)
    return found


def compared(runs: Sequence[Finished], score: str) -> Comparison:
    """Compare what `seg.finished.read` returned, on common cases; warn of what is left out.

    Raises:
        SegError: no case is common, or all are of patients that a run has learned from, or the
            score is defined in none in all runs.
    """
    scores = finished.comparable(runs, score)
    values = paired.per_patient(scores)
    defined = ", ".join(f"{n} of {label}" for label, n in scores.count().items())
    if values.empty:
        raise SegError(
            f"--score {score}: defined in no case of all runs, but in {defined}, of {len(scores)} "
            "rows each; leave a run out or take another score"
        )
    if scores.count().sum() < scores.size:
        log.warning(
            "%s is defined in %s, of %d rows each; where it is not in both of two runs, the row is "
            "not compared",
            *(score, defined, len(scores)),
        )
    of_runs = pd.DataFrame(
        {
            "run": run.label,
            "folder": str(run.folder),
            "patients": len(finished.names(run.cases, "patient")),
            "cases": len(finished.cases(run.cases)),
            **run.own,
            "common_patients": len(values),
            "common_mean": values[run.label].mean(),
            "common_ci_low": low,
            "common_ci_high": high,
        }
        for run in runs
        for low, high in [paired.interval(values[run.label].to_numpy())]
    )
    pairs = paired.pairs(scores)
    # All patients higher in one of the runs, 2 of the 2^n equally likely ways of the signs.
    smallest = len(pairs) * 2.0 ** (1 - len(values))
    if smallest > SURE:
        log.warning(
            "patients: %d, pairs of runs: %d: too few for a test, no corrected p is below %.2g; "
            "compare fewer runs, or test more patients",
            *(len(values), len(pairs), min(smallest, 1)),
        )
    return Comparison(score, of_runs, pairs, scores)


def write(found: Comparison, runs: Sequence[Finished], out: Path) -> None:
    """Write the tables and pictures of `compare`.

    Raises:
        SegError: the folder is not empty: a file of another comparison could stay among them.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise SegError(f"--out {out}: not empty; name a new folder")
    found.runs.assign(score=found.score).to_csv(out / "runs.csv", index=False)
    found.pairs.assign(score=found.score).to_csv(out / "pairs.csv", index=False)
    found.cases.to_csv(out / "cases.csv")
    values = paired.per_patient(found.cases)
    means = found.runs[["common_mean", "common_ci_low", "common_ci_high"]]
    means = means.set_axis(["mean", "ci_low", "ci_high"], axis=1)
    comparison.scores(values, means, found.to_first(), found.score, out / "comparison.png")
    pictured = [run for run in runs if (run.folder / "overlays").is_dir()]
    rows = _slices(pictured, values, found.score) if len(pictured) > 1 else []
    if rows:
        picture = comparison.side_by_side([run.label for run in pictured], rows)
        pictures.write_png(out / "slices.png", picture)
    else:
        log.info("no slices.png: no two runs have pictures, which the stage infer writes")


def track(
    found: Comparison, runs: Sequence[Finished], out: Path, uri: str | None, outputs: Path
) -> None:
    """Send what `write` has written to MLflow, as a run beside the first of those compared."""
    from seg.track import find
    from seg.track.run import Target, start

    experiment = finished.parsed(
        runs[0].folder, "config.yaml", lambda text: yaml.safe_load(text)["tracking"]["experiment"]
    )
    target = Target(uri or find.default_uri(outputs), experiment, outputs)
    note = {"mlflow.note.content": f"```\n{_table(found)}\n```"}
    with start(out, target, f"comparison of {len(runs)} runs {out.name[-6:]}", note):
        pass


def main(argv: Sequence[str] | None = None) -> int:
    """Compare the runs of a command line, print table and folder, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m seg.compare", description=__doc__)
    what = "folder or MLflow id of a run or sweep, or a query; the first run is the reference"
    parser.add_argument("runs", nargs="*", metavar="RUN", help=what)
    parser.add_argument("--score", default="dice", help=", ".join(Scores.names()))
    parser.add_argument("--out", type=Path, help="new folder, else OUTPUTS/compare/TIME-ID")
    parser.add_argument("--uri", help="of the tracking server, else MLFLOW_TRACKING_URI or OUTPUTS")
    parser.add_argument("--experiment", help="where a query searches, else everywhere")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    outputs = Path(os.environ.get("SEG_OUTPUTS", "outputs"))

    def work() -> str:
        named = which.runs(given.runs, given.uri, given.experiment, outputs)
        runs = finished.read(named, given.score)
        found = compared(runs, given.score)
        out = given.out or runfolder.create(outputs / "compare")
        write(found, runs, out)
        track(found, runs, out, given.uri, outputs)
        return f"{_table(found, sys.stdout.isatty())}\n{out}"

    return command.ended(work)


def _slices(
    runs: Sequence[Finished], values: pd.DataFrame, score: str
) -> list[tuple[str, list[np.ndarray], list[str]]]:
    """Choose a slice of each of the patients whose scores are furthest apart, for a picture."""
    apart = (values.max(axis=1) - values.min(axis=1)).sort_values(ascending=False, kind="stable")
    slices = ((patient, _most_different(patient, runs)) for patient in apart.index)
    return [
        (
            f"slice {name}, scores of patient {patient}",
            [(read_image(_png(run, "overlays", name), 3) // 257).astype(np.uint8) for run in runs],
            [f"{score} {values.at[patient, run.label]:.3f}" for run in runs],
        )
        for patient, name in islice((found for found in slices if found[1]), MOST_SLICES)
    ]


def _most_different(patient: str, runs: Sequence[Finished]) -> str:
    """Find the patient's slice in which most pixels differ, of these the one with most predicted.

    Returns:
        Its id; empty where the runs have no slice of one size with pictures in common.
    """
    best, most = "", (-1, -1)
    for name in runs[0].splits["test"].get(patient, ()):
        if not all(_png(r, kind, name).is_file() for r in runs for kind in PICTURES):
            continue
        masks = [read_label(_png(run, "predictions", name)) for run in runs]
        if len({mask.shape for mask in masks}) == 1:
            differing = np.any([mask != masks[0] for mask in masks], axis=0)
            found = np.count_nonzero(differing), np.count_nonzero(masks)
            best, most = (name, found) if found > most else (best, most)
    return best


def _png(run: Finished, kind: str, name: str) -> Path:
    return run.folder / kind / f"{name}.png"


def _table(found: Comparison, terminal: bool = False) -> str:
    """Lay out a row per run: its mean, that of the common patients, its difference to the first."""
    n, first = found.runs["common_patients"].iloc[0], found.cases.columns[0]
    table = Table(box=None, title=f"{found.score}: mean [95% interval]", title_justify="left")
    for column in ("run", "all its patients", f"{n} common", f"minus {first}", "Holm's p"):
        table.add_column(column)
    for run, pair in zip(
        found.runs.itertuples(), [None, *found.to_first().itertuples()], strict=True
    ):
        table.add_row(
            run.run,
            _cell(run.mean, run.ci_low, run.ci_high),
            _cell(run.common_mean, run.common_ci_low, run.common_ci_high),
            _cell(pair.mean_difference, pair.ci_low, pair.ci_high, "+") if pair else "",
            f"{pair.p_holm:.3g}" if pair else "",
        )
    # A file or a pipe is as wide as it has to be.
    console = Console(width=None if terminal else 200, markup=False, highlight=False)
    with console.capture() as shown:
        console.print(table)
    return shown.get().rstrip("\n")


def _cell(mean: float, low: float, high: float, sign: str = "") -> str:
    ends = "" if np.isnan(low) else f" [{low:{sign}.4f}, {high:{sign}.4f}]"
    return f"{mean:{sign}.4f}{ends}"


if __name__ == "__main__":
    sys.exit(main())
