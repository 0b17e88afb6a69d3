"""Values that are made when first asked for, by whichever Python thread comes first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from .locks import Unbroken

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

making = Unbroken("making kernels")
_PATIENCE = 60.0  # seconds


def once(made: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """``made[key]``, made if it is not there yet.

    Of threads that make one at the same time all get the first one's, which is never replaced: a
    kernel may be running on the address of what it holds.
    """
    value = made.get(key)
    if value is None:
        with making:
            value = made.setdefault(key, make())
    return value


class made_once:
    """A property that is made :func:`once`.

    It is like ``functools.cached_property``, which in Python 3.11 has a lock for all objects of a
    class: two threads could not compile for two plans, and the child of a fork find it closed.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if getattr(type(instance), self._name) is not self:  # by ``super()``
            return self._make(instance)
        return once(vars(instance), self._name, lambda: self._make(instance))


class _Turn(Generic[Value]):
    """One thread's, at one value.

    Others wait for a lock, for an event has one inside that a signal handler might wait for, which
    has interrupted a thread that holds it.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.value: Value | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def end(self) -> None:
        self._lock.release()

    def wait(self) -> bool:
        """Whether it was over soon enough."""
        if not self._lock.acquire(timeout=_PATIENCE):
            return False
        self._lock.release()
        return True


class Joint(Generic[Value]):
    """Values for several threads at once: whoever is second waits for what the first one makes.

    A thread that is making one already, and whose signal handler or destructor asks for another,
    does not wait: the other thread might be waiting for it.  Nor does the child of a fork, nor
    anybody for long: the first one may wait for the second by other means.
    """

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn[Value]] = {}
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._turns.clear)

    def value(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """That of ``key``; what nobody is making now is made anew."""
        if any(turn.thread == threading.get_ident() for turn in list(self._turns.values())):
            return make()
        own: _Turn[Value] = _Turn()
        try:
            turn = self._turns.setdefault(key, own)
            if turn is own:
                own.value = make()
                return own.value
        finally:
            try:
                self._forget(key, own)
            finally:
                own.end()
        over = turn.wait()
        if over and turn.value is not None:
            return turn.value
        self._forget(key, turn)  # if it is still there, for an interrupt or for being too slow
        if not over:
            key = (key, threading.get_ident())  # a turn of its own, for what interrupts this thread
        return self.value(key, make)  # after an error one of those who waited makes it

    def _forget(self, key: Hashable, turn: _Turn[Value]) -> None:
        if self._turns.get(key) is turn:
            self._turns.pop(key, None)
