"""A logged model answers requests: `mlflow models serve`, as README.md says it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest

from seg.models import swin
from seg.track import find, serving
from seg.track.run import Target, start

SWIN = {"patch_size": 4, "embed_dim": 16, "depths": [2, 1], "heads": [2, 4], "window": 4}
SWIN |= {"mlp_ratio": 4.0, "dropout": 0.0, "drop_path": 0.1, "classes": 1}


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A model with a layer of this package, its run, and the folder of its store."""
    home = tmp_path_factory.mktemp("logged")
    model = swin.swin((32, 32, 1), **SWIN)
    (home / "r").mkdir()
    target = Target(find.default_uri(home), "e", home)
    with start(home / "r", target, "r", {}) as run:
        model.save(run.folder / "model.keras")
        run.model(model, run.folder / "model.keras", ["tensorflow", "keras"])
    client = mlflow.MlflowClient(find.default_uri(home))
    (found,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    return model, found, home


def answered(process, url, body, log):
    """Ask until there is an answer, for two minutes at most."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    for _ in range(600):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())
        except OSError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    raise TimeoutError(log.read_text())


def test_a_served_model_answers_as_keras_does(logged, tmp_path):
    model, run, home = logged
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", f"runs:/{run.info.run_id}/model", "--env-manager", "local"]
    activated = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "-p", str(port)],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_TRACKING_URI": find.default_uri(home), "PATH": activated},
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    images = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    try:
        body = json.dumps({"inputs": images.tolist()}).encode()
        said = answered(process, f"http://127.0.0.1:{port}/invocations", body, tmp_path / "log")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    wanted = model.predict_on_batch(images)
    np.testing.assert_allclose(np.array(said["predictions"]), wanted, atol=1e-5)


def test_a_model_says_where_layers_that_are_not_of_keras_come_from(logged):
    assert serving.modules(logged[2] / "r" / "model.keras") == {"seg.models.swin"}
