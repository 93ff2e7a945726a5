"""A thread that sends a journal's events, in order, and stops asking a server that is dead."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from seg.contracts import first_line
from seg.track.journal import Event, Journal

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
PATIENCE_S = 60.0  # that the end of a run waits while nothing arrives
TRIES = 2  # of an event, and at the end of a run in all, before a server that fails is left alone
FILES = ("image", "artifact", "table", "model", "register")

log = logging.getLogger(__name__)


class Unanswered(Exception):
    """Nobody was there, or something broke on the server: the same may go well later."""


def reason(error: Exception) -> str:
    """Say why a server was not reached, or did not do it, in a line."""
    return re.sub(r" failed with (timeout )?exception.*", " got no answer", first_line(error))


class Sender(threading.Thread):
    """Send what is pending, then what is added, until closed.

    A circuit breaker (Nygard 2007, Release It!): after a failure nothing is sent for a pause that
    doubles from failure to failure. An event that a living server does not take is tried again at
    the end, all others go on. What has not arrived stays in the journal.

    Args:
        journal: to send; its lines that have arrived are marked there.
        deliver: sends one event, returns the receipt; raises `Unanswered` where the server is at
            fault, anything else where the event is.
        answers: asks the server for a sign of life.
    """

    def __init__(
        self, journal: Journal, deliver: Callable[[Event], Event], answers: Callable[[], bool]
    ) -> None:
        """Begin with what is pending."""
        super().__init__(name="tracking", daemon=True)
        self._journal, self._deliver, self._answers = journal, deliver, answers
        self._queue, self._aside = deque(journal.pending()), deque()
        self._changed = threading.Condition()
        self._closing = self._last_round = self._given_up = self._down = False
        self._pause_s, self._resume_at = FIRST_PAUSE_S, 0.0
        self._tries: Counter[int] = Counter()
        self._said: set[str] = set()

    def add(self, line: int) -> None:
        """Have a line of the journal sent."""
        with self._changed:
            self._queue.append(line)
            self._changed.notify()

    def close(self, patience_s: float | None = PATIENCE_S) -> None:
        """Wait while events arrive, numbers before files; then leave the server alone.

        Args:
            patience_s: how long nothing may arrive; None for as long as a request lasts.
        """
        with self._changed:
            self._queue = deque(sorted(self._queue, key=self._place))
            self._closing = True
            self._tries.clear()
            self._changed.notify()
        before = -1
        while self.is_alive() and len(self._journal.receipts) > before:
            before = len(self._journal.receipts)
            self.join(patience_s)
        self._given_up = True

    def run(self) -> None:
        """Send, in the thread."""
        while (line := self._next()) is not None:
            if self._down and not self._answers():
                self._again(line, alive=False)
                continue
            try:
                receipt = self._deliver(self._journal.events[line])
                self._journal.arrived(line, receipt)
            except Unanswered as error:
                self._unanswered(line, error)
            except Exception as error:  # noqa: BLE001  nothing here may end the run
                self._refused(line, error)
            else:
                self._arrived()

    def _place(self, line: int) -> tuple[bool, bool, int]:
        return line > 0, self._journal.events[line]["kind"] in FILES, line

    def _next(self) -> int | None:
        """Wait for the next line to be due, and take it; None at the end."""
        with self._changed:
            while not self._given_up:
                rest_s = 0 if self._closing else self._resume_at - time.monotonic()
                if self._queue and rest_s <= 0:
                    return self._queue.popleft()
                if not self._closing:
                    self._changed.wait(rest_s if self._queue else None)
                elif self._aside and not self._last_round:
                    # Now that all else has arrived: what they need may be there.
                    self._queue, self._aside, self._last_round = self._aside, deque(), True
                else:
                    return None
        return None

    def _arrived(self) -> None:
        if self._down:
            log.info("tracking: the server answers again")
        self._down, self._pause_s = False, FIRST_PAUSE_S

    def _unanswered(self, line: int, error: Exception) -> None:
        alive = self._answers()
        if alive:
            self._warn(line, error)
        elif not self._down:
            log.warning(
                "tracking: no answer; the run goes on, what is not sent is kept in its folder (%s)",
                reason(error),
            )
        self._again(line, alive)

    def _again(self, line: int, alive: bool) -> None:
        """Leave the server alone for a while, or for good where the run is over."""
        self._tries[line] += 1
        with self._changed:
            if alive and line > 0 and self._tries[line] >= TRIES:
                self._aside.append(line)
            elif self._closing and line > 0:
                self._queue.append(line)
            else:
                self._queue.appendleft(line)
        if self._closing and (not alive or self._tries.total() >= TRIES):
            self._given_up = True
        self._down = not alive
        self._resume_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _refused(self, line: int, error: Exception) -> None:
        if line == 0:
            log.warning("tracking: the server opens no run (%s)", reason(error))
            self._given_up = True
        elif self._last_round:
            self._warn(line, error)
        else:
            self._aside.append(line)

    def _warn(self, line: int, error: Exception) -> None:
        """Say once for each kind of event what is wrong with it."""
        kind = self._journal.events[line]["kind"]
        if kind not in self._said:
            log.warning("tracking: the server does not take %s (%s)", kind, reason(error))
        self._said.add(kind)
