"""A sweep: which jobs are to run, what each came to, and which is the best."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from seg import report, reproduce, resume, runfolder
from seg.contracts import SegError
from seg.figures import sweep as figures
from seg.jobs import record
from seg.jobs.record import Record
from seg.jobs.study import Study
from seg.rerun import key_of
from seg.track import find, run
from seg.track.journal import opened
from seg.track.run import MlflowRun, Target

STATUSES = {
    record.RUNNING: "KILLED",
    record.FINISHED: "FINISHED",
    record.PRUNED: "KILLED",
    record.FAILED: "FAILED",
}

Words = Sequence[str]
Launch = Callable[[list[Words]], object]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """A sweep under way.

    Attributes:
        folder: of the sweep.
        name: shared with no other.
        jobs: the words of each, by number, where they are known beforehand.
        launch: runs jobs, given as the words of their command lines, until all have ended.
        retry: run failed jobs again.
    """

    folder: Path
    name: str
    jobs: Sequence[Words]
    launch: Launch
    retry: bool

    def missing(self) -> dict[int, Words]:
        """Return the jobs that have not ended, by number."""
        return {
            number: words
            for number, words in enumerate(self.jobs)
            if not (known := self.known(number)).ended
            or (self.retry and known.state == record.FAILED)
        }

    def known(self, number: int) -> Record:
        """Return what is known of a job."""
        return record.read(self.folder, number) or Record(number, ())

    def run(self, jobs: Mapping[int, Words]) -> list[Record]:
        """Run jobs by number, and return what each came to."""
        for number in jobs:
            if self.retry and (known := self.known(number)).state == record.FAILED:
                run.settle(Path(known.folder), "FAILED", apart=True)
                record.forget(self.folder, number)
        try:
            if jobs:
                self.launch([[*words, f"sweep.job={number}"] for number, words in jobs.items()])
        except Exception as error:  # noqa: BLE001  of a cluster, where the other jobs go on
            log.error("sweep: %s: %s", type(error).__name__, error)
        return [self.known(number) for number in jobs]

    def search(self, study: Study, trials: int, batch: int) -> None:
        """Run the trials of a study that have not ended, and tell it what each came to.

        Args:
            study: where the trials and their values are kept.
            trials: how many in all.
            batch: how many are run together.
        """
        waiting = study.asked()
        while waiting or study.count() < trials:
            while len(waiting) < batch and study.count() < trials:
                waiting.append(study.ask())
            group, waiting = waiting[:batch], waiting[batch:]
            drawn = {one.number: study.words(one) for one in group}
            self.run({n: words for n, words in drawn.items() if not self.known(n).ended})
            for trial in group:
                ended = self.known(trial.number)
                if not ended.ended:
                    raise SegError(
                        f"trial {trial.number} has not ended; sweep.resume={self.folder} goes on"
                    )
                if ended.words and not {*drawn[trial.number]} <= {*ended.words}:
                    raise SegError(
                        f"hydra.sweeper.storage: the study there is not that of {self.folder}, "
                        f"whose trial {trial.number} had other values"
                    )
                study.tell(trial, ended)


@contextmanager
def begun(
    cfg: DictConfig, params: Mapping[str, str], jobs: Sequence[Words], launch: Launch
) -> Iterator[Sweep]:
    """Begin a sweep, or go on with it; on leaving, make its table and say which job is the best.

    Args:
        cfg: composed without what is swept; with the node hydra.
        params: what is swept, by key: the words that say over what.
        jobs: of the sweep where it begins; one that goes on has written down its own.
        launch: see `Sweep`.

    Raises:
        SegError: the folder holds another sweep; or jobs have not ended, or those of a grid failed.
    """
    folder, outputs = Path(cfg.hydra.sweep.dir).resolve(), Path(cfg.paths.outputs)
    uri = find.chosen(cfg.tracking.uri, outputs)
    places = {"paths.outputs": str(outputs.resolve()), "tracking.uri": uri}
    plan = resume.plan(folder, cfg.sweep.resume, places, params, jobs)
    target = Target(uri, cfg.tracking.experiment, outputs, plan["id"])
    with runfolder.logged(folder):
        command = report.command(plan["words"])
        tags = _provenance(folder, plan["words"]) | {"mlflow.source.name": command}
        _settle(folder, record.FINISHED, record.PRUNED, record.FAILED)
        name = f"sweep {folder.name}"
        with run.start(folder, target, name, tags, identity=plan["id"]) as tracker:
            tracker.params(plan["params"])
            try:
                yield Sweep(folder, plan["id"], plan["jobs"], launch, cfg.sweep.retry)
            except KeyboardInterrupt:
                log.info("sweep: python -m seg.run -m sweep.resume=%s goes on", folder)
                raise
            finally:
                _settle(folder, record.RUNNING, record.FAILED)
                table = _tabulate(folder, plan, cfg.objective)
                best = _tell(folder, plan, cfg.objective, table, tracker)
    if best is not None and cfg.tracking.register:
        value, data = best.objective, best.data
        run.register(Path(best.folder), cfg.tracking.register, cfg.objective, value, data)
    for line in run.where(folder, of_sweep=True):
        log.info("%s", line)
    _require_all(folder, plan, table)


def _provenance(folder: Path, words: Words) -> dict[str, str]:
    """Write where this code comes from; warn of earlier jobs that ran another."""
    commit, file = "mlflow.source.git.commit", folder / "provenance.json"
    before = json.loads(file.read_text())["tags"].get(commit) if file.exists() else None
    tags = reproduce.provenance(folder, words)
    if before not in (None, tags.get(commit)):
        log.warning("sweep: its earlier jobs ran commit %s, this is %s", before, tags.get(commit))
    return tags


def _settle(folder: Path, *states: str) -> None:
    """End the runs of processes that were killed before they could, of jobs in some states."""
    for known in record.records(folder):
        if known.folder and known.state in states and not record.alive(folder, known.job):
            run.settle(Path(known.folder), STATUSES[known.state])


def _tabulate(folder: Path, plan: Mapping, objective: str) -> pd.DataFrame:
    """Write results.csv: a row for each job that has begun, the best first, as `figures` has it."""
    rows = []
    for known in record.records(folder):
        chosen = {key_of(word): word.partition("=")[2] for word in known.words}
        sent = opened(Path(known.folder)) if known.folder else None
        history = Path(known.folder, "history.csv")
        rows.append(
            {
                "job": known.job,
                "state": known.state if known.ended else "interrupted",
                **{key: chosen.get(key) for key in plan["params"]},
                objective: known.objective,
                **{
                    f"{objective}_{end}": known.scores.get(f"{objective}_{end}", math.nan)
                    for end in ("ci_low", "ci_high")
                },
                "best_epoch": known.scores.get("best/epoch"),
                "epochs": max(0, len(_lines(history)) - 1),
                "said": known.said,
                "folder": known.folder,
                "run_id": sent[1]["run_id"] if sent else None,
            }
        )
    table = pd.DataFrame(rows)
    if rows:
        table = table.sort_values([objective, "job"], ascending=[False, True], ignore_index=True)
    table.to_csv(folder / "results.csv", index=False)
    return table


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []


def _tell(
    folder: Path, plan: Mapping, objective: str, table: pd.DataFrame, tracker: MlflowRun
) -> Record | None:
    """Draw the table, say and send how the jobs ended, and return the best."""
    counts = report.counts(table)
    judged = table[table["state"] == record.FINISHED].dropna(subset=objective) if len(table) else []
    best = judged.iloc[0] if len(judged) else None
    tags = {"jobs": counts, "objective": objective}
    if best is None:
        log.info("sweep: %s", counts)
    else:
        shown = (counts, objective, best[objective], best["folder"])
        log.info("sweep: %s; the best by %s, %.4f: %s", *shown)
        tags |= {"best.run_id": best["run_id"] or "", "best.folder": best["folder"]}
        tags |= {f"best.{objective}": f"{best[objective]:.6f}"}
        if plan["params"]:
            how = (table, [*plan["params"]], objective)
            figures.bars(*how, folder / "figures" / "bars.png")
            figures.parallel(*how, folder / "figures" / "parallel.png")
    text = report.of_sweep(plan["words"], table, [*plan["params"]], objective)
    (folder / "report.md").write_text(text)
    tracker.tags(tags | {run.NOTE: text})
    return None if best is None else record.read(folder, int(best["job"]))


def _require_all(folder: Path, plan: Mapping, table: pd.DataFrame) -> None:
    """Refuse to end well where a job of a grid has not."""
    states = table["state"].value_counts() if len(table) else {}
    open_ = max(len(plan["jobs"]), len(table)) - sum(
        states.get(state, 0) for state in (record.FINISHED, record.PRUNED, record.FAILED)
    )
    if open_:
        raise SegError(f"{open_} jobs have not ended; sweep.resume={folder} runs them")
    failed = states.get(record.FAILED, 0)
    if failed and (plan["jobs"] or failed == len(table)):
        again = "hydra.sweeper.trials=MORE tries others"
        if plan["jobs"]:
            again = "sweep.retry=true runs them again"
        raise SegError(
            f"{failed} of {len(table)} jobs failed, see {folder / 'results.csv'}; "
            f"sweep.resume={folder} {again}"
        )
