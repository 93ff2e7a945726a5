"""A job's process: how it ends is written down, however it ends."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from seg.jobs import apart, record
from seg.jobs.record import Record

TOLD = {"augment": "on", "overrides": [], "search": None, "at_once": None}
WAITS = (
    "import json, signal, sys; from pathlib import Path\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
    "from seg.jobs import apart; from seg.jobs.record import Record\n"
    "sweep = Path(sys.argv[1])\n"
    "print(apart.run(sweep, Record(3, ('a=1',)), json.loads(sys.argv[2]), named=True))\n"
)


@pytest.fixture
def told(tmp_path):
    return {**TOLD, "sweep": str(tmp_path), "number": 3, "config": "nonsense: 1"}


def test_a_job_that_cannot_be_run_has_failed_and_says_so(told, tmp_path, capfd):
    ended = apart.run(tmp_path, Record(3, ("a=1",)), told, named=True)
    assert record.read(tmp_path, 3).said == ended.said
    assert ended.state == record.FAILED
    assert ended.words == ("a=1",)
    assert ended.said == "its process ended with 1, see its run.log"
    assert capfd.readouterr().err.startswith("job 3: error: nonsense: no such key")


@pytest.fixture
def waiting(told, tmp_path):
    """A process that runs a job whose lock another has: (it, the job's process, the lock)."""
    with record.lock(tmp_path, 3) as lock:
        process = subprocess.Popen(
            [sys.executable, "-c", WAITS, str(tmp_path), json.dumps(told)],
            stdout=subprocess.PIPE,
            text=True,
        )
        while not (children := psutil.Process(process.pid).children()):
            time.sleep(0.05)
        yield process, children[0], lock
        process.kill()
        process.wait()


def test_a_job_that_is_killed_has_failed(waiting, tmp_path):
    process, job, lock = waiting
    job.kill()
    time.sleep(0.5)
    assert record.read(tmp_path, 3) is None, "another has the job, and may well end it"
    lock.release()
    assert "killed by SIGKILL, as by a system that is out of memory" in process.communicate()[0]
    assert record.read(tmp_path, 3).state == record.FAILED


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_job_ends_with_the_process_that_began_it(waiting, tmp_path, by):
    process, job, _ = waiting
    while len(job.threads()) < 2:  # it watches its input now
        time.sleep(0.05)
    process.send_signal(by)
    assert process.wait(timeout=20) != 0
    job.wait(timeout=20)
    assert record.read(tmp_path, 3) is None, "it has not ended, so it is to be run again"


def test_a_job_that_another_process_has_run_meanwhile_is_not_run_again(told, tmp_path):
    done = Record(3, ("a=1",), record.FINISHED, "/there", 0.5)
    record.write(tmp_path, done)
    assert apart.run(tmp_path, Record(3, ("a=1",)), told, named=False) == done
