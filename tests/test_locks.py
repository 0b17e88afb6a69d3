"""Blocks that a fork waits for."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from fastconv.core import locks

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="no fork on this platform"),
    pytest.mark.filterwarnings("ignore:(?s).*fork:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def blocks():
    """One for all tests: what is registered for forks stays so."""
    return locks.Unbroken("testing")


def exit_of_child(in_child) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        status = 99
        try:
            status = in_child()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Busy(threading.Thread):
    """In a block, until told otherwise."""

    def __init__(self, blocks):
        super().__init__()
        self.blocks, self.inside, self.told, self.done = blocks, *(threading.Event() for _ in "123")

    def run(self):
        with self.blocks:
            self.inside.set()
            self.told.wait(60)
            self.done.set()

    def __enter__(self):
        self.start()
        self.inside.wait(60)
        return self

    def __exit__(self, *error):
        self.told.set()
        self.join()


def test_threads_are_in_blocks_at_once_and_more_than_once(blocks):
    with Busy(blocks), blocks, blocks:
        assert blocks.entered
    assert not blocks.entered


def test_a_fork_waits_for_other_threads(blocks):
    def in_child():
        with blocks:
            return int(worker.done.is_set())

    with Busy(blocks) as worker:
        threading.Timer(0.2, worker.told.set).start()
        assert exit_of_child(in_child) == 1


def test_nobody_enters_while_a_fork_waits(blocks):
    events = []

    def enter():
        with blocks:
            events.append("entered")

    def in_child():
        return len(events)

    def go_on():
        latecomer.start()
        latecomer.join(0.2)
        worker.told.set()

    latecomer = threading.Thread(target=enter)
    with Busy(blocks) as worker:
        timer = threading.Timer(0.2, go_on)
        timer.start()
        assert exit_of_child(in_child) == 0
    timer.join()
    latecomer.join()
    assert events == ["entered"]


def test_whoever_enters_as_a_fork_begins_steps_back_until_it_is_over(blocks, monkeypatch):
    events = []

    class Inside(list):
        def append(self, thread):
            super().append(thread)
            if not events:
                events.append("begins")
                blocks._forking.append(0)  # no thread's number

        def remove(self, thread):
            super().remove(thread)
            if blocks._forking:
                events.append("ends")
                blocks._forking.clear()

    monkeypatch.setattr(blocks, "_inside", Inside())
    with blocks:
        assert events == ["begins", "ends"] and blocks.entered
    assert events == ["begins", "ends"] and not blocks.entered


def test_a_child_that_could_not_be_waited_for_says_so(blocks, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)

    def in_child():
        with pytest.raises(RuntimeError, match="forked while another Python thread was testing"):
            blocks.__enter__()
        return 1

    def in_child_and_grandchild():
        return in_child() + exit_of_child(in_child)

    with Busy(blocks):
        assert exit_of_child(in_child_and_grandchild) == 2
    with blocks:
        pass


def test_a_signal_handler_of_the_thread_that_forks_enters(blocks):
    entered = []

    def handle(signum, frame):
        with blocks:
            entered.append(signum)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        with Busy(blocks) as worker:
            timer = threading.Timer(0.4, worker.told.set)
            timer.start()
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert exit_of_child(lambda: len(entered)) == 1
            timer.join()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_whoever_forks_in_a_block_is_still_there_in_the_child(blocks):
    def in_child():
        before = blocks.entered
        blocks.__exit__()
        return 2 * before + blocks.entered

    with blocks:
        assert exit_of_child(in_child) == 2
        with blocks:
            assert exit_of_child(in_child) == 3
