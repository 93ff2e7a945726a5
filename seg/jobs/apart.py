"""A job of a sweep in a process of its own, whatever launched it: TensorFlow forgets nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from seg.jobs import record
from seg.jobs.record import Record


def run(sweep: Path, job: Record, told: Mapping[str, object], named: bool) -> Record:
    """Run a job by `python -m seg.job`, and return how it ended.

    The process lives no longer than this one: it ends when its standard input does.

    Args:
        sweep: folder of the sweep.
        job: as it begins.
        told: what the process is to know, as JSON has it.
        named: begin each line of its log with its number, since others write beside it.

    Raises:
        KeyboardInterrupt: of this process; the job was told, and has ended.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "seg.job"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE if named else None,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C is for this process, which tells the job once
    )
    try:
        with suppress(BrokenPipeError):  # it died at once, and said why
            process.stdin.write(json.dumps(told) + "\n")
            process.stdin.flush()
        for line in process.stderr or ():
            sys.stderr.write(f"job {job.job}: {line}")
        process.wait()
    finally:
        process.communicate()  # its input ends, and what it still says is read
    if process.returncode == -signal.SIGINT or process.returncode == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    return record.fail(sweep, job, _died(process.returncode))


def _died(code: int) -> str:
    if code >= 0:
        return f"its process ended with {code}, see its run.log"
    name = signal.Signals(-code).name
    memory = ", as by a system that is out of memory" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{memory}"
