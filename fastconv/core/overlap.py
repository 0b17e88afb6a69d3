"""First runs, two at a time: while LLVM compiles for one of them, numba does for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


def overlapped(runs: Iterable[Callable[[], Result]]) -> list[Result]:
    """What each of the ``runs`` returns, in order; they must not depend on each other."""
    runs = list(runs)
    try:
        with ThreadPoolExecutor(2) as pool:
            started = [pool.submit(copy_context().run, run) for run in runs]
    except RuntimeError:  # the system grants no more threads, or the process is about to end
        return [run() for run in runs]
    return [run.result() for run in started]
