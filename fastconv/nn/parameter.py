"""What a module owns: parameters, which are learned, and buffers, which are only kept."""

from __future__ import annotations

from typing import Any

from fastconv.autograd import Tensor


class Parameter(Tensor):
    """A tensor that a module learns.  It holds a copy of ``data``."""

    owns_data = True

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data)
        self._data = self._data.copy(order="K")  # optimisers write to it
        self.requires_grad = requires_grad

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"


class Buffer(Tensor):
    """A tensor that is part of a module's state and not learned, such as a running mean.

    It holds a copy of ``data``, which ``*=`` and its kin write to.  One that is not ``persistent``
    stays out of the ``state_dict``.
    """

    owns_data = True

    def __init__(self, data: Any, *, persistent: bool = True):
        super().__init__(data)
        self._data = self._data.copy(order="K")
        self.persistent = persistent
