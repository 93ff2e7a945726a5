"""What each event of a journal means to MLflow. To deliver one twice changes nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from pathlib import Path

import cv2
import mlflow
import numpy as np
import requests
from filelock import FileLock
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    ViewType,
)
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from seg.track import find, serving
from seg.track.journal import Event, Journal
from seg.track.sender import Unanswered

IDENTITY = "seg.id"
PARENT = "mlflow.parentRunId"
PROBE_TIMEOUT_S = 3
THUMBNAIL_PX = 256
MOST_LETTERS = 5000
BEST = "best"


class Store:
    """The MLflow run of a journal: its first event says where, the receipt of that which.

    Args:
        journal: whose files, named in its events, lie in its run folder.
        uri: of the server, where it is not that of the first event any more.
    """

    def __init__(self, journal: Journal, uri: str | None = None) -> None:
        """Ask no server yet."""
        self._journal, self._uri = journal, uri
        self._made: mlflow.MlflowClient | None = None

    @property
    def uri(self) -> str:
        """Return the address of the server or store."""
        return self._uri or self._journal.events[0]["uri"]

    @property
    def _client(self) -> mlflow.MlflowClient:
        if self._made is None:  # a file's tables are made here, which takes seconds
            self._made = find.client(self.uri)
        return self._made

    @property
    def _run_id(self) -> str:
        return self._journal.receipts[0]["run_id"]

    def answers(self) -> bool:
        """Ask for a sign of life."""
        try:
            if self.uri.startswith("http"):
                health = requests.get(f"{self.uri.rstrip('/')}/health", timeout=PROBE_TIMEOUT_S)
                return health.status_code < requests.codes.server_error
            self._client.search_experiments(max_results=1)
        except Exception:  # noqa: BLE001  a store may raise what its driver does
            return False
        return True

    def deliver(self, event: Event) -> Event:
        """Send an event; return what is to be remembered of the answer.

        Raises:
            Unanswered: the server is not there, or fails.
            Exception: it does not take this event: of MLflow, its store or the disk.
        """
        try:
            return getattr(self, f"_{event['kind']}")(event) or {}
        except (MlflowException, OSError) as error:
            if _of_server(error):
                raise Unanswered(str(error)) from error
            raise

    def _open(self, event: Event) -> Event:
        home = Path(event["outputs"])
        if not home.is_dir():  # the run's folder was brought here from another machine
            home = self._journal.run_folder.parent
        # Three processes that create an experiment, or a sweep, at once would make three.
        with FileLock(home / ".mlflow.lock", timeout=find.LOCK_TIMEOUT_S):
            experiment_id = self._experiment(event["experiment"], home)
            if event["sweep"]:
                parent_id = self._parent(experiment_id, event)
        tags = _cut(event["tags"])
        if event["sweep"] not in (None, event["id"]):
            tags[PARENT] = parent_id
        run = self._run(experiment_id, event["id"], event["name"], tags, event["time"])
        for name, value in tags.items() - run.data.tags.items():
            self._client.set_tag(run.info.run_id, name, value)
        if run.info.status != "RUNNING":  # a sweep goes on
            self._client.update_run(run.info.run_id, "RUNNING", event["name"])
        return {"run_id": run.info.run_id, "experiment_id": experiment_id}

    def _parent(self, experiment_id: str, event: Event) -> str:
        """Return the id of a sweep's run, whose first job may be here before it."""
        sweep = event["sweep"]
        if found := self._runs(experiment_id, sweep):
            return found[0].info.run_id
        begun = event["time"] - 1  # a sweep begins before its first job
        made = self._run(experiment_id, sweep, f"sweep {sweep}", {}, begun)
        # It is alive as soon as it says so itself, which it does in one experiment only.
        self._client.set_terminated(made.info.run_id)
        return made.info.run_id

    def _experiment(self, name: str, home: Path) -> str:
        """Return its id; it is created with its artifacts in `home` where the store is a file."""
        if found := self._client.get_experiment_by_name(name):
            return found.experiment_id
        in_a_file = self.uri.startswith(find.FILE)
        artifacts = (home.resolve() / "mlartifacts").as_uri() if in_a_file else None
        return self._client.create_experiment(name, artifact_location=artifacts)

    def _run(self, experiment_id: str, identity: str, name: str, tags: Event, time_ms: int) -> Run:
        """Find the run of an identity, or create it: an answer may have been lost on its way."""
        if found := self._runs(experiment_id, identity):
            return found[0]
        tags = tags | {IDENTITY: identity}
        return self._client.create_run(experiment_id, time_ms, tags=tags, run_name=name)

    def _runs(self, experiment_id: str, identity: str) -> list[Run]:
        wanted = f"tags.`{IDENTITY}` = '{identity}'"
        return self._client.search_runs([experiment_id], wanted, ViewType.ACTIVE_ONLY)

    def _apart(self, event: Event) -> None:
        """Take a run out of its sweep, which has run that job again."""
        if PARENT in self._client.get_run(self._run_id).data.tags:
            self._client.delete_tag(self._run_id, PARENT)

    def _params(self, event: Event) -> None:
        params = [Param(name, str(value)) for name, value in event["values"].items()]
        self._client.log_batch(self._run_id, params=params)

    def _metrics(self, event: Event) -> None:
        step, time_ms = event["step"], event["time"]
        values = event["values"].items()
        metrics = [Metric(name, value, time_ms, step) for name, value in values]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _tags(self, event: Event) -> None:
        for name, value in _cut(event["values"]).items():
            self._client.set_tag(self._run_id, name, value)

    def _dataset(self, event: Event) -> None:
        """Say what each side of the split holds; sides that are empty have no digest."""
        source = json.dumps({"uri": event["source"]})
        inputs = [
            DatasetInput(
                Dataset(
                    f"{event['name']} {side}",
                    about["digest"],
                    *("local", source),
                    profile=json.dumps({key: about[key] for key in about if key != "digest"}),
                ),
                [InputTag("mlflow.data.context", side)],
            )
            for side, about in event["sides"].items()
        ]
        self._client.log_inputs(self._run_id, inputs)

    def _image(self, event: Event) -> None:
        """Send a picture as `MlflowClient.log_image` names it, but the same way each time."""
        file = self._journal.run_folder / event["file"]
        key, step = event["key"].replace("/", "~"), event["step"]
        name = f"{key}+step+{step}+timestamp+{event['time']}"
        name += f"+{uuid.uuid5(uuid.NAMESPACE_OID, name)}"
        picture = cv2.imread(str(file))
        if picture is None:
            raise FileNotFoundError(f"{file} is not there, or no picture")
        scale = THUMBNAIL_PX / max(picture.shape[:2])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(file, Path(folder, f"{name}.png"))
            cv2.imencode(".webp", small)[1].tofile(Path(folder, f"{name}+compressed.webp"))
            self._client.log_artifacts(self._run_id, folder, "images")
        self._client.set_tag(self._run_id, "mlflow.loggedImages", True)

    def _artifact(self, event: Event) -> None:
        name = Path(event["file"])
        beside = None if name.parent == Path() else name.parent.as_posix()
        self._client.log_artifact(self._run_id, str(self._journal.run_folder / name), beside)

    def _table(self, event: Event) -> None:
        """Send a table as `MlflowClient.log_table` does, which would append to an earlier one."""
        self._artifact(event)
        tables = json.dumps([{"path": event["file"], "type": "table"}])
        self._client.set_tag(self._run_id, "mlflow.loggedArtifacts", tables)

    def _model(self, event: Event) -> None:
        """Send a .keras file as `mlflow.keras.log_model` would, without loading it."""
        client, experiment_id = self._client, self._journal.receipts[0]["experiment_id"]
        found = self._logged_model()
        known = found or client.create_logged_model(experiment_id, "model", self._run_id)
        file = self._journal.run_folder / event["file"]
        about = Model(known.artifact_location, self._run_id, model_id=known.model_id)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder, "model")
            home.mkdir()
            mlflow.keras.save_model(
                _File(file),
                str(home),
                mlflow_model=about,
                signature=ModelSignature(_schema(event["inputs"]), _schema(event["outputs"])),
                input_example=_ramp(event["inputs"]),
                pip_requirements=event["requirements"],
            )
            if serving.modules(file):  # any other is served where this package is not installed
                about.flavors["python_function"]["loader_module"] = serving.__name__
                about.save(str(home / "MLmodel"))
            client.log_model_artifacts(known.model_id, str(home))
        client.finalize_logged_model(known.model_id, "READY")
        if not client.get_run(self._run_id).outputs.model_outputs:
            client.log_outputs(self._run_id, [LoggedModelOutput(known.model_id, 0)])

    def _logged_model(self) -> mlflow.entities.LoggedModel | None:
        experiment_id = self._journal.receipts[0]["experiment_id"]
        found = self._client.search_logged_models(
            [experiment_id], f"source_run_id='{self._run_id}'"
        )
        return found[0] if found else None

    def _register(self, event: Event) -> None:
        client, name, logged = self._client, event["name"], self._logged_model()
        if logged is None or logged.status != LoggedModelStatus.READY:
            raise LookupError("its model has not arrived")
        if not client.search_registered_models(f"name='{name}'"):
            client.create_registered_model(name)
        tags = {key: str(event[key]) for key in ("score", "value", "data")}
        found = client.search_model_versions(f"name='{name}' and run_id='{self._run_id}'")
        version = (found or [None])[0] or client.create_model_version(
            name, logged.artifact_location, self._run_id, tags, model_id=logged.model_id
        )
        rival = self._best(name)
        if not rival or not _better(rival.tags, event):
            client.set_registered_model_alias(name, BEST, version.version)

    def _best(self, name: str) -> ModelVersion | None:
        model = self._client.get_registered_model(name)
        held = model.aliases.get(BEST)
        return self._client.get_model_version(name, held) if held else None

    def _close(self, event: Event) -> None:
        """Say how the run ended, and drop twins of it that a server made after it was given up."""
        for run in self._runs(self._journal.receipts[0]["experiment_id"], event["id"]):
            if run.info.run_id != self._run_id:
                self._client.delete_run(run.info.run_id)
        self._client.set_terminated(self._run_id, event["status"], event["time"])


def _cut(tags: Event) -> Event:
    """Cut values that a server would refuse for their length."""
    return {name: value[:MOST_LETTERS] for name, value in tags.items()}


class _File:
    """A saved model that MLflow saves again: its file is copied."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def save(self, path: str) -> None:
        shutil.copy(self.file, path)


def _of_server(error: MlflowException | OSError) -> bool:
    """Say whether the server is at fault, and not what it was asked."""
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
    elif isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
    else:
        return isinstance(error, requests.RequestException | ConnectionError | TimeoutError)
    return status >= requests.codes.server_error or status == requests.codes.too_many_requests


def _better(tags: Event, event: Event) -> bool:
    """Say whether a version with these tags has a higher value of the same score and data."""
    same = all(tags.get(key) == event[key] for key in ("score", "data"))
    return same and float(tags["value"]) > event["value"]


def _schema(shape: list[int | None]) -> Schema:
    """Leave the batch size open, and each side that the model leaves open."""
    sizes = tuple(-1 if size is None else size for size in shape)
    return Schema([TensorSpec(np.dtype("float32"), sizes)])


def _ramp(shape: list[int | None]) -> np.ndarray:
    """Return an image that a model takes, from black at the left to white at the right."""
    _, height, width, channels = (size or 32 for size in shape)
    row = np.linspace(0, 1, width, dtype=np.float32).round(2)
    return np.broadcast_to(row[:, None], (1, height, width, channels))
