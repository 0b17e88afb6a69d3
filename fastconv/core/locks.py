"""What keeps threads apart, and that neither a fork nor a signal turns into a wait without end."""

from __future__ import annotations

import os
import threading
import time

_PATIENCE = 30.0  # seconds that a fork waits at most
_PAUSE = 0.001


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


class Unbroken:
    """For ``with`` blocks that no fork should break off: it waits for other threads' end.

    In the child they would never go on, and the locks that they held would stay closed.  Should a
    fork not have been able to wait, because it came in a signal handler that some thread waits for,
    say, the child gets a ``RuntimeError`` where it enters a block.  Any number of threads may be in
    blocks at once, and each in several, one within the other.
    """

    def __init__(self, activity: str) -> None:
        self._activity = activity
        self._inside: list[int] = []  # a thread for each block; lists change in one step
        self._forking: list[int] = []  # the threads that are
        self._broken = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._await, after_in_parent=self._go_on, after_in_child=self._leave
            )

    @property
    def entered(self) -> bool:
        """Whether this thread is in a block."""
        return threading.get_ident() in self._inside

    def __enter__(self) -> None:
        if self._broken:
            raise RuntimeError(
                f"this process was forked while another Python thread was {self._activity}, "
                "and so cannot; fork before or after that, or start processes by 'spawn'"
            )
        thread, nested = threading.get_ident(), self.entered
        while True:
            while not nested and self._others(self._forking):
                time.sleep(_PAUSE)
            self._inside.append(thread)
            if nested or not self._others(self._forking):
                return
            self._inside.remove(thread)  # a fork began meanwhile

    def __exit__(self, *error: object) -> None:
        self._inside.remove(threading.get_ident())

    @staticmethod
    def _others(threads: list[int]) -> bool:
        return any(thread != threading.get_ident() for thread in threads)

    def _await(self) -> None:
        self._forking.append(threading.get_ident())
        end = time.monotonic() + _PATIENCE
        while self._others(self._inside) and time.monotonic() < end:
            time.sleep(_PAUSE)

    def _go_on(self) -> None:
        self._forking.remove(threading.get_ident())

    def _leave(self) -> None:
        """In the child: of all threads only this one is there."""
        self._broken = self._broken or self._others(self._inside)
        self._inside = [thread for thread in self._inside if thread == threading.get_ident()]
        self._forking = []
