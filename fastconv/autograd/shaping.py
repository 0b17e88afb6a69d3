"""Other views of the same elements: reshaping, reordering axes, indexing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .variable import Variable

if TYPE_CHECKING:
    from .tensor import Tensor


def _sizes(sizes: tuple) -> tuple[int, ...]:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _is_basic(index: Any) -> bool:
    """Whether an index picks every element at most once, and without a copy."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, basic) and not isinstance(p, bool) for p in parts)


class Shaping(Variable):
    """Shapes; results share memory with the tensor where NumPy's would."""

    def reshape(self, *shape: Any) -> Tensor:
        """The elements in C order under another shape; one size may be −1."""
        x = self.data
        before = x.shape
        return self.record(x.reshape(_sizes(shape)), (self, lambda dy: dy.reshape(before)))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Axes ``start_dim`` … ``end_dim`` (both included) made one."""
        shape, rank = self.data.shape, max(self.data.ndim, 1)
        for name, dim in (("start_dim", start_dim), ("end_dim", end_dim)):
            if not -rank <= dim < rank:
                raise ValueError(f"{name} must be within −{rank} … {rank - 1}, got {dim}")
        start, end = start_dim % rank, end_dim % rank
        if start > end:
            raise ValueError(f"start_dim {start_dim} comes after end_dim {end_dim}: shape {shape}")
        merged = math.prod(shape[start : end + 1])
        return self.reshape(*shape[:start], merged, *shape[end + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order."""
        dims = _sizes(dims)
        y = self.data.transpose(dims)
        back = np.argsort([dim % y.ndim for dim in dims])
        return self.record(y, (self, lambda dy: dy.transpose(back)))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        y = self.data.swapaxes(dim0, dim1)
        return self.record(y, (self, lambda dy: dy.swapaxes(dim0, dim1)))

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.permute(*range(self.data.ndim)[::-1])

    def unsqueeze(self, dim: int) -> Tensor:
        """A new axis of size 1 at ``dim``."""
        return self.reshape(np.expand_dims(self.data, dim).shape)

    def squeeze(self, dim: int | tuple[int, ...] | None = None) -> Tensor:
        """Without the axes of size 1: all of them, or those of ``dim`` that have size 1."""
        if dim is not None:
            dims = dim if isinstance(dim, tuple) else (dim,)
            dim = tuple(d for d in dims if self.data.shape[d] == 1)
        return self.reshape(self.data.squeeze(dim).shape)

    def __getitem__(self, index: Any) -> Tensor:
        """NumPy's indexing: integers, slices, None, ``...``, masks and index arrays."""
        parts = index if isinstance(index, tuple) else (index,)
        parts = tuple(p.data if isinstance(p, Variable) else p for p in parts)
        shape = self.data.shape

        def gradient(dy: np.ndarray) -> np.ndarray:
            dx = np.zeros(shape, dy.dtype)
            if _is_basic(parts):
                dx[parts] = dy
            else:
                np.add.at(dx, parts, dy)  # an index array may name an element twice
            return dx

        # "..." makes a view also of a single element, for ``a += b`` to write to.
        ended = parts if not _is_basic(parts) or ... in parts else (*parts, ...)
        return self.record(self.data[ended], (self, gradient))
