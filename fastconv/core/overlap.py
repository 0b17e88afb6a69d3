"""First runs, two at a time: while LLVM compiles for one of them, numba does for the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TypeVar

from . import threads
from .once import making

Result = TypeVar("Result")


def overlapped(runs: Iterable[Callable[[], Result]]) -> list[Result]:
    """What each of the ``runs`` returns, in order; they must not depend on each other.

    A second thread takes part, unless this one is needed to let go of a lock first: it may be in a
    signal handler, or a destructor, that interrupted making kernels, or launching them.
    """
    tasks = list(enumerate(runs))
    waiting = iter(tasks)
    results: dict[int, Result] = {}
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for index, run in waiting:
                results[index] = run()
        finally:
            for _ in waiting:  # after an error nothing more is begun
                pass

    def help_out() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    helper = threading.Thread(target=copy_context().run, args=(help_out,))
    helped = len(tasks) > 1 and not (making.entered or threads.launching()) and _start(helper)
    try:
        work()
    finally:
        if helped:
            helper.join()
    if errors:
        raise errors[0]
    return [results[index] for index, _ in tasks]


def _start(thread: threading.Thread) -> bool:
    try:
        thread.start()
    except RuntimeError:  # the system grants no more threads, or the process is about to end
        return False
    return True
