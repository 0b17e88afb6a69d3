"""Locks that neither a fork nor a signal turns into a wait without end."""

from __future__ import annotations

import os
import threading


class Lock:
    """For ``with`` blocks.

    The thread that holds it may take it again: its signal handlers run in between.  The child of a
    fork finds it open: whoever held it is not there.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
