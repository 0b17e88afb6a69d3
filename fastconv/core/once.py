"""Values that are made when first asked for, by whichever Python thread comes first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def once(made: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    """``made[key]``, made if it is not there yet.

    Of threads that make one at the same time all get the first one's, which is never replaced: a
    kernel may be running on the address of what it holds.
    """
    value = made.get(key)
    return made.setdefault(key, make()) if value is None else value
