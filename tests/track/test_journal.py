"""What a run has to tell, whatever becomes of its process."""

import signal
import subprocess
import sys

import pytest

from seg.contracts import SegError
from seg.track.journal import Journal

WRITES = """
import sys, time
from pathlib import Path
from seg.track.journal import Journal
journal = Journal(Path(sys.argv[1]))
for n in range(10**9):
    journal.append({"n": n})
    if n % 2:
        journal.arrived(n, {"answer": n})
    if n == 100:
        print("enough", flush=True)
"""


@pytest.fixture
def writing(tmp_path):
    """A process that writes a journal of tmp_path without end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "enough\n"
    yield process
    process.kill()
    process.wait()


def test_nothing_before_the_kill_is_lost(writing, tmp_path):
    writing.send_signal(signal.SIGKILL)
    writing.wait()
    journal = Journal(tmp_path)
    assert len(journal.events) >= 100
    assert journal.events == [{"n": n} for n in range(len(journal.events))]
    last = len(journal.events) - 1
    assert set(journal.pending()) - {last} == set(range(0, last, 2))
    assert journal.receipts[1] == {"line": 1, "answer": 1}


def test_another_process_is_refused_while_one_has_it_open(writing, tmp_path):
    with pytest.raises(SegError, match="in use by another process"):
        Journal(tmp_path)


def test_a_line_that_was_not_finished_is_cut_off_and_the_next_is_whole(tmp_path):
    journal = Journal(tmp_path)
    journal.append({"n": 0})
    journal.close()
    file = tmp_path / "tracking" / "events.jsonl"
    file.write_bytes(file.read_bytes() + b'{"n": 1, "cut')
    journal = Journal(tmp_path)
    assert journal.append({"n": 2}) == 1
    journal.close()
    assert Journal(tmp_path).events == [{"n": 0}, {"n": 2}]


def test_what_has_arrived_is_remembered(tmp_path):
    journal = Journal(tmp_path)
    for n in range(4):
        journal.append({"value": float("nan") if n == 3 else n})
    journal.arrived(2, {})
    journal.arrived(0, {"run_id": "a"})
    assert journal.pending() == [1, 3]
    journal.close()
    again = Journal(tmp_path)
    assert again.pending() == [1, 3]
    assert again.receipts[0]["run_id"] == "a"


def test_a_line_that_the_disk_does_not_take_leaves_the_others_whole(tmp_path):
    """A file of 4 KiB at most, as `ulimit -f` sets it."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from seg.track.journal import Journal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "journal, refused = Journal(Path(sys.argv[1])), 0\n"
        "for n in range(100):\n"
        "    try:\n"
        "        journal.append({'n': n, 'text': 'x' * 300})\n"
        "    except OSError:\n"
        "        refused += 1\n"
        "journal.append({'n': 'short'})\n"
        "assert refused > 80, refused\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    events = Journal(tmp_path).events
    assert [event["n"] for event in events] == [*range(len(events) - 1), "short"]
