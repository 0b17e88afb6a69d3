"""Watching the compiler: which kernels a block of code needed and what each of them cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from numba.core import event

from fastconv.core import jit

_LOCK = "numba:compiler_lock"  # held by numba for as long as it compiles or loads one function


class Made(NamedTuple):
    """One kernel: compiled in so many ``seconds``, or loaded (``cached``)."""

    name: str
    cached: bool
    seconds: float


class Watch(event.Listener):
    """Times the outermost holds of the compiler lock; nested ones are helpers being inlined."""

    def __init__(self):
        self.total = 0.0  # seconds, launchers and helpers included
        self._first = len(jit.kernels)
        self._end: int | None = None  # of the kernels made, once the watch is over
        self._by_index: dict[int, float] = {}
        self._depth = 0
        self._began = 0.0

    def on_start(self, event):
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1

    def on_end(self, event):
        self._depth -= 1
        if self._depth == 0:
            elapsed = time.perf_counter() - self._began
            self.total += elapsed
            # A kernel is listed as soon as it is compiled: this hold's kernel comes next, and a
            # launcher's time is overwritten by that of the kernel that follows it.
            self._by_index[len(jit.kernels)] = elapsed

    def close(self) -> None:
        """Take no note of what is made from now on."""
        self._end = len(jit.kernels)

    @property
    def made(self) -> list[Made]:
        """The kernels made since the watch began, in order."""
        return [
            Made(kernel.name, kernel.from_cache, self._by_index[index])
            for index, kernel in enumerate(jit.kernels[self._first : self._end], self._first)
        ]


@contextmanager
def watch() -> Iterator[Watch]:
    """Watch the compiler for the length of a ``with`` block."""
    listener = Watch()
    event.register(_LOCK, listener)
    try:
        yield listener
    finally:
        event.unregister(_LOCK, listener)
        listener.close()
