"""Values that hold inside a ``with`` block, in one Python thread or task."""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Scoped(Generic[T]):
    """A value to which each block adds its own: ``combine(outer, own)``, from the default on.

    Blocks are entered and left by an owner, for those in generators may end in any order, and also
    in another task than that in which they began.
    """

    def __init__(self, name: str, default: T, combine: Callable[[T, Any], T]):
        self._default, self._combine = default, combine
        # The value, and the blocks that it is made of, the innermost first.
        self._state: contextvars.ContextVar[tuple[T, tuple[tuple[object, Any], ...]]]
        self._state = contextvars.ContextVar(name, default=(default, ()))

    def get(self) -> T:
        return self._state.get()[0]

    def enter(self, owner: object, own: Any) -> None:
        self._set(((owner, own), *self._state.get()[1]))

    def leave(self, owner: object) -> None:
        """End the owner's innermost block, if one began in this task."""
        blocks = self._state.get()[1]
        for at, (other, _) in enumerate(blocks):
            if other is owner:
                self._set(blocks[:at] + blocks[at + 1 :])
                return

    def _set(self, blocks: tuple[tuple[object, Any], ...]) -> None:
        owns = [own for _, own in reversed(blocks)]
        self._state.set((functools.reduce(self._combine, owns, self._default), blocks))


_LATER = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)


def inside(block: AbstractContextManager, function: Callable[P, T]) -> Callable[P, T]:
    """``function`` in such a block (``TypeError`` for what does not run when it is called)."""
    if inspect.isclass(function) or not callable(function):
        raise TypeError(f"only functions can be decorated, got {function!r:.60}")
    if any(later(function) for later in _LATER):
        raise TypeError(f"{function!r:.60} runs after its call: use with inside of it")

    @functools.wraps(function)
    def run(*arguments: P.args, **named: P.kwargs) -> T:
        with block:
            return function(*arguments, **named)

    return run
