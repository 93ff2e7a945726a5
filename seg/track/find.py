"""What a store knows: runs by name, their files, and where a browser shows them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from seg.contracts import SegError

LOCAL_UI = "http://127.0.0.1:5000"
CHARTS = "workflowType=machine_learning&compareRunsMode=CHART"


def default_uri(outputs: Path) -> str:
    """Return MLFLOW_TRACKING_URI, else a SQLite file in `outputs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{outputs.resolve() / 'mlflow.db'}"


def addresses(uri: str, opened: Mapping[str, str], of_sweep: bool = False) -> list[str]:
    """Return lines that say where a run, and the charts of all runs beside it, are seen.

    Args:
        uri: of the tracking server or store.
        opened: what the server said when the run was opened: run_id, experiment_id, parent_id.
        of_sweep: only the charts of its sweep.
    """
    served = uri.startswith("http")
    page = f"{uri.rstrip('/') if served else LOCAL_UI}/#/experiments/{opened['experiment_id']}/runs"
    after = "" if served else " (after make ui)"
    if of_sweep:
        children = quote(f"tags.mlflow.parentRunId = '{opened['parent_id']}'")
        return [f"all jobs{after}: {page}?{CHARTS}&searchFilter={children}"]
    return [f"this run{after}: {page}/{opened['run_id']}", f"all runs{after}: {page}?{CHARTS}"]


def fetch_model(name: str, uri: str, into: Path) -> Path:
    """Download a model and return its .keras file, its run's splits.json and config.yaml beside it.

    Args:
        name: a run's id, or of a registered model models:/NAME@ALIAS or models:/NAME/VERSION.
        uri: of the tracking server or store.
        into: folder, made where it does not exist.

    Raises:
        SegError: there is no such run or version, or it has no model.
    """
    client = mlflow.MlflowClient(uri)
    try:
        run = client.get_run(_run_of_version(client, name) if _registered(name) else name)
        logged = client.get_logged_model(run.outputs.model_outputs[0].model_id)
        model = next(_download(logged.artifact_location, uri, into).rglob("*.keras"))
        for beside in ("splits.json", "config.yaml"):
            fetch(run, beside, uri, model.parent)
    except (MlflowException, OSError, IndexError, StopIteration) as error:
        what = "model version" if _registered(name) else "MLflow run with a model"
        raise SegError(
            f"checkpoint: no .keras file, no run folder and no {what} at {uri} is called {name}"
        ) from error
    return model


def fetch_files(name: str, key: str, files: Sequence[str], uri: str, into: Path) -> None:
    """Download those of some files that a run has.

    Args:
        name: the run's id.
        key: of the command line, that a message names.
        files: artifacts, by their path.
        uri: of the tracking server or store.
        into: folder.

    Raises:
        SegError: there is no such run.
    """
    client = mlflow.MlflowClient(uri)
    try:
        run = client.get_run(name)
        has = {file.path for file in client.list_artifacts(name)}
        for path in has & {*files}:
            fetch(run, path, uri, into)
    except (MlflowException, OSError) as error:
        raise SegError(
            f"{key}: no run folder and no MLflow run at {uri} is called {name}"
        ) from error


def fetch(run: Run, path: str, uri: str, into: Path) -> Path:
    """Download a file or folder of a run.

    Raises:
        MlflowException: or OSError, where it has none, or the server does not answer.
    """
    return _download(f"{run.info.artifact_uri}/{path}", uri, into)


def _download(artifact: str, uri: str, into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    download = mlflow.artifacts.download_artifacts
    return Path(download(artifact, dst_path=str(into), tracking_uri=uri, registry_uri=uri))


def _registered(name: str) -> bool:
    return name.startswith("models:/")


def _run_of_version(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the run that made a registered version."""
    model, sign, which = re.fullmatch(r"models:/([^@/]+)([@/])(.+)", name).groups()
    if sign == "@":
        return client.get_model_version_by_alias(model, which).run_id
    return client.get_model_version(model, which).run_id
