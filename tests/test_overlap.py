"""Two first runs at a time: in order, with all errors, and no thread waits for itself."""

from __future__ import annotations

import contextvars
import threading
import time
from functools import partial

import pytest

from fastconv.core import jit
from fastconv.core import threads as launching
from fastconv.core.once import making
from fastconv.core.overlap import overlapped

SETTING = contextvars.ContextVar("setting", default=0)


def test_results_come_in_order_from_two_threads():
    together = threading.Barrier(2, timeout=60)

    def run(value):
        if value < 2:
            together.wait()  # for the other thread
        return value, threading.get_ident()

    results = overlapped(partial(run, value) for value in range(9))
    assert [value for value, _ in results] == list(range(9))
    assert len({thread for _, thread in results}) == 2
    assert overlapped([]) == []


def test_runs_see_the_settings_of_their_caller():
    together = threading.Barrier(2, timeout=60)

    def run():
        together.wait()
        return SETTING.get()

    token = SETTING.set(7)
    try:
        assert overlapped([run, run]) == [7, 7]
    finally:
        SETTING.reset(token)


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_of_either_thread_is_raised_once_both_are_done(failing):
    together, done = threading.Barrier(2, timeout=60), []

    def run(value):
        together.wait()
        if value == failing:
            raise ValueError(f"run {value}")
        done.append(value)

    with pytest.raises(ValueError, match=f"run {failing}"):
        overlapped(partial(run, value) for value in range(2))
    assert done == [1 - failing]


def test_after_an_error_nothing_more_is_begun(monkeypatch):
    """By the other thread, which is still busy when the caller begins to wait for it."""
    together, waiting, begun = threading.Barrier(2, timeout=60), threading.Event(), []
    caller, join = threading.get_ident(), threading.Thread.join

    def noting(thread, timeout=None):
        waiting.set()
        join(thread, timeout)

    def run():
        together.wait()
        if threading.get_ident() == caller:
            raise ValueError("first")
        waiting.wait(60)

    monkeypatch.setattr(threading.Thread, "join", noting)
    with pytest.raises(ValueError, match="first"):
        overlapped([run, run, *[partial(begun.append, value) for value in range(3)]])
    assert waiting.is_set() and begun == []


def test_nor_after_one_of_the_other_thread():
    together, begun = threading.Barrier(2, timeout=60), []
    caller, others = threading.current_thread(), []

    def run():
        if threading.current_thread() is not caller:
            others.append(threading.current_thread())
        together.wait()
        if threading.current_thread() is not caller:
            raise ValueError("other")
        others[0].join(60)

    with pytest.raises(ValueError, match="other"):
        overlapped([run, run, *[partial(begun.append, value) for value in range(3)]])
    assert begun == []


def _alone() -> bool:
    """Whether all runs take place in this thread, though they leave another the time."""

    def run():
        time.sleep(0.01)
        return threading.get_ident()

    return set(overlapped([run] * 5)) == {threading.get_ident()}


def test_without_further_threads_runs_take_place_here(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert _alone()


def test_whoever_interrupts_compiling_or_launching_runs_alone(monkeypatch):
    """A signal handler: what it interrupted holds locks that a second thread would need."""
    with jit.noted():
        assert making.entered and _alone()
    assert not making.entered
    lock = threading.RLock()
    monkeypatch.setattr(launching._state, "lock", lock)
    with lock:
        assert launching.launching() and _alone()
    assert not launching.launching()
