"""Where kernels note the time of their phases, while somebody asks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np

from .address import address

# Maps of the input or copies of it; the same of the filters; products; the result.
PHASES = ("input", "weight", "multiply", "output")
INPUT, WEIGHT, MULTIPLY, OUTPUT = range(len(PHASES))
WORDS = 8  # of each worker: a cache line of its own

# Address of the ticks of all workers, [worker][word]; 0 while nobody asks.
target: ContextVar[int] = ContextVar("ticks", default=0)


@contextlib.contextmanager
def noted(ticks: np.ndarray) -> Iterator[None]:
    """Have the kernels that this Python thread runs in a ``with`` block add to ``ticks``."""
    token = target.set(address(ticks))
    try:
        yield
    finally:
        target.reset(token)
