"""Sums, means and largest elements over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from fastconv.core import checks

from .tape import Gradient
from .variable import Variable

if TYPE_CHECKING:
    from .tensor import Tensor

Axes = int | tuple[int, ...] | None


class Largest(NamedTuple):
    """What ``tensor.max(dim)`` returns, as in PyTorch."""

    values: Tensor
    indices: Tensor


class Reductions(Variable):
    """Reductions; ``dim`` is one axis, several, or None for all of them."""

    def _reduced(self, y: np.ndarray, gradient: Gradient, dim: Axes, keepdim: bool) -> Tensor:
        """Record ``y``, whose reduced axes have size 1, as they have in what ``gradient`` gets."""
        kept = y.shape
        result = y if keepdim else y.squeeze(dim)
        return self.record(result, (self, lambda dy: gradient(dy.reshape(kept))))

    def sum(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The sum over ``dim``; of integers and bools it is int64."""
        dtype = None if self.data.dtype.kind == "f" else np.int64
        y, shape = self.data.sum(axis=dim, keepdims=True, dtype=dtype), self.data.shape
        return self._reduced(y, lambda dy: np.broadcast_to(dy, shape), dim, keepdim)

    def mean(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The mean over ``dim``, of floats."""
        checks.dtype(self.data.dtype, "a tensor with a mean")
        y, shape = self.data.mean(axis=dim, keepdims=True), self.data.shape
        count = self.data.size // max(y.size, 1)
        return self._reduced(y, lambda dy: np.broadcast_to(dy / count, shape), dim, keepdim)

    def amax(self, dim: Axes = None, keepdim: bool = False) -> Tensor:
        """The largest elements over ``dim``.  Equal ones share the gradient equally."""
        x = self.data
        y = x.max(axis=dim, keepdims=True)

        def gradient(dy: np.ndarray) -> np.ndarray:
            largest = x == y
            return largest * (dy / largest.sum(axis=dim, keepdims=True, dtype=x.dtype))

        return self._reduced(y, gradient, dim, keepdim)

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
        indices = self.data.argmax(axis=dim, keepdims=True)
        shape = self.data.shape

        def gradient(dy: np.ndarray) -> np.ndarray:
            dx = np.zeros(shape, dy.dtype)
            np.put_along_axis(dx, indices, dy, dim)
            return dx

        y = np.take_along_axis(self.data, indices, dim)
        values = self._reduced(y, gradient, dim, keepdim)
        return Largest(values, self.record(indices.reshape(values.shape)))

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest element is, along ``dim`` or in the flattened tensor."""
        return self.record(np.argmax(self.data, axis=dim, keepdims=keepdim))
