"""Values made once, and tables that live as long as kernels may read them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import fastconv as fc
from fastconv.core import cache, jit, machine_code
from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.once import Joint, _Turn, made_once, making, once
from fastconv.core.stage import Stage
from fastconv.plans.blocked.direct import DirectCorrelation
from fastconv.simd.copying import get_word, put_word


def test_made_when_first_asked_for():
    made, calls = {}, []
    for key in "aba":
        assert once(made, key, lambda key=key: calls.append(key) or key.upper()) == key.upper()
    assert calls == ["a", "b"]


def test_the_first_of_two_that_are_made_at_the_same_time_stays():
    made, first, second = {}, object(), object()

    def make():
        """Another thread is done before this one."""
        assert once(made, "key", lambda: first) is first
        return second

    assert once(made, "key", make) is first
    assert made == {"key": first}


def _together(monkeypatch, joint, key, makers):
    """What threads get that ask for a value at once, and who made one while the others waited."""
    results, made, waiting, begun = {}, [], threading.Semaphore(0), threading.Event()
    wait = _Turn.wait

    def tell(turn):
        waiting.release()
        return wait(turn)

    def make(index):
        made.append(index)
        begun.set()
        for _ in makers[len(made) :]:
            assert waiting.acquire(timeout=60)
        return makers[index]()

    def ask(index):
        with contextlib.suppress(ZeroDivisionError):
            results[index] = joint.value(key, lambda: make(index))

    monkeypatch.setattr(_Turn, "wait", tell)
    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(makers))]
    for thread in threads:
        thread.start()
        assert begun.wait(60)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results, made


def test_whoever_is_second_waits_for_what_the_first_one_makes(monkeypatch):
    joint = Joint()
    results, made = _together(monkeypatch, joint, "key", [lambda i=i: i + 7 for i in range(3)])
    assert results == {0: 7, 1: 7, 2: 7} and made == [0]
    assert joint.value("key", lambda: 8) == 8  # nothing is kept


def test_after_an_error_one_of_those_who_waited_makes_it(monkeypatch):
    joint = Joint()
    makers = [lambda: 1 // 0, lambda: 7, lambda: 7]
    results, made = _together(monkeypatch, joint, "key", makers)
    assert results == {1: 7, 2: 7} and len(made) == 2
    assert not joint._turns


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this platform")
def test_a_child_of_a_fork_does_not_wait_for_threads_of_its_parent():
    joint, statuses = Joint(), []

    def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if not child:
            signal.alarm(30)  # which ends it
            os._exit(joint.value("key", lambda: 7))
        statuses.append(os.waitpid(child, 0)[1])

    def make():
        """In a thread of its own, while this one makes it."""
        other = threading.Thread(target=fork)
        other.start()
        other.join(60)

    joint.value("key", make)
    assert [os.waitstatus_to_exitcode(status) for status in statuses] == [7]


def test_other_values_are_not_waited_for():
    joint = Joint()
    other = threading.Thread(target=lambda: joint.value("other", lambda: 2))

    def make():
        other.start()
        other.join(60)
        return other.is_alive()

    assert joint.value("key", make) is False


def test_who_is_making_one_waits_for_nobody():
    """Each of two threads comes to need what the other one is making."""
    joint, both, results = Joint(), threading.Barrier(2, timeout=60), []

    def work(own, others):
        def make():
            both.wait()
            return joint.value(others, lambda: f"{others} again")

        results.append(joint.value(own, make))

    threads = [threading.Thread(target=work, args=of) for of in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["a again", "b again"]


def test_nobody_waits_forever(monkeypatch):
    """The first one may wait for the second."""
    monkeypatch.setattr("fastconv.core.once._PATIENCE", 0.05)
    joint, results = Joint(), []
    other = threading.Thread(target=lambda: results.append(joint.value("key", lambda: "own")))

    def make():
        other.start()
        other.join(60)
        return "late"

    assert joint.value("key", make) == "late" and results == ["own"]


def test_a_function_that_two_threads_need_is_compiled_once(monkeypatch):
    compiled, layout = [], record("target")
    emit = machine_code.emit
    both = threading.Barrier(2, timeout=60)
    of = cache.identity

    def identity(*parts):
        """Both threads know what they need before one begins."""
        both.wait()
        return of(*parts)

    monkeypatch.setattr(cache, "identity", identity)
    monkeypatch.setattr(machine_code, "emit", lambda *of: compiled.append(1) or emit(*of))
    monkeypatch.setattr(cache, "files_of", lambda function: SimpleNamespace(
        load=lambda key: None, save=lambda key, code: None
    ))  # fmt: skip
    made = []

    def make():
        @kernel(layout)
        def writes(worker, a):
            put_word(a.target, 42)

        made.append(writes)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compiled == [1]
    first, second = made
    assert first.address == second.address
    assert [f in jit.kernels for f in made].count(True) == 1  # who waited has made none


def test_a_property_is_made_once_and_nothing_else_of_a_class_waits():
    class Plan:
        """Two of them at a time, each of which asks for the other's."""

        other = None

        @made_once
        def stage(self):
            """What is made."""
            assert making.entered
            if self.other is not None:
                other = threading.Thread(target=lambda: self.other.stage)
                other.start()
                other.join(60)
                assert not other.is_alive()
            return object()

    first, second = Plan(), Plan()
    first.other = second
    assert first.stage is first.stage is not second.stage
    assert Plan.stage.__doc__ == "What is made."


def test_a_property_of_a_subclass_may_ask_for_that_of_its_base():
    class Base:
        @made_once
        def stage(self):
            return "base"

    class Derived(Base):
        @made_once
        def stage(self):
            return f"derived of {super().stage}"

    one = Derived()
    assert one.stage == one.stage == "derived of base"


def _copy_kernel():
    @kernel(record("source target"))
    def copy_word(worker, a):
        put_word(a.target, get_word(a.source))

    return copy_word


def test_a_stage_keeps_the_arrays_that_it_points_to():
    target = np.zeros(1, np.int64)
    stage = Stage(_copy_kernel(), 1, source=np.full(1 << 20, 7))
    others = [np.full(1 << 20, 5) for _ in range(4)]  # which take its memory, if it is free
    stage.run(target=address(target))
    assert target[0] == 7 and len(others) == 4


def test_tables_that_two_threads_make_stay_where_the_first_has_them(monkeypatch):
    """A call while another one makes its tables: a kernel may be running on those of the call."""
    x, w = np.ones((1, 64, 14, 15)), np.ones((33, 64, 3, 3))
    original, tables = DirectCorrelation._reading, []

    def convolve():
        return fc.conv2d(x, w, padding=1, algorithm="direct")

    def reading(self, strides):
        table = original(self, strides)
        tables.append(weakref.ref(table))
        if len(tables) == 1:
            convolve()
        return table

    monkeypatch.setattr(DirectCorrelation, "_reading", reading)
    convolve()
    gc.collect()
    later, first = tables
    assert first() is not None
    assert later() is None
