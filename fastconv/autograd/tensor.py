"""``Tensor``: an array that remembers how it was computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastconv.core import checks

from . import tape
from .arithmetic import Arithmetic
from .reductions import Reductions
from .shaping import Shaping
from .variable import Variable


class Tensor(Arithmetic, Reductions, Shaping):
    """A NumPy array with ``torch.Tensor``'s operations, and gradients.

    Parameters
    ----------
    array : array, Tensor, number, nested list, or anything with ``__dlpack__``.  An array keeps
        its dtype and is shared, not copied: ``tensor *= 2`` writes to it.  Python floats become
        float32; other floats than float32 and float64 are a ``TypeError``.
    requires_grad : record what is computed from this tensor, so that ``backward()`` of a result
        adds to ``.grad``.  Such a tensor has a copy of ``array``, for optimisers write to it.

    ``.data`` is the array; ``.grad`` is None or a Tensor, as in PyTorch.  Both give
    NumPy what it needs: ``np.asarray(t.grad)``.  Gradients are themselves not recorded, so there
    are no second derivatives.

    >>> x, y, z = (fc.Tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    >>> ((x + y) * z).backward()
    >>> x.grad.item(), y.grad.item(), z.grad.item()
    (-4.0, -4.0, 3.0)
    """

    @staticmethod
    def record(data: Any, *edges: tuple[Variable, tape.Gradient]) -> Tensor:
        result = Tensor(data)
        if tape.is_grad_enabled():
            kept = tuple((o._node, gradient) for o, gradient in edges if o._node is not None)
            if kept:
                result._node = tape.Node(kept)
        return result

    record.__doc__ = Variable.record.__doc__

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    def size(self, dim: int | None = None) -> tuple[int, ...] | int:
        """The shape, or the size of one axis: a method, as in PyTorch."""
        if dim is None:
            return self.data.shape
        checks.axis(dim, "dim", self.data.shape)
        return self.data.shape[dim]

    def numel(self) -> int:
        """The number of elements."""
        return self.data.size

    def detach(self) -> Tensor:
        """The same array in a tensor off the tape."""
        result = Tensor(self.data)
        result.owns_data = self.owns_data
        return result

    def item(self) -> float | int | bool:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"only a tensor of size 1 is a number, not one of shape {self.shape}")
        return self.data.item()

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        """So that a tensor with one integer can be an index of a sequence, or a range's end."""
        if self.data.size != 1 or self.data.dtype.kind == "f":
            raise TypeError(
                "only a tensor with one integer is an index, "
                f"not one of {self.dtype} and shape {self.shape}"
            )
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        """Of a tensor with one element, with a format of numbers, that element's."""
        return format(self.item() if spec and self.numel() == 1 else str(self), spec)

    def __repr__(self) -> str:
        numbers = np.array2string(self.data, separator=", ", prefix="tensor(")
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({numbers}, dtype={self.dtype}{grad})"
