"""What a store knows: runs by name, their files, and where a browser shows them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import mlflow
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from seg.contracts import SegError
from seg.track.journal import opened
from seg.track.sender import reason

FILE = "sqlite:///"
TESTED = "test/dice"
FOLDER_TAG = "seg.folder"
LOCK_TIMEOUT_S = 60  # three runs that begin together have waited for 10 on a busy machine
LOCAL_UI = "http://127.0.0.1:5000"
# MLflow opens an experiment in its view for language models, without charts; and sorted by time it
# hides the jobs of a sweep, and their curves, under their parent.
WORKFLOW = "workflowType=machine_learning"
CHARTS = f"{WORKFLOW}&compareRunsMode=CHART&orderByKey=metrics.%60val%2Fdice%60&orderByAsc=false"


def default_uri(outputs: Path) -> str:
    """Return MLFLOW_TRACKING_URI, else a SQLite file in `outputs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{FILE}{outputs.resolve() / 'mlflow.db'}"


def absolute(uri: str) -> str:
    """Return a URI that means the same file in every working folder."""
    return f"{FILE}{Path(uri.removeprefix(FILE)).resolve()}" if uri.startswith(FILE) else uri


def chosen(uri: str | None, outputs: Path) -> str:
    """Return the address of the store that a config names, or of the default one."""
    return absolute(uri or default_uri(outputs))


def client(uri: str) -> mlflow.MlflowClient:
    """Return a client of a server or store; the tables of a new file are made by one process."""
    if not uri.startswith(FILE):
        return mlflow.MlflowClient(uri)
    file = Path(uri.removeprefix(FILE))
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S):
        return mlflow.MlflowClient(uri)


def require_store(uri: str) -> None:
    """Refuse a file that is not there, which MLflow would make.

    Raises:
        FileNotFoundError: as it says.
    """
    if uri.startswith(FILE) and not Path(uri.removeprefix(FILE)).exists():
        raise FileNotFoundError(f"{uri} is not there; tracking.uri or --uri says where a store is")


def _reader(uri: str) -> mlflow.MlflowClient:
    require_store(uri)
    return client(uri)


def addresses(uri: str, ids: Mapping[str, str], of_sweep: bool = False) -> list[str]:
    """Return lines that say where a run, and the charts of all runs beside it, are seen.

    Args:
        uri: of the tracking server or store.
        ids: what the server said when the run was opened: run_id, experiment_id.
        of_sweep: the charts of its jobs instead.
    """
    served = uri.startswith("http")
    page = f"{uri.rstrip('/') if served else LOCAL_UI}/#/experiments/{ids['experiment_id']}/runs"
    after = "" if served else " (after make ui)"
    if of_sweep:
        children = quote(f"tags.mlflow.parentRunId = '{ids['run_id']}'")
        return [f"all jobs{after}: {page}?{CHARTS}&searchFilter={children}"]
    itself = f"{page}/{ids['run_id']}?{WORKFLOW}"
    return [f"this run{after}: {itself}", f"all runs{after}: {page}?{CHARTS}"]


def runs(word: str, uri: str, experiment: str | None = None) -> list[Run]:
    """Return the finished and tested runs that a word means, the first to start first.

    Args:
        word: a run's id; a sweep's, for its jobs; or a query in MLflow's words, which has a space
            or a sign of comparison: params.loss = 'dice' and metrics.`val/dice` > 0.8
        uri: of the tracking server or store.
        experiment: name of the one that a query searches; None for all.

    Raises:
        SegError: there are none, or the query is not understood.
    """
    try:
        client = _reader(uri)
        if not re.search(r"[\s<>=]", word):
            run = client.get_run(word)
            of_sweep = f"tags.`mlflow.parentRunId` = '{word}'"
            jobs = _search(client, [run.info.experiment_id], of_sweep)
            return jobs or [run]
        if not experiment:
            searched = client.search_experiments()
        elif not (searched := [client.get_experiment_by_name(experiment)])[0]:
            raise SegError(f"--experiment {experiment}: no experiment at {uri} has this name")
        found = _search(client, [each.experiment_id for each in searched], word)
    except (MlflowException, OSError) as error:
        raise SegError(
            f"{word}: no folder, and no run or query of runs to {uri} ({reason(error)})"
        ) from error
    tested = [run for run in found if TESTED in run.data.metrics]
    if not tested:
        raise SegError(f"{word}: no finished run at {uri} that was tested fits")
    return tested


def _search(client: mlflow.MlflowClient, experiments: list[str], query: str) -> list[Run]:
    wanted = f"{query} and attributes.status = 'FINISHED'"
    return client.search_runs(experiments, wanted, order_by=["attributes.start_time"])


def folder(run: Run, uri: str, files: Sequence[str], downloads: Path) -> Path:
    """Return a folder that has files of a run: its own where it lies here, else DOWNLOADS/RUN_ID.

    Args:
        run: finished.
        uri: of the tracking server or store.
        files: which it must have, and folders, which it need not.
        downloads: is made.

    Raises:
        SegError: the server stopped answering, or the run has not all files.
    """
    own, id_ = Path(run.data.tags.get(FOLDER_TAG, "")), run.info.run_id
    known = opened(own)
    if known and known[1]["run_id"] == id_:
        return own
    done = downloads / id_
    if not done.exists():
        aside = downloads / f"{id_}.part"
        shutil.rmtree(aside, ignore_errors=True)
        fetch_files(id_, "run", files, uri, aside)
        if lacks := [name for name in files if "." in name and not (aside / name).exists()]:
            raise SegError(f"run {id_}: has no {lacks[0]} at {uri}; leave it out, or run it again")
        aside.rename(done)
    return done


def folder_of(name: str, uri: str) -> Path | None:
    """Return the folder that a run says it has, None where there is no such run."""
    try:
        tags = _reader(uri).get_run(name).data.tags
    except (MlflowException, OSError):
        return None
    return Path(tags[FOLDER_TAG]) if FOLDER_TAG in tags else None


def fetch_model(name: str, uri: str, into: Path) -> Path:
    """Download a model; return its .keras file, its run's splits.json and config.yaml beside it.

    Args:
        name: a run's id, or of a registered model models:/NAME@ALIAS or models:/NAME/VERSION.
        uri: of the tracking server or store.
        into: folder, made where it does not exist.

    Raises:
        SegError: there is no such run or version, or it has no model.
    """
    try:
        client = _reader(uri)
        named = pinned(name, uri)
        run = client.get_run(_run_of_version(client, named) if _registered(name) else name)
        logged = client.get_logged_model(run.outputs.model_outputs[0].model_id)
        model = next(_download(logged.artifact_location, uri, into).rglob("*.keras"))
        _fetch(client, run, ("splits.json", "config.yaml"), uri, model.parent)
    except (MlflowException, OSError, IndexError, StopIteration) as error:
        what = "model version" if _registered(name) else "MLflow run with a model"
        raise SegError(
            f"checkpoint: no .keras file, no run folder and no {what} at {uri} is called {name} "
            f"({reason(error)})"
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
    try:
        client = _reader(uri)
        _fetch(client, client.get_run(name), files, uri, into)
    except (MlflowException, OSError) as error:
        raise SegError(
            f"{key}: no run folder and no MLflow run at {uri} is called {name} ({reason(error)})"
        ) from error


def _fetch(
    client: mlflow.MlflowClient, run: Run, files: Sequence[str], uri: str, into: Path
) -> None:
    has = {file.path for file in client.list_artifacts(run.info.run_id)}
    for path in has & {*files}:
        _download(f"{run.info.artifact_uri}/{path}", uri, into)


def _download(artifact: str, uri: str, into: Path) -> Path:
    into.mkdir(parents=True, exist_ok=True)
    download = mlflow.artifacts.download_artifacts
    return Path(download(artifact, dst_path=str(into), tracking_uri=uri, registry_uri=uri))


def pinned(name: str | None, uri: str) -> str | None:
    """Return models:/NAME/VERSION for models:/NAME@ALIAS, which may mean another one tomorrow.

    Any other name stays as it is.

    Raises:
        SegError: there is no such alias.
    """
    found = re.fullmatch(r"models:/([^@/]+)@(.+)", name or "")
    if not found:
        return name
    try:
        version = _reader(uri).get_model_version_by_alias(*found.groups()).version
    except (MlflowException, OSError) as error:
        raise SegError(f"checkpoint: no model {name} at {uri} ({reason(error)})") from error
    return f"models:/{found[1]}/{version}"


def _registered(name: str) -> bool:
    return name.startswith("models:/")


def _run_of_version(client: mlflow.MlflowClient, name: str) -> str:
    """Return the id of the run that made a registered version."""
    found = re.fullmatch(r"models:/([^@/]+)/([^@/]+)", name)
    if not found:
        raise SegError(
            f"checkpoint: models:/NAME@ALIAS or models:/NAME/VERSION is expected. Received: {name}"
        )
    return client.get_model_version(*found.groups()).run_id
