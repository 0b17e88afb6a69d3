"""Values that hold inside a ``with`` block, in one Python thread or task."""

from __future__ import annotations

import contextvars
from typing import Generic, TypeVar

T = TypeVar("T")


class Scoped(Generic[T]):
    """A value that blocks set: that of the innermost one which has not ended counts.

    Each is entered and left by an owner, for blocks in generators may end in any order, and also
    in another task than that in which they began.
    """

    def __init__(self, name: str, default: T):
        self._entries: contextvars.ContextVar[tuple[tuple[object, T], ...]]
        self._entries = contextvars.ContextVar(name, default=((None, default),))

    def get(self) -> T:
        return self._entries.get()[0][1]

    def enter(self, owner: object, value: T) -> None:
        self._entries.set(((owner, value), *self._entries.get()))

    def leave(self, owner: object) -> None:
        """End the owner's innermost block, if one began in this task."""
        entries = self._entries.get()
        for at, (other, _) in enumerate(entries):
            if other is owner:
                self._entries.set(entries[:at] + entries[at + 1 :])
                return
