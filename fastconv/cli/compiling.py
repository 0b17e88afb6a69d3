"""Watching the compiler: which kernels a block of code needed and what each of them cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fastconv.core import jit


class Made(NamedTuple):
    """One kernel: compiled in so many ``seconds``, or loaded (``cached``)."""

    name: str
    cached: bool
    seconds: float


class Watch:
    """What was compiled or loaded since it began, until it is closed."""

    def __init__(self):
        self._kernels = slice(len(jit.kernels), None)
        self._spans = slice(len(jit.spans), None)

    def close(self) -> None:
        """Take no note of what is made from now on."""
        self._kernels = slice(self._kernels.start, len(jit.kernels))
        self._spans = slice(self._spans.start, len(jit.spans))

    @property
    def total(self) -> float:
        """Seconds in which some thread was compiling, launchers included."""
        seconds, until = 0.0, 0.0
        for began, ended in sorted(jit.spans[self._spans]):
            seconds += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return seconds

    @property
    def made(self) -> list[Made]:
        """The kernels made since the watch began, in order."""
        made = jit.kernels[self._kernels]
        return [Made(kernel.name, kernel.from_cache, kernel.seconds) for kernel in made]


@contextmanager
def watch() -> Iterator[Watch]:
    """Watch the compiler for the length of a ``with`` block."""
    watching = Watch()
    try:
        yield watching
    finally:
        watching.close()
