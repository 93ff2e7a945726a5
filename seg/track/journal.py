"""A run's outbox on disk: what the tracking server is to be told, and what of it has arrived."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seg.contracts import SegError

Event = dict[str, Any]
FOLDER, EVENTS, SENT = "tracking", "events.jsonl", "sent.jsonl"


class Journal:
    """RUN/tracking/events.jsonl, an event a line, and sent.jsonl, a receipt for each that arrived.

    A process killed while it writes loses the line that it was writing, nothing before it.
    """

    def __init__(self, run_folder: Path) -> None:
        """Make the journal of a run's folder, or go on with it.

        Raises:
            SegError: another process has it open.
        """
        self.run_folder = run_folder
        home = run_folder / FOLDER
        home.mkdir(exist_ok=True)
        self._appending, self._owned = threading.Lock(), FileLock(home / "lock")
        try:
            self._owned.acquire(timeout=0)
        except Timeout:
            raise SegError(f"{run_folder}: in use by another process, which sends it") from None
        self._events_file, self._sent_file = home / EVENTS, home / SENT
        self.events: list[Event] = _whole_lines(self._events_file)
        sent = _whole_lines(self._sent_file)
        self.receipts = {one["line"]: one for one in sent if one["line"] < len(self.events)}

    def append(self, event: Event) -> int:
        """Write an event and return its line, counted from 0.

        Raises:
            OSError: the disk does not take it.
        """
        with self._appending:
            _append(self._events_file, event)
            self.events.append(event)
            return len(self.events) - 1

    def arrived(self, line: int, receipt: Event) -> None:
        """Write that an event has arrived, and what the server said."""
        sent = {"line": line, **receipt}
        _append(self._sent_file, sent)
        self.receipts[line] = sent

    def pending(self) -> list[int]:
        """Return the lines that have not arrived."""
        return [line for line in range(len(self.events)) if line not in self.receipts]

    def close(self) -> None:
        """Let another process open it."""
        self._owned.release()


def opened(run_folder: Path) -> tuple[Event, Event] | None:
    """Return what a run said to be opened and what the server answered, None where it has not.

    Whoever has the journal open.
    """
    home = run_folder / FOLDER
    events, receipts = (_whole_lines(home / name, cut=False) for name in (EVENTS, SENT))
    answers = [receipt for receipt in receipts if receipt["line"] == 0]
    return (events[0], answers[0]) if events and answers else None


def _append(file: Path, entry: Event) -> None:
    """Write a line as a whole, or leave the file as it was."""
    line = json.dumps(entry).encode() + b"\n"
    with file.open("ab", buffering=0) as lines:
        before = file.stat().st_size
        try:
            if lines.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        except OSError:
            lines.truncate(before)
            raise


def _whole_lines(file: Path, cut: bool = True) -> list[Event]:
    """Read the entries of a file, without a last one that was not finished, which is cut off."""
    if not file.exists():
        return []
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if cut and whole != text:
        os.truncate(file, len(whole))
    return [json.loads(line) for line in whole.splitlines()]
