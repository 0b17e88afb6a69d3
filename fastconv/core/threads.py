"""Running kernels on all cores: the launcher, the number of threads, and what a fork leaves.

``launch(kernel, address, workers)`` calls ``kernel(worker, address)`` for every worker from 0 on,
in parallel under whichever threading layer numba has chosen.  Workers share the work out among
themselves (by atomic counters in the words at the address), so a launch needs no barrier and also
runs one worker after the other.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from array import array

import numba
import numpy as np
from numba.core import types

from . import jit
from .dispatched import compile_cached
from .linking import runner
from .machine import cpu_count
from .once import making
from .scoped import Scoped

_NOTHING = contextlib.nullcontext()  # to enter


def serially(kernel: jit.Kernel, address: int, workers: int) -> None:
    """Call the kernel for one worker after the other."""
    words, calls = array("q", (address,)), array("q", (kernel.address, 0, workers))
    runner()(words.buffer_info()[0], 0, 0, calls.buffer_info()[0], 1)


@functools.cache
def _parallel():
    """What calls a kernel for every worker; numba's threads are there from now on."""

    def parallel(kernel, address, workers):
        for worker in numba.prange(workers):
            jit.call(kernel, worker, address)

    signature = types.void(types.int64, types.int64, types.int64)
    with making:
        numba.get_num_threads()  # starts them
        return compile_cached(parallel, signature, nogil=True, parallel=True)


class _State:
    """Process-wide: whether threads may be used, and the lock some threading layers need."""

    def __init__(self):
        self.threads = max(1, min(cpu_count(), numba.config.NUMBA_NUM_THREADS))
        self.lock: contextlib.AbstractContextManager = threading.RLock()
        self.layer: str | None = None
        self.forked = False


_state = _State()
# By the blocks that surround a call.
asked: Scoped[int | None] = Scoped("threads", None, lambda outer, own: own or outer)


def get_num_threads() -> int:
    """Threads that the next call will use."""
    if _state.forked:
        return 1
    return asked.get() or _state.threads


def set_num_threads(n: int) -> None:
    """Use ``n`` threads from now on (1 … the processors numba was started with).

    Raises ``TypeError`` if ``n`` is not an integer, ``ValueError`` if it is out of range.
    """
    _state.threads = checked(n)


@contextlib.contextmanager
def num_threads(n: int):
    """Use ``n`` threads inside a ``with`` block, in this Python thread only."""
    owner = object()
    asked.enter(owner, checked(n))
    try:
        yield
    finally:
        asked.leave(owner)


def checked(n) -> int:
    """A number of threads that there may be; ``TypeError`` or ``ValueError`` for any other."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
        raise TypeError(f"num_threads must be an int, got {n!r}")
    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= n <= most:
        raise ValueError(f"num_threads must be 1 … {most} (NUMBA_NUM_THREADS), got {n}")
    return int(n)


def threading_layer() -> str:
    """The threading layer in use: ``"omp"``, ``"tbb"``, ``"workqueue"``; ``"none"`` before one is.

    After a fork it is ``"none"`` for good: the layer's threads did not survive it.
    """
    if _state.forked:
        return "none"
    return _state.layer or "none"


@contextlib.contextmanager
def _masked(n: int):
    """Leave all but ``n`` of numba's threads asleep, which it would wake for any number of tasks.

    ``n`` is not the number of workers: some layers start threads anew where it changes.
    """
    before = numba.get_num_threads()
    numba.set_num_threads(n)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def _awake(n: int) -> contextlib.AbstractContextManager:
    return _NOTHING if n == numba.get_num_threads() else _masked(n)


def launch(kernel: jit.Kernel, address: int, workers: int) -> None:
    """Call the kernel for every worker below ``workers``, with the arguments at ``address``."""
    if workers == 1 or _state.forked:
        serially(kernel, address, workers)
        return
    with _state.lock:
        run = _parallel()
        with _awake(get_num_threads()):
            run(kernel.address, address, workers)
        if _state.layer is None:
            _state.layer = numba.threading_layer()
            if _state.layer != "workqueue":  # which aborts the process on concurrent launches
                _state.lock = _NOTHING


def launching() -> bool:
    """Whether this thread is in a launch that others would have to wait for."""
    return getattr(_state.lock, "_is_owned", bool)()  # nobody owns a lock that is none


def _after_fork() -> None:
    """In the child: the parent's worker threads are gone, and asking for them hangs or aborts."""
    try:
        numba.threading_layer()
    except ValueError:  # no thread was ever started: the child may start its own
        _state.lock = threading.RLock()  # the parent's may have been held at the fork
        return
    _state.forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
