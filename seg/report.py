"""A run in words: Markdown for its description in MLflow and for report.md."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence

import pandas as pd

from seg import tables
from seg.contracts import Scores

MOST_JOBS, LETTERS = 30, 10
SIDES = {"test": "Test", "val": "Validation"}


def command(overrides: Sequence[str]) -> str:
    """Return what repeats a run, as it is typed in a shell."""
    return " ".join(["python -m seg.run", *map(shlex.quote, overrides)])


def counts(table: pd.DataFrame) -> str:
    """Count the jobs of a sweep by how they ended: "10 finished, 2 failed"."""
    states = table["state"].value_counts() if len(table) else {}
    return ", ".join(f"{n} {state}" for state, n in states.items()) or "no job has begun"


def of_sweep(
    words: Sequence[str], table: pd.DataFrame, params: Sequence[str], objective: str
) -> str:
    """Write of a sweep how its jobs ended, which is the best, its command and its table's begin.

    Args:
        words: of the command line.
        table: a row per job, the best first, with the columns job, state, said, those of the
            parameters and of the objective and its interval.
        params: that were swept.
        objective: by which the jobs are judged.
    """
    parts = [f"Jobs: {counts(table)}.", f"```\n{command(words)}\n```"]
    if len(table) and not math.isnan(table[objective][0]):
        chosen = " ".join(f"{name}={_short(table[name][0])}" for name in params)
        parts[0] += f" The best by {objective}: job {table['job'][0]}, {chosen}, "
        parts[0] += f"**{_mean_and_interval(table.iloc[0], objective)}**."
    if len(table):
        head = ["job", *params, f"{objective} (95% interval)"]
        rows = [_job(row, params, objective) for row in table[:MOST_JOBS].to_dict("records")]
        lines = [head, ["---"] * len(head), *rows]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if len(table) > MOST_JOBS:
        parts.append(f"The first {MOST_JOBS} of {len(table)}, see results.csv.")
    return "\n\n".join(parts) + "\n"


def _job(row: Mapping, params: Sequence[str], objective: str) -> list[str]:
    """Return the cells of a job: number, parameters, and its score or why it has none."""
    scored = not math.isnan(row[objective])
    said = "" if pd.isna(row["said"]) else f": {row['said']}"
    last = _mean_and_interval(row, objective) if scored else f"{row['state']}{said}"
    cells = [str(row["job"]), *(_short(row[name]) for name in params), last]
    return [cell.replace("|", "/") for cell in cells]


def _short(value: object) -> str:
    """Round a drawn number, of which all digits are in results.csv."""
    text = str(value)
    try:
        return f"{float(text):.4g}" if len(text) > LETTERS else text
    except ValueError:
        return text


def report(
    overrides: Sequence[str],
    results: Mapping[str, float],
    data: Mapping[str, Mapping],
    tags: Mapping[str, str],
    leaks: Sequence[str] = (),
    strata: pd.DataFrame | None = None,
) -> str:
    """Write what a reader asks first: which command, how good, on what data, by which code.

    Args:
        overrides: of the command line.
        results: as in summary.json; the tables are made of what is there.
        data: by side of the split, as `seg.data.digest.contents` counts them.
        tags: as `seg.reproduce.provenance` returns them.
        leaks: patients on more than one side.
        strata: as `seg.evaluate.strata` returns them; empty or None: there is no table of them.
    """
    parts = []
    if leaks:
        parts.append(f"**Data leakage**: patients on two sides of the split: {len(leaks)}.")
    parts += [
        f"{SIDES[side]} Dice **{_mean_and_interval(results, f'{side}/dice')}**"
        for side in SIDES
        if f"{side}/dice" in results
    ]
    parts.append(f"```\n{command(overrides)}\n```")
    parts += [_scores(results, side) for side in SIDES if f"{side}/dice" in results]
    if strata is not None and len(strata):
        parts.append(_strata(strata))
    if "best/epoch" in results:
        parts.append(
            f"Best epoch {results['best/epoch']:.0f}, training loss "
            f"{results['best/train_loss']:.4f}, validation loss {results['best/val_loss']:.4f}."
        )
    if data:
        parts.append(_sizes(data))
    commit = tags.get("mlflow.source.git.commit")
    changed = " with changes, see changes.diff" if tags.get("git.dirty") == "true" else ""
    code = f"commit {commit[:12]}{changed}" if commit else f"version {tags.get('version.seg')}"
    parts.append(f"Code: {code}.")
    return "\n\n".join(parts) + "\n"


def _scores(results: Mapping[str, float], side: str) -> str:
    """Tabulate the mean over patients of each score that some case defines, with its interval."""
    defined = [name for name in Scores.names() if not math.isnan(results[f"{side}/{name}"])]
    names = [*defined, *_classes(results, side)]
    values = {name: _mean_and_interval(results, f"{side}/{name}") for name in names}
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    counts = {
        name: int(results[f"{side}/{name}"])
        for name in ("patients", "cases", "cases_without_target", "false_alarms")
    }
    return "\n".join(
        [
            f"**{SIDES[side]}** of {counts['patients']} patients:",
            "",
            "| score | mean (95% interval) |",
            "|---|---|",
            *rows,
            "",
            f"Cases: {counts['cases']}, without target {counts['cases_without_target']}, "
            f"of which with a false alarm {counts['false_alarms']}.",
        ]
    )


def _strata(strata: pd.DataFrame) -> str:
    """Tabulate Dice by size of the target, with its interval."""
    named = "class" in strata
    head = [*(["class"] if named else []), "target", "patients", "mean (95% interval)"]
    rows = [
        [
            *([row["class"]] if named else []),
            f"{row['stratum']}, {row['smallest']:.4g} to {row['largest']:.4g} {row['unit']}",
            str(row["patients"]),
            _with_interval(row["mean"], row["ci_low"], row["ci_high"]),
        ]
        for row in strata[strata["score"] == "dice"].to_dict("records")
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(["**Dice by size of the target**:", "", *lines])


def _classes(results: Mapping[str, float], side: str) -> list[str]:
    """Return "dice_NAME" for each class that has a name."""
    start = f"{side}/dice_"
    ends = [key.removesuffix("_ci_low") for key in results if key.endswith("_ci_low")]
    return [key.removeprefix(f"{side}/") for key in ends if key.startswith(start)]


def _sizes(data: Mapping[str, Mapping]) -> str:
    rows = [
        f"| {side} | {of['patients']} | {of['slices']} | {of['slices_with_target']} "
        f"| {of['digest'][:12]} |"
        for side, of in data.items()
    ]
    head = ["| data | patients | slices | with target | digest |", "|---|--:|--:|--:|---|"]
    return "\n".join([*head, *rows])


def _mean_and_interval(results: Mapping[str, float], key: str) -> str:
    mean, low, high = (results[f"{key}{end}"] for end in ("", "_ci_low", "_ci_high"))
    return _with_interval(mean, low, high, key)


def _with_interval(mean: float, low: float, high: float, name: str = "") -> str:
    known = [None if math.isnan(value) else value for value in (mean, low, high)]
    told = tables.number(known[0], name)
    return told if known[0] is None else f"{told} ({tables.interval(*known, name)})"
