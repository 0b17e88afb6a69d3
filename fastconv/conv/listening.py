"""Who is told of every convolution that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from fastconv.core.problem import ConvProblem

from .options import Request

# (problem, what was asked for, threads), after it ran
Listener = Callable[[ConvProblem, Request, int], None]

current: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextlib.contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Tell ``listener``, too, of those that this Python thread or task runs in a ``with`` block."""
    token = current.set((*current.get(), listener))
    try:
        yield
    finally:
        current.reset(token)
