"""Records of jobs on disk, and the lock that a job's process holds."""

import math
import subprocess
import sys

from seg.jobs import record
from seg.jobs.record import Record


def test_a_record_comes_back_as_it_was_written(tmp_path):
    begun = Record(7, ("loss=dice", "seed=1"), folder="/runs/a")
    ended = begun.ends(record.FINISHED, objective=0.5, scores={"val/dice": 0.5}, data="abc")
    record.write(tmp_path, begun)
    assert not record.read(tmp_path, 7).ended
    assert math.isnan(record.read(tmp_path, 7).objective)
    record.write(tmp_path, ended)
    assert record.read(tmp_path, 7) == ended
    assert ended.words == ("loss=dice", "seed=1")
    assert ended.ended


def test_records_are_in_the_order_of_their_numbers_and_halves_are_none(tmp_path):
    for job in (1000, 2, 11):
        record.write(tmp_path, Record(job, ()))
    home = tmp_path / "state" / "jobs"
    (home / "003.part").write_text('{"job": 3, "wo')
    assert [one.job for one in record.records(tmp_path)] == [2, 11, 1000]
    record.forget(tmp_path, 11)
    assert record.read(tmp_path, 11) is None
    assert [one.job for one in record.records(tmp_path)] == [2, 1000]


def test_a_job_is_alive_as_long_as_the_process_that_has_its_lock(tmp_path):
    code = (
        "import sys; from pathlib import Path; from seg.jobs import record\n"
        "with record.lock(Path(sys.argv[1]), 3):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "locked\n"
    assert record.alive(tmp_path, 3)
    assert not record.alive(tmp_path, 4)
    process.kill()
    process.communicate()
    assert not record.alive(tmp_path, 3)
