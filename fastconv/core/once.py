"""Values that are made when first asked for, by whichever Python thread comes first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from .locks import Unbroken

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

making = Unbroken("making kernels")


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


class made_once:  # noqa: N801: a decorator
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
