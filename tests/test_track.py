"""MLflow: a store that many open at once, and a server that dies."""

import logging
import socket
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import numpy as np
import pytest

from seg import track
from seg.contracts import SegError


def opened(tmp_path, name="r-000001", **options):
    folder = tmp_path / name
    folder.mkdir()
    uri = options.pop("uri", track.default_uri(tmp_path))
    return track.start(folder, uri, "e", "name", {"tag": "t"}, tmp_path, **options)


def all_runs(tmp_path):
    client = mlflow.MlflowClient(track.default_uri(tmp_path))
    return client.search_runs([client.get_experiment_by_name("e").experiment_id])


def test_three_processes_open_a_fresh_store_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; from seg import track\n"
        "home = Path(sys.argv[1]); folder = home / sys.argv[2]; folder.mkdir()\n"
        "with track.start(folder, track.default_uri(home), 'e', 'name', {}, home) as run:\n"
        "    run.metrics({'x': 1.0}, step=1)\n"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), f"run-{i}"],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(3)
    ]
    for job in jobs:
        _, errors = job.communicate(timeout=120)
        assert job.returncode == 0, errors
        assert "tracking stopped" not in errors
    assert [run.data.metrics for run in all_runs(tmp_path)] == [{"x": 1.0}] * 3


def test_the_default_store_is_an_absolute_path_and_the_variable_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert track.default_uri(Path("outputs")) == f"sqlite:///{tmp_path}/outputs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert track.default_uri(Path("outputs")) == "http://somewhere"


def test_files_of_the_folder_are_sent_but_not_the_model_file(tmp_path):
    with opened(tmp_path) as run:
        (tmp_path / "r-000001" / "figures").mkdir()
        (tmp_path / "r-000001" / "figures" / "a.png").write_bytes(b"1")
        (tmp_path / "r-000001" / "notes.csv").write_text("a")
        (tmp_path / "r-000001" / "model.keras").write_bytes(b"1")
        run_id = run.run_id
    client = mlflow.MlflowClient(track.default_uri(tmp_path))
    assert {file.path for file in client.list_artifacts(run_id)} == {"figures", "notes.csv"}
    assert [file.path for file in client.list_artifacts(run_id, "figures")] == ["figures/a.png"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_an_exception_passes_and_is_marked(tmp_path, error, status):
    with pytest.raises(type(error)), opened(tmp_path):
        raise error
    (run,) = all_runs(tmp_path)
    assert run.info.status == status


def test_a_key_of_an_image_may_hold_any_character(tmp_path):
    with opened(tmp_path) as run:
        run.image(np.zeros((4, 4, 3), np.uint8), key="epoch_change/a [x] = (b) @c", step=3)
        run_id = run.run_id
        assert run_id
    client = mlflow.MlflowClient(track.default_uri(tmp_path))
    assert len(client.list_artifacts(run_id, "images")) >= 1


def test_jobs_of_a_sweep_share_a_parent(tmp_path):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    for name in ("a-000001", "b-000002"):
        with opened(tmp_path, name, sweep=sweep):
            pass
    parents = [run.data.tags.get("mlflow.parentRunId") for run in all_runs(tmp_path)]
    assert len(parents) == 3
    assert parents.count(None) == 1
    assert len(set(parents) - {None}) == 1


def test_mlflow_keeps_no_global_store_after_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with opened(tmp_path):
        pass
    monkeypatch.chdir(tmp_path)
    assert "MLFLOW_TRACKING_URI" not in __import__("os").environ


def test_a_server_that_hangs_stops_the_sending_and_not_the_run(tmp_path, caplog):
    """A socket that accepts and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [server.accept() for _ in range(9)], daemon=True).start()
    with caplog.at_level(logging.WARNING):
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with opened(tmp_path, uri=uri) as run:
            run.metrics({"x": 1.0}, step=1)
            assert not run.sending
    assert caplog.text.count("tracking stopped") == 1


def test_a_checkpoint_nobody_knows_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(SegError, match="checkpoint: .* is called nobody"):
        track.fetch_model("nobody", track.default_uri(tmp_path), tmp_path / "into")
