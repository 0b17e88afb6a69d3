"""Who is told of every convolution that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from fastconv.core.problem import ConvProblem

from .options import Request

# (problem, what was asked for, threads), after it ran
Listener = Callable[[ConvProblem, Request, int], None]

current: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` of those that this Python thread or task runs in a ``with`` block."""
    token = current.set(listener)
    try:
        yield
    finally:
        current.reset(token)
