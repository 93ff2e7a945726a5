"""Several machines that train one model, here processes on loopback."""

import os
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from seg.config import conf_dir, validate
from seg.contracts import SegError
from seg.data.cache import Slices
from seg.data.pipeline import endless, once
from seg.workers import meet

CURVES = ["train/loss", "val/loss", "val/pooled_sensitivity"]


def addresses(n):
    """Of `n` free ports, which nobody else gets between now and then, with luck."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    found = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    return found


@pytest.fixture
def started(begin, tmp_path):
    """Start worker `i` of `workers`: -> process, with its standard error as a pipe."""

    def start(workers, i, *words):
        words = [*words, f"trainer.workers=[{','.join(workers)}]", f"trainer.worker={i}"]
        return begin(
            [sys.executable, "-m", "seg.run", *words],
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stderr=subprocess.PIPE,
        )

    return start


def numbered(n):
    images = np.arange(n, dtype=np.uint16)[:, None, None, None]
    masks = np.zeros((n, 1, 1, 1), np.uint8)
    ids = tuple(map(str, range(n)))
    return Slices(ids, (1, 1, 1), lambda i: (images[i], masks[i]), (True,) * n)


def drawn(batches):
    return [image.ravel().tolist() for image, _ in batches.as_numpy_iterator()]


@pytest.mark.parametrize("normalization", ["batch", pytest.param("none", marks=pytest.mark.slow)])
def test_two_workers_give_the_loss_curve_of_one_process(
    started, command, tmp_path, tiny, normalization
):
    words = [*tiny, "trainer.devices=cpu", "model.dropout=0", "stages=[train]"]
    words += [f"model.normalization={normalization}", "trainer.epochs=3"]
    workers = addresses(2)
    both = [started(workers, i, *words) for i in (0, 1)]
    (shown, said), (nothing, said_too) = [worker.communicate(timeout=200) for worker in both]
    assert [worker.returncode for worker in both] == [0, 0], said + said_too
    together = tmp_path / shown.splitlines()[-1]
    assert [*(tmp_path / "outputs/phantom/unet").iterdir()] == [together], "the first alone writes"
    assert nothing == ""
    losses = [re.findall(r"loss (\S+)", text) for text in (said, said_too)]
    assert losses[0] == losses[1]
    alone = tmp_path / command(*words).stdout.splitlines()[-1]
    curves = [pd.read_csv(run / "history.csv")[CURVES].to_numpy() for run in (alone, together)]
    np.testing.assert_allclose(*curves, rtol=1e-4)  # 3e-2 where batches are normalized apart


def test_a_worker_that_dies_ends_the_others_in_a_sentence(started, tmp_path, tiny):
    workers = addresses(2)
    words = [*tiny, "trainer.devices=cpu", "trainer.epochs=500", "trainer.early_stop_patience=null"]
    first, second = [started(workers, i, *words) for i in (0, 1)]
    while not second.stderr.readline().startswith("epoch 1/"):
        assert second.poll() is None
    second.kill()
    said = first.communicate(timeout=100)[1]
    assert first.returncode == 1
    last = said.splitlines()[-1]
    assert last.startswith("error: trainer.workers: another worker has stopped or cannot be")
    assert "Traceback" not in said
    (folder,) = Path(tmp_path, "outputs/phantom/unet").iterdir()
    assert (folder / "model.keras").exists()


def test_workers_with_other_settings_are_refused_by_all(started, tiny):
    workers = addresses(2)
    both = [started(workers, i, *tiny, "trainer.devices=cpu", f"seed={i}") for i in (0, 1)]
    for worker in both:
        assert (
            "error: trainer.workers: all must have the same config"
            in worker.communicate(timeout=100)[1]
        )
        assert worker.returncode == 1


def test_workers_meet_whoever_comes_first():
    workers = addresses(3)
    with ThreadPoolExecutor() as pool:
        late = [pool.submit(meet, workers, i, 20) for i in (2, 0)]
        threading.Event().wait(0.5)
        assert not any(one.done() for one in late)
        meet(workers, 1, 20)
        assert [one.result() for one in late] == [None, None]


def test_a_worker_that_does_not_come_is_named():
    workers = addresses(2)
    with pytest.raises(SegError, match=f"no answer from worker 1 at {workers[1]} .*worker=1"):
        meet(workers, 0, wait_s=0.3)


def test_a_worker_that_cannot_call_back_is_named():
    workers = addresses(2)
    with socket.create_server(("127.0.0.1", int(workers[1].rpartition(":")[2]))):
        with pytest.raises(SegError, match=f"has not reached {workers[0]} within 0.3 s"):
            meet(workers, 0, wait_s=0.3)


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            SegError, match=f"127.0.0.1:{port} is to be this process, which cannot listen"
        ):
            meet([f"127.0.0.1:{port}", "127.0.0.1:9"], 0, wait_s=0.3)


class Reversing:
    """Swap the samples of a batch, and say which one each is."""

    mixing = (None,)

    def sample(self, image_HWC, mask_HW1, seed, k):
        return np.float32(image_HWC + 100 * k), mask_HW1

    def batch(self, images_BHWC, masks_BHW1, seed, k):
        return images_BHWC[::-1].copy(), masks_BHW1


@pytest.mark.parametrize("augment", [None, Reversing()])
@pytest.mark.parametrize("workers", [2, 3])
def test_the_shares_of_a_batch_are_the_batch(workers, augment):
    how = (numbered(7), 6, 3, augment)
    whole = drawn(endless(*how).take(5))
    shares = [drawn(endless(*how, (i, workers)).take(5)) for i in range(workers)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole


def test_the_shares_of_validation_are_what_replicas_of_one_machine_see():
    whole = drawn(once(numbered(11), 8, replicas=4))
    shares = [drawn(once(numbered(11), 8, replicas=4, share=(i, 2))) for i in range(2)]
    assert [sum(parts, []) for parts in zip(*shares, strict=True)] == whole


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["trainer.workers=[a:1]"],
            "two or more HOST:PORT, the same list for each. Received: ['a:1']",
        ),
        (["trainer.workers=[a,b]", "trainer.worker=0"], "trainer.workers must be null, or"),
        (
            ["trainer.workers=[a:1,b:1]"],
            "which of 2 trainer.workers this is, counted from 0. Received: null",
        ),
        (["trainer.workers=[a:1,b:1]", "trainer.worker=2"], "counted from 0. Received: 2"),
        (["trainer.worker=0"], "trainer.worker=0 needs trainer.workers"),
        (
            ["trainer.workers=[a:1,b:1]", "trainer.worker=0", "stages=[describe]"],
            "trainer.workers needs the stage train",
        ),
        (
            ["trainer.workers=[a:1,b:1]", "trainer.worker=0", "trainer.devices=cpu:2"],
            "and not cpu:N. Received: train, evaluate, infer; False; cpu:2",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(words, sentence):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", words)
    with pytest.raises(SegError, match=re.escape(sentence)):
        validate(cfg)
