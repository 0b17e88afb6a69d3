"""Max pooling and its gradient."""

from __future__ import annotations

import functools
from typing import Literal, overload

import numpy as np

from fastconv.core import checks, threads
from fastconv.core.argument_types import Array, Size
from fastconv.simd.pooling import MAXIMUM, MAXIMUM_POSITION

from ._arrays import empty, gradient
from ._pooling import PoolingPlan
from ._scatter import scatter
from ._windows import axes, flag


@overload
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> np.ndarray: ...
@overload
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...
@overload
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...
def max_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Maximum of every window, as ``torch.nn.functional.max_pool2d``.

        y[n,c,p,q] = max_{r,s} x[n, c, p·stride+r·dilation−padding, …]

    The padding counts as −∞.  A NaN in the window gives NaN.

    Parameters
    ----------
    input : array (N, C, H, W) or (C, H, W), float32 or float64, in any memory order
    kernel_size : int or (int, int)
    stride : int or (int, int); None is ``kernel_size``
    padding : int or (int, int), at most half of ``kernel_size``
    dilation : int or (int, int)
    ceil_mode : count a last window that hangs over the padding
    return_indices : also return where the maxima are

    Returns
    -------
    array (N, C, P, Q) or (C, P, Q) in the memory order of ``input``,
    P = (H + 2·padding − dilation·(kernel_size−1) − 1) // stride + 1, rounded up with ``ceil_mode``;
    with ``return_indices`` also an int64 array of that shape: h·W + w of the first maximum in the
    window, or of its last NaN, as in PyTorch; −1 where dilation lets a window miss the input.

    Raises
    ------
    TypeError, ValueError : naming the argument, before any work.
    """
    arguments = (input, kernel_size, stride, padding, dilation, ceil_mode)
    if flag(return_indices, "return_indices"):
        return max_pool2d_forward(*arguments)
    return _pool(MAXIMUM, *arguments)[0]


def max_pool2d_forward(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The maxima and their ``indices``, which :func:`max_pool2d_backward` needs."""
    return _pool(MAXIMUM_POSITION, input, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d_backward(dy, indices, input_shape):
    """Gradient of :func:`max_pool2d` with respect to its input.

        dx[n,c,indices[n,c,p,q]] += dy[n,c,p,q]

    ``dy`` (N, C, P, Q) or (C, P, Q) is the gradient of the result, ``indices`` (the same shape)
    are the forward pass's, ``input_shape`` is the shape of the input.  The memory order of dx is
    that of ``dy``.  Where windows overlap, sums are in the order of the windows, so results do not
    vary between runs.
    """
    dy, size = gradient(dy, input_shape)
    indices = _indices(indices, dy)
    if len(size) == 3:
        return max_pool2d_backward(dy[None], indices[None], (1, *size))[0]
    return scatter(dy, indices, size)


def _indices(indices, dy: np.ndarray) -> np.ndarray:
    if not isinstance(indices, np.ndarray) or indices.dtype != np.int64:
        kind = getattr(indices, "dtype", type(indices).__name__)
        raise TypeError(f"indices must be an int64 array, got {kind}")
    if indices.shape != dy.shape:
        raise ValueError(f"indices must have the shape of dy, {dy.shape}, got {indices.shape}")
    return np.require(indices, requirements="A")


def _pool(operation, input, kernel_size, stride, padding, dilation, ceil_mode):
    """(y, positions), the latter None for ``MAXIMUM``."""
    x = checks.array(input, "input", (3, 4))
    if x.ndim == 3:
        results = _pool(operation, x[None], kernel_size, stride, padding, dilation, ceil_mode)
        return tuple(None if result is None else result[0] for result in results)
    rows, columns = axes(x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    x, order = checks.dense(x)
    plan = _plan(operation, x.shape, x.itemsize, order, rows, columns, threads.get_num_threads())
    y = empty(plan.shape, x.dtype, order)
    positions = empty(plan.shape, np.int64, order) if operation == MAXIMUM_POSITION else None
    if y.size:
        plan.run(x, y, positions)
    return y, positions


@functools.lru_cache(maxsize=1024)
def _plan(operation, shape, itemsize, order, rows, columns, threads):
    return PoolingPlan(
        operation, shape, itemsize, order, rows.windows(), columns.windows(), threads
    )
