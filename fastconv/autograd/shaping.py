"""Other views of the same elements: reshaping, reordering axes, indexing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.core import checks

from .variable import Variable, plain_index

if TYPE_CHECKING:
    from .tensor import Tensor


def _unpacked(arguments: tuple) -> tuple:
    """``f(2, 3)`` and ``f((2, 3))`` mean the same."""
    one = len(arguments) == 1 and isinstance(arguments[0], (tuple, list))
    return tuple(arguments[0]) if one else arguments


def axes(value: Any, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One axis, or several that differ, counted from the front; one number may count as an axis."""
    given = value if isinstance(value, (tuple, list)) else (value,)
    for one in given:
        checks.axis(one, name, shape or (1,))
    found = tuple(int(one) % max(len(shape), 1) for one in given)
    if len(set(found)) < len(found):
        raise ValueError(f"{name} must name axes of shape {shape} once, got {value!r}")
    return found if shape else ()


def _check_sizes(sizes: tuple, shape: tuple[int, ...]) -> None:
    """Refuse a shape that does not have the elements of ``shape``; one size may be −1."""
    wanted = [checks.integer(size, "shape", -1, 63) for size in sizes]
    known = math.prod(size for size in wanted if size != -1)
    free, count = wanted.count(-1), math.prod(shape)
    fits = known == count if not free else free == 1 and known > 0 and count % known == 0
    if not fits:
        raise ValueError(f"shape must have the {count} elements of shape {shape}, got {sizes}")


def _is_basic(index: Any) -> bool:
    """Whether an index picks every element at most once, and without a copy."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(...))
    return all(isinstance(p, basic) and not isinstance(p, bool) for p in parts)


class Shaping(Variable):
    """Shapes; results share memory with the tensor where NumPy's would."""

    def reshape(self, *shape: Any) -> Tensor:
        """The elements in C order under another shape; one size may be −1."""
        x, sizes = self.data, _unpacked(shape)
        before = x.shape
        _check_sizes(sizes, before)
        return self.record(x.reshape(sizes), (self, lambda dy: dy.reshape(before)))

    def view(self, *shape: Any) -> Tensor:
        """As :meth:`reshape`, of memory that allows it without a copy (else ``ValueError``)."""
        result = self.reshape(*shape)
        if result.numel() and not np.may_share_memory(result.data, self.data):
            raise ValueError(
                f"view cannot give the memory of shape {self.data.shape} and strides "
                f"{self.data.strides} the shape {result.shape}: use reshape()"
            )
        return result

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Axes ``start_dim`` … ``end_dim`` (both included) made one."""
        shape, rank = self.data.shape, max(self.data.ndim, 1)
        checks.axis(start_dim, "start_dim", shape or (1,))
        checks.axis(end_dim, "end_dim", shape or (1,))
        start, end = start_dim % rank, end_dim % rank
        if start > end:
            raise ValueError(f"start_dim {start_dim} comes after end_dim {end_dim}: shape {shape}")
        merged = math.prod(shape[start : end + 1])
        return self.reshape(*shape[:start], merged, *shape[end + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        """The axes in another order."""
        shape = self.data.shape
        order = axes(_unpacked(dims), "dims", shape)
        if len(order) != len(shape):
            raise ValueError(f"dims must name every axis of shape {shape}, got {_unpacked(dims)}")
        y = self.data.transpose(order)
        back = np.argsort(order)
        return self.record(y, (self, lambda dy: dy.transpose(back)))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged."""
        checks.axis(dim0, "dim0", self.data.shape)
        checks.axis(dim1, "dim1", self.data.shape)
        y = self.data.swapaxes(dim0, dim1)
        return self.record(y, (self, lambda dy: dy.swapaxes(dim0, dim1)))

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return self.permute(*range(self.data.ndim)[::-1])

    def unsqueeze(self, dim: int) -> Tensor:
        """A new axis of size 1 at ``dim`` of the result."""
        checks.axis(dim, "dim", (*self.data.shape, 1))
        return self.reshape(np.expand_dims(self.data, dim).shape)

    def squeeze(self, dim: int | tuple[int, ...] | None = None) -> Tensor:
        """Without the axes of size 1: all of them, or those of ``dim`` that have size 1."""
        shape = self.data.shape
        if dim is not None:
            dim = tuple(d for d in axes(dim, "dim", shape) if shape[d] == 1)
        return self.reshape(self.data.squeeze(dim).shape)

    def __getitem__(self, index: Any) -> Tensor:
        """NumPy's indexing: integers, slices, None, ``...``, masks and index arrays."""
        parts, shape = plain_index(index), self.data.shape

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
