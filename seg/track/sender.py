"""A thread that sends a journal's events, in order, and stops asking a server that is dead."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable

from seg.contracts import first_line
from seg.track.journal import Event, Journal

FIRST_PAUSE_S, LONGEST_PAUSE_S, PATIENCE_S = 1.0, 60.0, 120.0

log = logging.getLogger(__name__)


def reason(error: Exception) -> str:
    """Say why a server was not reached, or did not do it, in a line."""
    return re.sub(r"( failed with) (timeout )?exception.*", " got no answer", first_line(error))


class Sender(threading.Thread):
    """Send what is pending, then what is added, until closed.

    A circuit breaker (Nygard 2007, Release It!): when the server does not answer, nothing is sent
    for a pause that doubles from failure to failure. An event that a living server does not take is
    tried again at the end, all others go on. What has not arrived stays in the journal.

    Args:
        journal: to send; its lines that have arrived are marked there.
        deliver: sends one event, returns the receipt, raises where that fails.
        answers: asks the server for a sign of life.
    """

    def __init__(
        self, journal: Journal, deliver: Callable[[Event], Event], answers: Callable[[], bool]
    ) -> None:
        """Begin with what is pending."""
        super().__init__(name="tracking", daemon=True)
        self._journal, self._deliver, self._answers = journal, deliver, answers
        self._queue = deque(journal.pending())
        self._refused: list[int] = []
        self._changed = threading.Condition()
        self._closing = self._last = self._given_up = self._down = False
        self._pause_s, self._resume_at = FIRST_PAUSE_S, 0.0
        self._tried = 0

    def add(self, line: int) -> None:
        """Have a line of the journal sent."""
        with self._changed:
            self._queue.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Wait while events arrive; a server that fails now is not asked again."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        before = -1
        while self.is_alive() and self._tried > before:
            before = self._tried
            self.join(PATIENCE_S)
        self._given_up = True

    def run(self) -> None:
        """Send, in the thread."""
        while (line := self._next()) is not None:
            if self._down and not self._answers():
                self._rest()
                continue
            try:
                receipt = self._deliver(self._journal.events[line])
                self._journal.arrived(line, receipt)
            except Exception as error:  # noqa: BLE001  nothing here may end the run
                self._failed(line, error)
            else:
                self._arrived()
            self._tried += 1

    def _next(self) -> int | None:
        """Wait for the next line to be due, and return it; None at the end."""
        with self._changed:
            while not self._given_up:
                rest_s = 0 if self._closing else self._resume_at - time.monotonic()
                if self._queue and rest_s <= 0:
                    return self._queue[0]
                if self._closing and not self._refused:
                    return None
                if self._closing:
                    # Once more, now that all else has arrived: what it needs may be there.
                    self._queue.extend(self._refused)
                    self._refused, self._last = [], True
                    continue
                self._changed.wait(rest_s if self._queue else None)
        return None

    def _arrived(self) -> None:
        self._queue.popleft()
        if self._down:
            log.info("tracking: the server answers again")
        self._down, self._pause_s = False, FIRST_PAUSE_S

    def _failed(self, line: int, error: Exception) -> None:
        kind = self._journal.events[line]["kind"]
        if not self._answers():
            if not self._down:
                log.warning(
                    "tracking: no answer; the run goes on, what is not sent is kept in its folder "
                    "(%s)",
                    reason(error),
                )
            self._down = True
            self._rest()
        elif line == 0:
            log.warning("tracking: the server opens no run (%s)", reason(error))
            self._given_up = True
        else:
            self._queue.popleft()
            if self._last:
                log.warning("tracking: the server does not take this %s (%s)", kind, reason(error))
            else:
                self._refused.append(line)

    def _rest(self) -> None:
        """Leave the server alone for a while, or for good where the run is over."""
        self._given_up = self._given_up or self._closing
        self._resume_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
