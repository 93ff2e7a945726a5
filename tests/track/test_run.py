"""What arrives in MLflow: in a file that many open at once, and on a server that dies."""

import http.server
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest

from seg.contracts import SegError
from seg.figures.pictures import write_png
from seg.track import find, system
from seg.track.journal import Journal
from seg.track.run import Target, resend, start

SWIN = {"patch_size": 4, "embed_dim": 16, "depths": [2, 1], "heads": [2, 4], "window": 4}
SWIN |= {"mlp_ratio": 4.0, "dropout": 0.0, "drop_path": 0.1, "classes": 1}


def opened(tmp_path, name="r-000001", uri=None, sweep=None):
    folder = tmp_path / name
    folder.mkdir()
    target = Target(uri or find.default_uri(tmp_path), "e", tmp_path, sweep)
    return start(folder, target, name, {"tag": "t"})


def all_runs(tmp_path):
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    return client.search_runs([client.get_experiment_by_name("e").experiment_id])


def tell(run, steps):
    """Tell a run a metric and a picture of each step."""
    for step in steps:
        run.metrics({"train/loss": 1 / step, "train/undefined": float("nan")}, step)
        file = run.folder / "epoch_change" / "a" / f"epoch_{step:03d}.png"
        write_png(file, np.full((20, 40, 3), step, np.uint8))
        run.image(file, key="epoch_change/a", step=step)


def until_sent(run):
    for _ in range(600):
        if not run.journal.pending():
            return
        time.sleep(0.1)
    raise TimeoutError


def require_each_once(client, experiment, name, steps, status="FINISHED"):
    """Require one run of a name, and in it one metric and one picture for each step."""
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    (run,) = [run for run in found if run.info.run_name == name]
    assert run.info.status == status
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(point.step for point in points) == [*steps]
    assert {point.step: point.value for point in points} == {step: 1 / step for step in steps}
    undefined = client.get_metric_history(run.info.run_id, "train/undefined")
    assert [point.step for point in undefined if np.isnan(point.value)] == [*steps]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    for ending in (".png", "compressed.webp"):
        of_kind = [path for path in pictures if path.endswith(ending)]
        shown = sorted(int(re.search(r"\+step\+(\d+)\+", path)[1]) for path in of_kind)
        assert shown == [*steps]
    return run


def test_three_processes_open_a_fresh_store_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from seg.track import find; from seg.track.run import Target, start\n"
        "home = Path(sys.argv[1]); folder = home / sys.argv[2]; folder.mkdir()\n"
        "with start(folder, Target(find.default_uri(home), 'e', home), 'name', {}) as run:\n"
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
        assert "tracking:" not in errors
    assert [run.data.metrics for run in all_runs(tmp_path)] == [{"x": 1.0}] * 3


def test_files_of_the_folder_are_sent_but_not_the_model_file(tmp_path):
    with opened(tmp_path):
        (tmp_path / "r-000001" / "figures").mkdir()
        (tmp_path / "r-000001" / "figures" / "a.png").write_bytes(b"1")
        (tmp_path / "r-000001" / "notes.csv").write_text("a")
        (tmp_path / "r-000001" / "model.keras").write_bytes(b"1")
    (run,) = all_runs(tmp_path)
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    sent = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert sent == {"figures", "notes.csv"}
    (picture,) = client.list_artifacts(run.info.run_id, "figures")
    assert picture.path == "figures/a.png"


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
        file = run.folder / "a.png"
        write_png(file, np.zeros((4, 4, 3), np.uint8))
        run.image(file, key="epoch_change/a [x] = (b) @c", step=3)
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    files = client.list_artifacts(all_runs(tmp_path)[0].info.run_id, "images")
    assert len(files) == 2
    assert all(re.match(r"images/[\w ~+.-]+$", file.path) for file in files)


def test_jobs_of_a_sweep_share_a_parent(tmp_path):
    for name in ("a-000001", "b-000002"):
        with opened(tmp_path, name, sweep="20260101-000000"):
            pass
    parents = [run.data.tags.get("mlflow.parentRunId") for run in all_runs(tmp_path)]
    assert len(parents) == 3
    assert parents.count(None) == 1
    assert len(set(parents) - {None}) == 1


def test_mlflow_keeps_no_global_store_after_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    with opened(tmp_path):
        pass
    assert mlflow.get_tracking_uri() == before
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_table_is_that_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find.default_uri(tmp_path))
    table = pd.DataFrame({"case": ["p1", "p2"], "dice": [0.5, None]})
    with opened(tmp_path) as run:
        table.to_json(run.folder / "cases.json", orient="split", index=False)
        run.table(run.folder / "cases.json")
    (found,) = all_runs(tmp_path)
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    loaded = client.load_table(found.info.experiment_id, "cases.json", [found.info.run_id])
    assert loaded.to_dict("list")["case"] == ["p1", "p2"]
    assert loaded["dice"][0] == 0.5


def test_what_was_learned_from_is_an_input_of_the_run(tmp_path):
    sides = {
        "train": {"digest": "a" * 36, "patients": 3, "slices": 12},
        "test": {"digest": "b" * 36, "patients": 1, "slices": 4},
    }
    with opened(tmp_path) as run:
        run.dataset("phantom", "data/phantom", sides)
        run.dataset("phantom", "data/phantom", sides)
    (found,) = all_runs(tmp_path)
    inputs = {each.tags[0].value: each.dataset for each in found.inputs.dataset_inputs}
    assert len(found.inputs.dataset_inputs) == 2
    assert {side: data.digest for side, data in inputs.items()} == {
        "train": "a" * 36,
        "test": "b" * 36,
    }
    assert json.loads(inputs["train"].profile) == {"patients": 3, "slices": 12}
    assert inputs["test"].name == "phantom test"


def test_a_server_that_dies_and_comes_back_before_the_end_misses_nothing(tmp_path, server):
    with opened(tmp_path, uri=server.uri) as run:
        tell(run, range(1, 4))
        until_sent(run)
        server.kill()
        tell(run, range(4, 7))
        time.sleep(1)
        assert run.journal.pending()
        server.start()
        tell(run, range(7, 9))
    assert not run.journal.pending()
    require_each_once(server.client(), "e", "r-000001", range(1, 9))


def test_a_server_that_stays_dead_is_told_later_and_once(tmp_path, server, caplog):
    with opened(tmp_path, "r-000002", uri=server.uri) as run:
        tell(run, range(1, 3))
        until_sent(run)
        server.kill()
        tell(run, range(3, 6))
        (run.folder / "notes.csv").write_text("a")
    assert "python -m seg.sync" in caplog.text
    assert resend(run.folder)[0] == 0
    server.start()
    # As if the answers to the last that arrived had been lost.
    receipts = run.folder / "tracking" / "sent.jsonl"
    lines = receipts.read_text().splitlines(keepends=True)
    receipts.write_text("".join(lines[:-2]))
    sent, left = resend(run.folder)
    assert (sent, left) == (2 + 3 * 2 + 2, 0)
    assert resend(run.folder) == (0, 0)
    found = require_each_once(server.client(), "e", "r-000002", range(1, 6))
    sent = {file.path for file in server.client().list_artifacts(found.info.run_id)}
    assert sent == {"images", "notes.csv"}


def test_a_run_that_was_created_but_whose_answer_was_lost_is_found_again(tmp_path, server):
    with opened(tmp_path, "r-000003", uri=server.uri) as run:
        tell(run, [1])
    (run.folder / "tracking" / "sent.jsonl").unlink()
    assert resend(run.folder)[1] == 0
    require_each_once(server.client(), "e", "r-000003", [1])


def test_a_server_that_hangs_and_wakes_up_holds_one_run(tmp_path, server, monkeypatch):
    """What it was asked while it hung, it does when it wakes up."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    os.killpg(server.process.pid, signal.SIGSTOP)
    with opened(tmp_path, "r-000004", uri=server.uri) as run:
        tell(run, [1])
        time.sleep(3)
    assert len(run.journal.pending()) == len(run.journal.events)
    os.killpg(server.process.pid, signal.SIGCONT)
    assert resend(run.folder)[1] == 0
    require_each_once(server.client(), "e", "r-000004", [1])


class AnswersWith500(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        self.send_error(500)

    do_POST = do_GET

    def log_message(self, *args):
        pass


def test_a_server_that_answers_500_is_left_alone(tmp_path, caplog):
    broken = http.server.ThreadingHTTPServer(("127.0.0.1", 0), AnswersWith500)
    threading.Thread(target=broken.serve_forever, daemon=True).start()
    with opened(tmp_path, uri=f"http://127.0.0.1:{broken.server_port}") as run:
        tell(run, range(1, 200))
    broken.shutdown()
    assert AnswersWith500.asked < 10
    assert caplog.text.count("no answer; the run goes on") == 1
    assert len(run.journal.pending()) == len(run.journal.events) == 2 + 2 * 199


def test_a_server_that_hangs_stops_nothing(tmp_path, caplog):
    """A socket that accepts and never answers."""
    silent = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [silent.accept() for _ in range(9)], daemon=True).start()
    begun = time.monotonic()
    with opened(tmp_path, uri=f"http://127.0.0.1:{silent.getsockname()[1]}") as run:
        told = time.monotonic()
        tell(run, range(1, 9))
        assert time.monotonic() - told < 5
    assert time.monotonic() - begun < 40  # MLflow itself: 248 s for each call
    assert len(run.journal.pending()) == len(run.journal.events)
    assert "python -m seg.sync" in caplog.text


def test_a_journal_that_cannot_be_written_costs_what_was_to_be_told_only(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    with opened(tmp_path) as run:
        tell(run, [1])
        until_sent(run)
        file = run.folder / "tracking" / "events.jsonl"
        file.rename(file.with_suffix(".aside"))
        file.mkdir()
        run.metrics({"x": 1.0}, 2)
        file.rmdir()
        file.with_suffix(".aside").rename(file)
        run.metrics({"x": 2.0}, 3)
    assert "metrics is lost" in caplog.text
    (found,) = all_runs(tmp_path)
    assert (found.info.status, found.data.metrics["x"]) == ("FINISHED", 2.0)


def test_a_model_comes_back_with_its_signature_and_example(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", find.default_uri(tmp_path))
    inputs = keras.Input((None, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(inputs))
    with opened(tmp_path) as run:
        model.save(run.folder / "model.keras")
        for _ in range(2):
            run.model(model, run.folder / "model.keras", ["keras"])
    (found,) = all_runs(tmp_path)
    assert len(found.outputs.model_outputs) == 1
    uri = f"models:/{found.outputs.model_outputs[0].model_id}"
    info = mlflow.models.get_model_info(uri)
    loaded = mlflow.pyfunc.load_model(uri)
    example = mlflow.models.Model.load(uri).load_input_example()
    assert info.signature.inputs.inputs[0].shape == (-1, -1, 16, 3)
    assert info.signature.outputs.inputs[0].shape == (-1, -1, 16, 2)
    assert example.shape == (1, 32, 16, 3)
    assert (example.min(), example.max()) == (0, 1)
    expected = model.predict(example.astype(np.float32), verbose=0)
    np.testing.assert_array_equal(loaded.predict(example.astype(np.float32)), expected)


def test_a_model_with_layers_of_its_own_loads_where_this_package_is_imported(tmp_path):
    from seg.models import swin

    model = swin.swin((32, 32, 1), **SWIN)
    with opened(tmp_path) as run:
        model.save(run.folder / "model.keras")
        run.model(model, run.folder / "model.keras", ["keras"])
    (found,) = all_runs(tmp_path)
    code = (
        "import mlflow, numpy as np, seg.models.saved\n"
        f"model = mlflow.keras.load_model('models:/{found.outputs.model_outputs[0].model_id}')\n"
        "np.save('answer.npy', model.predict(np.ones((1, 32, 32, 1)), verbose=0))\n"
    )
    environment = os.environ | {"MLFLOW_TRACKING_URI": find.default_uri(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    wanted = model.predict(np.ones((1, 32, 32, 1)), verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), wanted, atol=1e-6)


def test_system_metrics_are_told_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "EVERY_S", 0.1)
    folder = tmp_path / "r"
    folder.mkdir()
    target = Target(find.default_uri(tmp_path), "e", tmp_path)
    with start(folder, target, "r", {}, system_metrics=True):
        time.sleep(1)
    (found,) = all_runs(tmp_path)
    assert 0 <= found.data.metrics["system/cpu_utilization_percentage"] <= 100
    assert 0 < found.data.metrics["system/system_memory_usage_percentage"] <= 100
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    points = client.get_metric_history(found.info.run_id, "system/cpu_utilization_percentage")
    assert [point.step for point in points] == list(range(len(points)))
    assert "system metrics" not in {thread.name for thread in threading.enumerate()}


def test_the_alias_best_moves_to_the_better_of_the_same_data(tmp_path, caplog):
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))

    def version(name, value, data="d", score="val/dice"):
        with opened(tmp_path, name) as run:
            model.save(run.folder / "model.keras")
            run.model(model, run.folder / "model.keras", ["keras"])
            run.register("organ", score, value, data)
            run.register("organ", score, value, data)
        client = mlflow.MlflowClient(find.default_uri(tmp_path))
        best = client.get_model_version_by_alias("organ", "best")
        return len(client.search_model_versions("name='organ'")), best.version

    assert version("a-000001", 0.5) == (1, 1)
    assert version("b-000002", 0.4) == (2, 1)
    assert version("c-000003", 0.6) == (3, 3)
    assert version("d-000004", 0.1, data="other") == (4, 4)
    assert version("e-000005", float("nan")) == (4, 4)
    assert "val/dice is undefined, so nothing is registered" in caplog.text
    found = find.fetch_model("models:/organ@best", find.default_uri(tmp_path), tmp_path / "into")
    assert keras.saving.load_model(found).count_params() == 2
    uri = find.default_uri(tmp_path)
    assert find.pinned("models:/organ@best", uri) == "models:/organ/4"
    for name, said in (
        ("models:/x@best", "checkpoint: no model models:/x@best at sqlite"),
        ("models:/organ/77", "checkpoint: .* no model version at .* is called models:/organ/77"),
        ("models:/organ", "models:/NAME/VERSION is expected. Received: models:/organ$"),
    ):
        with pytest.raises(SegError, match=said):
            find.fetch_model(name, uri, tmp_path / "into")


def test_the_alias_never_moves_to_a_model_that_has_not_arrived(tmp_path, caplog):
    """Its file is gone when it is sent."""
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    with opened(tmp_path) as run:
        run.model(model, run.folder / "model.keras", ["keras"])
        run.register("organ", "val/dice", 0.5, "d")
    assert [run.journal.events[line]["kind"] for line in run.journal.pending()] == [
        "model",
        "register",
    ]
    assert "does not take register (its model has not arrived)" in caplog.text
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    assert not client.search_model_versions("name='organ'")
    model.save(run.folder / "model.keras")
    assert resend(run.folder) == (2, 0)
    assert client.get_model_version_by_alias("organ", "best").version == 1


def test_a_store_that_cannot_be_read_stops_nothing(tmp_path, caplog, capfd):
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1000)
    with opened(tmp_path) as run:
        tell(run, [1])
    assert len(run.journal.pending()) == len(run.journal.events)
    assert "tracking: the server opens no run" in caplog.text
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_that_goes_on_sends_for_itself(tmp_path):
    with opened(tmp_path) as run, pytest.raises(SegError, match="in use by another process"):
        subprocess_sync(run.folder)


def subprocess_sync(folder):
    done = subprocess.run(
        [sys.executable, "-m", "seg.sync", str(folder)], capture_output=True, text=True
    )
    raise SegError(done.stderr)


def test_a_killed_run_ends_as_killed(tmp_path):
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from seg.track import find; from seg.track.run import Target, start\n"
        "home = Path(sys.argv[1]); folder = home / 'r'; folder.mkdir()\n"
        "with start(folder, Target(find.default_uri(home), 'e', home), 'r', {}) as run:\n"
        "    (folder / 'history.csv').write_text('epoch')\n"
        "    run.metrics({'train/loss': 1.0}, step=1)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    ended = Journal(tmp_path / "r")
    assert [event["kind"] for event in ended.events] == ["open", "metrics"]
    ended.close()
    assert resend(tmp_path / "r")[1] == 0
    (found,) = all_runs(tmp_path)
    assert (found.info.status, found.data.metrics) == ("KILLED", {"train/loss": 1.0})
    client = mlflow.MlflowClient(find.default_uri(tmp_path))
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["history.csv"]
    assert Path(tmp_path / "r" / "tracking" / "sent.jsonl").exists()
