"""The only room that knows MLflow. Files come first; what is sent is a copy of them."""

from __future__ import annotations

import logging
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# MLflow's own defaults hang 248 s in each call to a dead server; read at its import.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import keras
import mlflow
import numpy as np
from filelock import FileLock
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from seg.contracts import SegError

NOT_SENT = ("model.keras", "epoch_change", "checkpoint")

log = logging.getLogger(__name__)


class MlflowRun:
    """A run that is told things; the first failure to send ends the sending, not the run."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        home: Path,
        sweep: Path | None,
    ) -> None:
        """Create the run, and its store, experiment and parent run where they are missing."""
        self.run_id: str | None = None
        self.sending = True
        self._guarded(lambda: self._open(uri, experiment, name, tags, home, sweep))

    def _open(
        self,
        uri: str,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        home: Path,
        sweep: Path | None,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        # A store that three processes create at once breaks two of them.
        with FileLock(home / ".mlflow.lock"):
            self.client = mlflow.MlflowClient(uri)
            experiment_id = _experiment(self.client, experiment, home)
            parent = _parent(self.client, experiment_id, sweep) if sweep else {}
        run = self.client.create_run(experiment_id, run_name=name, tags={**tags, **parent})
        self.run_id = run.info.run_id

    def params(self, values: Mapping[str, Any]) -> None:
        """Set the parameters, once."""
        params = [Param(name, str(value)) for name, value in values.items()]
        self._send(lambda: self.client.log_batch(self.run_id, params=params))

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Send scalars by name."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step or 0) for name, value in values.items()]
        self._send(lambda: self.client.log_batch(self.run_id, metrics=metrics))

    def image(self, pixels_HWC: np.ndarray, key: str, step: int) -> None:
        """Send a uint8 RGB picture; the same key at several steps makes a slider."""
        key = re.sub(r"[^\w./ -]", "_", key, flags=re.ASCII)
        self._send(lambda: self.client.log_image(self.run_id, pixels_HWC, key=key, step=step))

    def tag(self, name: str, value: str) -> None:
        """Set a tag."""
        self._send(lambda: self.client.set_tag(self.run_id, name, value))

    def folder(self, folder: Path) -> None:
        """Send the files of a run's folder, but the model and the pictures sent before."""
        for path in sorted(folder.iterdir()):
            if path.name not in NOT_SENT:
                self._send(lambda path=path: self._artifact(path))

    def _artifact(self, path: Path) -> None:
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), path.name)
        else:
            self.client.log_artifact(self.run_id, str(path))

    def model(self, model: keras.Model, requirements: list[str]) -> None:
        """Send a model with a signature that leaves the batch size open."""

        def schema(shape: tuple) -> Schema:
            sizes = tuple(-1 if size is None else size for size in shape)
            return Schema([TensorSpec(np.dtype("float32"), sizes)])

        signature = ModelSignature(schema(model.input_shape), schema(model.output_shape))

        def send() -> None:
            with _only_store(self.client.tracking_uri), mlflow.start_run(run_id=self.run_id):
                mlflow.keras.log_model(
                    model, name="model", signature=signature, pip_requirements=requirements
                )
            self.client.update_run(self.run_id, status="RUNNING")  # leaving the block ended it

        self._send(send)

    def close(self, status: str) -> None:
        """Say how the run ended: FINISHED, FAILED or KILLED."""
        if self.run_id is not None:  # tried even after a failure, or the run would seem to go on
            self._guarded(lambda: self.client.set_terminated(self.run_id, status))

    def _send(self, call: Callable[[], object]) -> None:
        if self.run_id is not None and self.sending:
            self._guarded(call)

    def _guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except (MlflowException, OSError) as error:
            if self.sending:
                log.warning(
                    "tracking stopped; the run goes on and its folder holds everything: %s",
                    str(error).partition("\n")[0],
                )
            self.sending = False


def default_uri(outputs: Path) -> str:
    """Return MLFLOW_TRACKING_URI, else a SQLite file in `outputs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{outputs.resolve() / 'mlflow.db'}"


@contextmanager
def start(
    folder: Path,
    uri: str,
    experiment: str,
    name: str,
    tags: Mapping[str, str],
    outputs: Path,
    sweep: Path | None = None,
) -> Iterator[MlflowRun]:
    """Open a run for `folder`; on leaving, send the folder and say how it ended.

    Args:
        folder: of the run, whose files are sent.
        uri: of the tracking server or store.
        experiment: name, created where it does not exist.
        name: shown in the table of runs.
        tags: the provenance.
        outputs: holds the artifacts of a store that has none of its own, and the lock of its
            creation.
        sweep: folder of the multirun that this job belongs to; its jobs become children of one run.
    """
    run = MlflowRun(uri, experiment, name, tags, outputs, sweep)
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        if status == "FAILED":
            (folder / "traceback.txt").write_text(traceback.format_exc())
        run.folder(folder)
        run.close(status)


def fetch_model(run_id: str, uri: str, into: Path) -> Path:
    """Download the model of a run and return its .keras file, splits.json beside it.

    Raises:
        SegError: there is no such run, or it has no model.
    """
    download = mlflow.artifacts.download_artifacts
    try:
        with _only_store(uri):
            got = Path(download(f"runs:/{run_id}/model", dst_path=str(into)))
            splits = Path(download(f"runs:/{run_id}/splits.json", dst_path=str(into)))
    except (MlflowException, OSError) as error:
        raise SegError(
            f"checkpoint: no .keras file, no run folder and no MLflow run with a model at {uri} "
            f"is called {run_id}"
        ) from error
    model = next(got.rglob("*.keras"))
    splits.rename(model.parent / splits.name)
    return model


@contextmanager
def _only_store(uri: str) -> Iterator[None]:
    """Set MLflow's global store, which models go by, and the variable that it keeps it in."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _experiment(client: mlflow.MlflowClient, name: str, home: Path) -> str:
    """Return the experiment's id, created with its artifacts in `home` if the store is a file."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    in_a_file = str(client.tracking_uri).startswith("sqlite")
    artifacts = (home.resolve() / "mlartifacts").as_uri() if in_a_file else None
    return client.create_experiment(name, artifact_location=artifacts)


def _parent(client: mlflow.MlflowClient, experiment_id: str, sweep: Path) -> dict[str, str]:
    """Return the tag that makes a run a child of the sweep's, created by the first job to come."""
    known = sweep / "mlflow_parent_run"
    if not known.exists():
        parent = client.create_run(experiment_id, run_name=f"sweep {sweep.name}")
        client.set_terminated(parent.info.run_id)
        known.write_text(parent.info.run_id)
    return {"mlflow.parentRunId": known.read_text()}
