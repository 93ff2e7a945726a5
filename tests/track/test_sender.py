"""The thread that sends: in order, once, and not to the dead."""

import logging
import threading
import time

import pytest

from seg.track import sender
from seg.track.journal import Journal
from seg.track.sender import Sender, Unanswered


class Remote:
    """A server in this process, that can be down and that dislikes some events."""

    def __init__(self):
        self.up, self.got, self.asked, self.disliked = True, [], 0, set()

    def deliver(self, event):
        if not self.up:
            raise Unanswered("nobody there")
        if event["n"] in self.disliked:
            raise ValueError("not this")
        self.got.append(event["n"])
        return {}

    def answers(self):
        self.asked += 1
        return self.up


@pytest.fixture
def remote():
    return Remote()


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def sending(journal, remote, n):
    thread = Sender(journal, remote.deliver, remote.answers)
    thread.start()
    tell(journal, thread, range(n))
    return thread


def tell(journal, thread, numbers):
    for n in numbers:
        thread.add(journal.append({"kind": "metrics", "n": n}))


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise TimeoutError


def test_all_arrive_in_order_before_it_closes(journal, remote):
    sending(journal, remote, 50).close()
    assert remote.got == list(range(50))
    assert journal.pending() == []


def test_what_is_pending_is_sent_first(journal, remote):
    journal.append({"kind": "open", "n": -1})
    sending(journal, remote, 3).close()
    assert remote.got == [-1, 0, 1, 2]


def test_a_dead_server_is_left_alone_and_then_told_all(journal, remote, monkeypatch, caplog):
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.05)
    caplog.set_level(logging.INFO)
    thread = sending(journal, remote, 3)
    until(lambda: len(remote.got) == 3)
    remote.up = False
    tell(journal, thread, range(3, 60))
    time.sleep(1.0)
    assert 2 <= remote.asked <= 6  # at 0, 0.05, 0.15, 0.35, 0.75 s: not once for each event
    remote.up = True
    until(lambda: len(remote.got) == 60)
    thread.close()
    assert remote.got == list(range(60))
    assert caplog.text.count("no answer; the run goes on") == 1
    assert "answers again" in caplog.text


def test_closing_asks_a_dead_server_once_more_and_keeps_the_rest(journal, remote):
    thread = sending(journal, remote, 2)
    until(lambda: len(remote.got) == 2)
    remote.up = False
    tell(journal, thread, range(2, 5))
    until(lambda: remote.asked == 1)
    thread.close()
    assert remote.asked == 2
    assert journal.pending() == [2, 3, 4]


def test_an_event_that_a_living_server_refuses_holds_up_no_other(journal, remote, caplog):
    remote.disliked = {1}
    sending(journal, remote, 4).close()
    assert remote.got == [0, 2, 3]
    assert journal.pending() == [1]
    assert caplog.text.count("does not take metrics (not this)") == 1


def test_what_was_refused_is_tried_again_at_the_end(journal, remote, caplog):
    remote.disliked = {1}
    thread = sending(journal, remote, 4)
    until(lambda: len(remote.got) == 3)
    remote.disliked = set()
    thread.close()
    assert remote.got == [0, 2, 3, 1]
    assert journal.pending() == []
    assert "does not take" not in caplog.text


def test_without_a_run_nothing_else_is_tried(journal, remote, caplog):
    remote.disliked = {0}
    sending(journal, remote, 4).close()
    assert remote.got == []
    assert journal.pending() == [0, 1, 2, 3]
    assert "opens no run" in caplog.text


class Slow(Remote):
    """Alive, but what is asked of it fails after a while, as a request that times out."""

    def deliver(self, event):
        if event["n"] in self.disliked:
            time.sleep(0.05)
            raise Unanswered("too slow")
        return super().deliver(event)


def test_a_server_that_fails_at_one_kind_gets_the_others_and_does_not_hold_up_the_end(
    journal, monkeypatch, caplog
):
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.01)
    remote = Slow()
    remote.disliked = {0, *range(2, 40)}
    thread = Sender(journal, remote.deliver, remote.answers)
    thread.start()
    thread.add(journal.append({"kind": "open", "n": -1}))
    for n in range(40):
        thread.add(journal.append({"kind": "artifact", "n": n}))
    thread.add(journal.append({"kind": "close", "n": 40}))
    thread.close()
    assert remote.got[0] == -1
    assert 40 in remote.got
    assert not {*range(2, 40)} & {*remote.got}
    assert len(journal.pending()) >= 38
    assert caplog.text.count("does not take artifact (too slow)") == 1
    thread.join(5)
    assert not thread.is_alive()


def test_closing_does_not_wait_for_ever_for_a_call_that_hangs(journal, remote):
    forever = threading.Event()
    thread = Sender(journal, lambda event: forever.wait(20), remote.answers)
    thread.start()
    tell(journal, thread, range(2))
    thread.close(patience_s=0.2)
    assert journal.pending() == [0, 1]
    forever.set()
    thread.join(5)
    assert not thread.is_alive()
