"""Compiling without Python's garbage collector.

numba makes objects by the hundred thousand that refer to each other and live until the end.  The
collector would look through all of them hundreds of times: an eighth of the time, for nothing.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

from .locks import Lock

_lock = Lock()
_paused = False  # the collector, by this module


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """A block in which garbage is kept: one thread's at a time, and some forty megabytes."""
    global _paused
    with _lock:
        if not gc.isenabled():  # by the user, or by a block around this one
            yield
            return
        _paused = True
        gc.disable()
        try:
            yield
        finally:
            _resume()


def _resume() -> None:
    """Collect again; also in the child of a fork, whose parent may have been compiling."""
    global _paused
    if _paused:
        _paused = False
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resume)
