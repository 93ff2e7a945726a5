"""Shares of a machine, held by real processes."""

import os
import subprocess
import sys
import time

import pytest

from seg.jobs import slots

HOLDS = (
    "import sys; from pathlib import Path; from seg.jobs import slots\n"
    "with slots.leased(int(sys.argv[1]), Path(sys.argv[2])) as slot:\n"
    "    print(slot.gpus or slot.cores, flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def holder(begin, tmp_path):
    """Start a process that takes a share and has it until its input ends: jobs at once -> it."""

    def start(at_once, gpus="0,1,2,3", sweep="sweep"):
        return begin(
            [sys.executable, "-c", HOLDS, str(at_once), str(tmp_path / sweep)],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus, "TMPDIR": str(tmp_path)},
            stdin=subprocess.PIPE,
        )

    return start


def test_jobs_share_the_gpus_and_who_finds_none_waits_for_the_end_of_another(holder):
    first, second = holder(2), holder(2, sweep="another sweep")
    assert {process.stdout.readline() for process in (first, second)} == {
        "('0', '1')\n",
        "('2', '3')\n",
    }
    third = holder(2)
    time.sleep(1.5)
    os.set_blocking(third.stdout.fileno(), False)
    assert third.stdout.readline() == ""
    os.set_blocking(third.stdout.fileno(), True)
    first.kill()  # no chance to give anything back
    assert third.stdout.readline() in ("('0', '1')\n", "('2', '3')\n")


def test_more_jobs_than_gpus_have_one_each_and_wait(holder):
    shares = [holder(8, gpus="GPU-a,GPU-b").stdout.readline() for _ in range(2)]
    assert sorted(shares) == ["('GPU-a',)\n", "('GPU-b',)\n"]


def test_without_gpus_jobs_of_a_sweep_share_its_cores(holder):
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    if not half:
        pytest.skip("a machine with one core")
    shares = [holder(2, gpus="").stdout.readline() for _ in range(2)]
    assert shares == [f"{tuple(cores[:half])}\n", f"{tuple(cores[half : 2 * half])}\n"]
    other = holder(2, gpus="", sweep="another sweep")
    assert other.stdout.readline() == shares[0]


def test_a_slot_keeps_its_process_to_itself():
    core = min(os.sched_getaffinity(0))
    code = (
        "import os; from seg.jobs.slots import Slot\n"
        f"Slot(gpus=('3', '5'), cores=({core},)).use()\n"
        "print(os.environ['CUDA_VISIBLE_DEVICES'], os.sched_getaffinity(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == f"3,5 {{{core}}}\n"


@pytest.mark.parametrize(
    ("visible", "found"), [("", []), ("-1", []), ("0,2", ["0", "2"]), ("MIG-1", ["MIG-1"])]
)
def test_gpus_are_those_that_the_environment_shows(visible, found, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert slots.gpus() == found


def test_without_nvidias_driver_there_are_none(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slots.gpus() == []
    assert [slots.at_once(wanted) for wanted in (-1, 3)] == [2, 3]
