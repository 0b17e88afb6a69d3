"""Sums, means and largest elements over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from fastconv.core import checks

from .shaping import axes
from .tape import Gradient
from .variable import Variable

if TYPE_CHECKING:
    from .tensor import Tensor

Axes = int | tuple[int, ...] | list[int] | None


class Largest(NamedTuple):
    """What ``tensor.max(dim)`` returns, as in PyTorch."""

    values: Tensor
    indices: Tensor


class Reductions(Variable):
    """Reductions; ``dim`` is one axis, several, or None or () for all of them."""

    def _axes(self, dim: Axes, keepdim: bool) -> tuple[int, ...] | None:
        """``dim`` as NumPy wants it, both arguments checked."""
        checks.flag(keepdim, "keepdim")
        everything = dim is None or (isinstance(dim, (tuple, list)) and not dim)
        return None if everything else axes(dim, "dim", self.data.shape)

    def _reduced(
        self, y: np.ndarray, gradient: Gradient, axis: tuple[int, ...] | None, keepdim: bool
    ) -> Tensor:
        """Record ``y``, whose reduced axes have size 1, as they have in what ``gradient`` gets."""
        kept = y.shape
        result = y if keepdim else y.squeeze(axis)
        return self.record(result, (self, lambda dy: gradient(dy.reshape(kept))))

    def sum(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The sum over ``dim``; of integers and bools it is int64."""
        dtype = None if self.data.dtype.kind == "f" else np.int64
        axis, shape = self._axes(dim, keepdim), self.data.shape
        y = self.data.sum(axis=axis, keepdims=True, dtype=dtype)
        return self._reduced(y, lambda dy: np.broadcast_to(dy, shape), axis, keepdim)

    def mean(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The mean over ``dim``, of floats."""
        checks.dtype(self.data.dtype, "a tensor with a mean")
        axis, shape = self._axes(dim, keepdim), self.data.shape
        y = self.data.mean(axis=axis, keepdims=True)
        count = self.data.size // max(y.size, 1)
        return self._reduced(y, lambda dy: np.broadcast_to(dy / count, shape), axis, keepdim)

    def amax(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The largest elements over ``dim``.  Equal ones share the gradient equally."""
        x, axis = self.data, self._axes(dim, keepdim)
        y = x.max(axis=axis, keepdims=True)

        def gradient(dy: np.ndarray) -> np.ndarray:
            largest = x == y
            return largest * (dy / largest.sum(axis=axis, keepdims=True, dtype=x.dtype))

        return self._reduced(y, gradient, axis, keepdim)

    @overload
    def max(self, dim: None = None, keepdim: bool = False) -> Tensor: ...
    @overload
    def max(self, dim: int, keepdim: bool = False) -> Largest: ...
    def max(self, dim=None, keepdim=False):
        """The largest element; with ``dim``, a pair (values, indices) along it.

        Of equal elements the pair takes the first, and its gradient goes there.
        """
        if dim is None:
            return self.amax(None, keepdim)
        checks.axis(dim, "dim", self.data.shape or (1,))
        checks.flag(keepdim, "keepdim")
        if not self.data.ndim:
            return Largest(self.amax(None), self.record(np.zeros((), np.int64)))
        indices = self.data.argmax(axis=dim, keepdims=True)
        shape = self.data.shape

        def gradient(dy: np.ndarray) -> np.ndarray:
            dx = np.zeros(shape, dy.dtype)
            np.put_along_axis(dx, indices, dy, dim)
            return dx

        y = np.take_along_axis(self.data, indices, dim)
        values = self._reduced(y, gradient, (dim,), keepdim)
        return Largest(values, self.record(indices.reshape(values.shape)))

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest element is, along ``dim`` or in the flattened tensor."""
        if dim is not None:
            checks.axis(dim, "dim", self.data.shape or (1,))
        checks.flag(keepdim, "keepdim")
        return self.record(np.argmax(self.data, axis=dim, keepdims=keepdim))
