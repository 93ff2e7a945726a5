"""A run that is told things: each is written to its journal, and sent from there."""

from __future__ import annotations

import logging
import math
import re
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seg.contracts import Pruned, SegError, first_line
from seg.track import find
from seg.track.journal import FOLDER, Event, Journal, opened
from seg.track.sender import Sender
from seg.track.store import Store

if TYPE_CHECKING:
    import keras

NOTE = "mlflow.note.content"
NOT_SENT = ("model.keras", "epoch_change", "checkpoint", FOLDER, "state", ".submitit")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """Where a run is tracked.

    Attributes:
        uri: of the tracking server or store.
        experiment: name, created where it does not exist.
        outputs: holds the artifacts of a store that has none of its own, and the lock of its
            creation.
        sweep: identity of the multirun that a job belongs to; its jobs become children of one run.
    """

    uri: str
    experiment: str
    outputs: Path
    sweep: str | None = None


class MlflowRun:
    """What training reports to; no call waits for the server, and none raises."""

    def __init__(
        self,
        folder: Path,
        target: Target,
        name: str,
        tags: Mapping[str, str],
        identity: str | None = None,
    ) -> None:
        """Begin the journal, or go on with it, and the sending."""
        self.folder, self.journal = folder, Journal(folder)
        self._id = identity or uuid.uuid4().hex
        self._sender: Sender | None = None
        opening = {"uri": target.uri, "experiment": target.experiment, "sweep": target.sweep}
        opening |= {"outputs": str(target.outputs.resolve()), "name": name}
        opening["tags"] = {**tags, find.FOLDER_TAG: str(folder.resolve())}
        self._begun = True
        self._begun = self._tell("open", id=self._id, **opening)
        if self._begun:
            store = Store(self.journal)
            self._sender = Sender(self.journal, store.deliver, store.answers)
            self._sender.start()

    def params(self, values: Mapping[str, Any]) -> None:
        """Set the parameters, once."""
        self._tell("params", values={name: str(value) for name, value in values.items()})

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Send scalars by name."""
        numbers = {name: float(value) for name, value in values.items()}
        self._tell("metrics", values=numbers, step=step or 0)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self._tell("tags", values=dict(values))

    def image(self, file: Path, key: str, step: int) -> None:
        """Send a picture of the run's folder; the same key at several steps makes a slider."""
        key = re.sub(r"[^\w./ -]", "_", key, flags=re.ASCII)
        self._tell("image", file=self._inside(file), key=key, step=step)

    def dataset(self, name: str, source: str, sides: Mapping[str, Mapping]) -> None:
        """Say what was learned from: of each side its digest (36 letters at most) and its sizes."""
        self._tell("dataset", name=name, source=source, sides=dict(sides))

    def table(self, file: Path) -> None:
        """Send a JSON table of the run's folder, as pandas writes it with orient="split"."""
        self._tell("table", file=self._inside(file))

    def model(self, model: keras.Model, file: Path, requirements: list[str]) -> None:
        """Send a saved model with a signature that leaves the batch size open."""
        shapes = {"inputs": model.input_shape, "outputs": model.output_shape}
        self._tell("model", file=self._inside(file), requirements=requirements, **shapes)

    def register(self, name: str, score: str, value: float, data: str) -> None:
        """Make the model that was sent a version of the registered model `name`.

        It gets the alias "best", unless the version that has it has a higher value of the same
        score on the same data.

        Args:
            name: of the registered model.
            score: by which it is judged.
            value: of that score; the higher the better.
            data: digest of what it was computed on.
        """
        if math.isnan(value):
            log.warning("tracking.register: %s is undefined, so nothing is registered", score)
        else:
            self._tell("register", name=name, score=score, value=value, data=data)

    def close(self, status: str) -> None:
        """Send the folder's files and how the run ended: FINISHED, FAILED or KILLED."""
        for event in _ending(self.folder, self._id, status):
            self._tell(**event)
        if self._sender:
            self._sender.close()
        self.journal.close()

    def _inside(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix()

    def _tell(self, kind: str, **values: Any) -> bool:  # noqa: ANN401  what JSON can say
        if not self._begun:
            return False
        event: Event = {"kind": kind, "time": now_ms(), **values}
        try:
            line = self.journal.append(event)
        except OSError as error:
            log.warning("tracking: %s is lost, its journal cannot be written (%s)", kind, error)
            return False
        if self._sender:
            self._sender.add(line)
        return True


class Unheard(MlflowRun):
    """A run of which nothing is kept."""

    def __init__(self, folder: Path) -> None:
        """Begin nothing."""
        self.folder, self._begun = folder, False


@contextmanager
def start(
    folder: Path,
    target: Target,
    name: str,
    tags: Mapping[str, str],
    system_metrics: bool = False,
    identity: str | None = None,
) -> Iterator[MlflowRun]:
    """Open a run for `folder`; on leaving, send the folder, say how it ended and where it is seen.

    Args:
        folder: of the run, whose files are sent.
        target: where.
        name: shown in the table of runs.
        tags: the provenance.
        system_metrics: tell how busy the machine is.
        identity: by which the jobs of a sweep find its run.
    """
    run = MlflowRun(folder, target, name, tags, identity)
    status = "FAILED"
    try:
        with _watched(run) if system_metrics else nullcontext():
            yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    except Pruned as pruned:
        status = "KILLED"
        run.tags({"pruned": str(pruned)})
        raise
    except BaseException as error:
        (folder / "traceback.txt").write_text(traceback.format_exc())
        run.tags({"error": first_line(error)})
        raise
    finally:
        try:
            run.close(status)
        finally:
            _say_how_it_went(run.journal, target.sweep is None)


def _say_how_it_went(journal: Journal, alone: bool) -> None:
    for line in where(journal.run_folder) if alone else ():
        log.info("%s", line)
    if pending := journal.pending():
        log.warning(
            "tracking: %d of %d things are not sent; python -m seg.sync %s sends them",
            *(len(pending), len(journal.events), journal.run_folder),
        )


@contextmanager
def _watched(run: MlflowRun) -> Iterator[None]:
    from seg.track.system import Sampler

    sampler = Sampler(run.metrics)
    sampler.start()
    try:
        yield
    finally:
        sampler.close()


def register(folder: Path, name: str, score: str, value: float, data: str) -> None:
    """Register the model of a run that is over, see `MlflowRun.register`; seg.sync tries again."""
    event = {"kind": "register", "name": name, "score": score, "value": value, "data": data}
    _, left = resend(folder, more=[event])
    if left:
        log.warning("tracking.register: not yet; python -m seg.sync %s does it", folder)
    else:
        log.info("tracking.register: models:/%s is %s", name, folder)


def settle(folder: Path, status: str, apart: bool = False) -> None:
    """End the run of a job whose process was killed before it could.

    Args:
        folder: of the run; may be none, where the process did not come so far.
        status: how it ends.
        apart: take it out of its sweep.
    """
    if not (folder / FOLDER).is_dir():
        return
    try:
        resend(folder, more=[{"kind": "apart"}] if apart else [], status=status)
    except (SegError, OSError) as error:
        log.warning("tracking: the run of %s stays as it is (%s)", folder, error)


def resend(
    folder: Path, uri: str | None = None, more: Sequence[Event] = (), status: str = "KILLED"
) -> tuple[int, int]:
    """Send what is pending of a run that is over, to the run that it belongs to.

    Args:
        folder: of the run.
        uri: of the server, where it has another address now.
        more: events to add.
        status: how it ends where it has no end yet, since its process was killed.

    Returns:
        How many things were sent, and how many are left.

    Raises:
        SegError: another process has it open, or the journal has no beginning.
        FileNotFoundError: the store that the run is in is not there.
    """
    journal = Journal(folder)
    try:
        if [event["kind"] for event in journal.events[:1]] != ["open"]:
            raise SegError(f"{folder}: its journal has no beginning, so nothing can be sent")
        kinds = [event["kind"] for event in journal.events]
        last_open = max(line for line, kind in enumerate(kinds) if kind == "open")
        if "close" not in kinds[last_open:]:
            for event in _ending(folder, journal.events[0]["id"], status):
                journal.append({"time": journal.events[-1]["time"], **event})
        for event in more:
            journal.append({"time": now_ms(), **event})
        pending = len(journal.pending())
        store = Store(journal, uri)
        if journal.receipts:
            find.require_store(store.uri)
        sender = Sender(journal, store.deliver, store.answers)
        sender.start()
        sender.close(patience_s=None)
        return pending - len(journal.pending()), len(journal.pending())
    finally:
        journal.close()


def now_ms() -> int:
    """Return the time as MLflow counts it: milliseconds since 1970."""
    return int(time.time() * 1000)


def _ending(folder: Path, identity: str, status: str) -> list[Event]:
    """Return what ends a run: its files, and how it ended."""
    kept = [path for path in folder.iterdir() if path.name not in NOT_SENT]
    files = [file for path in kept for file in (path.rglob("*") if path.is_dir() else [path])]
    names = sorted(file.relative_to(folder).as_posix() for file in files if file.is_file())
    ends = {"kind": "close", "id": identity, "status": status}
    return [*({"kind": "artifact", "file": name} for name in names), ends]


def where(folder: Path, of_sweep: bool = False) -> list[str]:
    """Return lines that say where a run is seen in a browser, none where no server knows it yet.

    Args:
        folder: of the run.
        of_sweep: the charts of its jobs instead.
    """
    known = opened(folder)
    return find.addresses(known[0]["uri"], known[1], of_sweep) if known else []
