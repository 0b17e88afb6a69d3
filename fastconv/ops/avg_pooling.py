"""Average pooling and its gradient."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core import checks, threads
from fastconv.core.argument_types import Array, Size
from fastconv.simd.pooling import AVERAGE

from ._arrays import empty, gradient
from ._pooling import PoolingPlan
from ._windows import Axis, axes, flag


def avg_pool2d(
    input: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """Average of every window, as ``torch.nn.functional.avg_pool2d``.

        y[n,c,p,q] = Σ_{r,s} x[n, c, p·stride+r−padding, …] / divisor

    The divisor is the size of the window, without what ``ceil_mode`` lets hang over the padding,
    and without the padding too unless ``count_include_pad``.

    Parameters
    ----------
    input : array (N, C, H, W) or (C, H, W), float32 or float64, in any memory order
    kernel_size : int or (int, int)
    stride : int or (int, int); None is ``kernel_size``
    padding : int or (int, int), at most half of ``kernel_size``
    ceil_mode : count a last window that hangs over the padding
    count_include_pad : zeros of the padding count in the divisor
    divisor_override : int other than 0, the divisor of every window

    Returns
    -------
    array (N, C, P, Q) or (C, P, Q) in the memory order of ``input``,
    P = (H + 2·padding − kernel_size) // stride + 1, rounded up with ``ceil_mode``.

    Raises
    ------
    TypeError, ValueError : naming the argument, before any work.
    """
    x = checks.array(input, "input", (3, 4))
    if x.ndim == 3:
        return avg_pool2d(
            x[None], kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        )[0]
    rows, columns = axes(x.shape, kernel_size, stride, padding, 1, ceil_mode)
    include_pad = flag(count_include_pad, "count_include_pad")
    divisor = _divisor(divisor_override)
    x, order = checks.dense(x)
    plan = _forward_plan(
        x.shape, x.itemsize, order, rows, columns, include_pad, divisor, threads.get_num_threads()
    )
    y = empty(plan.shape, x.dtype, order)
    if y.size:
        plan.run(x, y)
    return y


avg_pool2d_forward = avg_pool2d


def avg_pool2d_backward(
    dy,
    input_shape,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    """Gradient of :func:`avg_pool2d` with respect to its input.

        dx[n,c,h,w] = Σ_{p,q: (h,w) in the window} dy[n,c,p,q] / divisor[p,q]

    ``dy`` (N, C, P, Q) or (C, P, Q) is the gradient of the result, ``input_shape`` the shape of the
    input; the other arguments are those of the forward pass.  The memory order of dx is that of
    ``dy``.  Each dx is summed in the order of the windows, so results do not vary between runs.
    """
    dy, size = gradient(dy, input_shape)
    if len(size) == 3:
        return avg_pool2d_backward(
            dy[None], (1, *size), kernel_size, stride, padding, ceil_mode, count_include_pad,
            divisor_override,
        )[0]  # fmt: skip
    rows, columns = axes(size, kernel_size, stride, padding, 1, ceil_mode, "input_shape")
    include_pad = flag(count_include_pad, "count_include_pad")
    divisor = _divisor(divisor_override)
    expected = (*size[:2], rows.outputs, columns.outputs)
    if dy.shape != expected:
        raise ValueError(f"dy must have shape {expected}, got {dy.shape} (input_shape {size})")
    dy, order = checks.dense(dy)
    plan, divisors = _backward_plan(
        dy.shape, dy.itemsize, order, rows, columns, include_pad, divisor,
        threads.get_num_threads(),
    )  # fmt: skip
    dx = empty(size, dy.dtype, order)
    if dx.size:
        if divisors is not None:
            dy = np.divide(dy, divisors, out=empty(dy.shape, dy.dtype, order))
        plan.run(dy, dx)
    return dx


def _divisor(override) -> int | None:
    if override is None:
        return None
    override = checks.integer(override, "divisor_override", -(2**31))
    if override == 0:
        raise ValueError("divisor_override must not be 0")
    return override


def _divisors(
    rows: Axis, columns: Axis, include_pad: bool, override: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Factors whose outer product is what each window is divided by."""
    if override is not None:
        return np.array([override]), np.array([1])
    return rows.extents(include_pad), columns.extents(include_pad)


@functools.lru_cache(maxsize=1024)
def _forward_plan(shape, itemsize, order, rows, columns, include_pad, override, threads):
    heights, widths = _divisors(rows, columns, include_pad, override)
    rows, columns = rows.windows(heights), columns.windows(widths)
    return PoolingPlan(AVERAGE, shape, itemsize, order, rows, columns, threads)


@functools.lru_cache(maxsize=1024)
def _backward_plan(shape, itemsize, order, rows, columns, include_pad, override, threads):
    """The plan, and what dy is to be divided by first unless all windows have one divisor."""
    heights, widths = _divisors(rows, columns, include_pad, override)
    divisors = np.multiply.outer(heights, widths)
    uniform = divisors.min() == divisors.max()
    rows, columns = rows.readers(divisors[0, 0] if uniform else 1), columns.readers()
    plan = PoolingPlan(AVERAGE, shape, itemsize, order, rows, columns, threads)
    return plan, None if uniform else divisors.astype(f"f{itemsize}")
