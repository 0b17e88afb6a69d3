"""Values that hold inside a ``with`` block, in one Python thread or task."""

from __future__ import annotations

import contextvars
from typing import Generic, TypeVar

T = TypeVar("T")


class Scoped(Generic[T]):
    """A value that blocks set; when all have ended it is what it was before the first.

    (Those in generators need not end in the order in which they began.)
    """

    def __init__(self, name: str, default: T):
        self._values: contextvars.ContextVar[tuple[T, ...]] = contextvars.ContextVar(
            name, default=(default,)
        )

    def get(self) -> T:
        return self._values.get()[0]

    def enter(self, value: T) -> None:
        self._values.set((value, *self._values.get()))

    def leave(self) -> None:
        _, *outer = self._values.get()
        if outer:  # else the block began in another task
            self._values.set(tuple(outer))
