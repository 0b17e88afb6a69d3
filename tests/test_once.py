"""Values made once, and tables that live as long as kernels may read them."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np

import fastconv as fc
from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.once import made_once, making, once
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
