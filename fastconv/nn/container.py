"""Modules made of a list of modules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, overload

from .module import Module


class Sequential(Module):
    """Modules one after another: ``Sequential(a, b)`` or ``Sequential(OrderedDict(first=a))``.

    Takes integer indices, slices and ``len``, and can be iterated over, as a list.
    """

    def __init__(self, *modules: Any):
        named = dict(enumerate(modules))
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0]
        for name, module in named.items():
            self._add(str(name), module)

    def _add(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"module {name!r} must be a Module, got {type(module).__name__}")
        self._check_free(name, "module")
        setattr(self, name, module)

    def _named(self) -> list[tuple[str, Module]]:
        """All of them, also one that comes twice."""
        return [(name, value) for name, value in vars(self).items() if isinstance(value, Module)]

    def append(self, module: Module) -> Sequential:
        """Add a module at the end; its name is the first number from the length on that is free."""
        free = (str(n) for n in count(len(self)) if not hasattr(self, str(n)))
        self._add(next(free), module)
        return self

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input

    def __len__(self) -> int:
        return len(self._named())

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self._named())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(dict(self._named()[index]))
        return self._named()[index][1]
