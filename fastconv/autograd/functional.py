"""The functions that layers are made of, recorded: ``torch.nn.functional`` on tensors.

Each takes tensors or arrays, calls the forward of an array operation, and says which backward gives
the gradient of which operand.  A backward runs only if somebody needs its gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.conv import functions
from fastconv.core import checks
from fastconv.core.argument_types import Size
from fastconv.ops import max_pooling
from fastconv.ops.avg_pooling import avg_pool2d_backward, avg_pool2d_forward
from fastconv.ops.broadcast import channel_bias_backward
from fastconv.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from fastconv.ops.linear import (
    linear_backward_bias,
    linear_backward_input,
    linear_backward_weight,
    linear_forward,
)
from fastconv.ops.padding import Pads, check_fill, pad_backward, pad_forward
from fastconv.ops.softmax import (
    log_softmax_backward,
    log_softmax_forward,
    softmax_backward,
    softmax_forward,
)

from .tape import is_grad_enabled
from .tensor import Tensor
from .variable import Variable


def _tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray) and not hasattr(value, "__dlpack__"):
        raise TypeError(f"{name} must be a Tensor or an array, got {type(value).__name__}")
    return Tensor(value)


def _constant(value: Any, name: str) -> np.ndarray:
    """The array of an operand that gets no gradient here."""
    tensor = _tensor(value, name)
    if tensor.requires_grad:
        raise ValueError(f"{name} must not require a gradient; use detach()")
    return tensor.data


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
) -> Tensor:
    """Convolution of images (N, C, H, W) or (C, H, W), see :func:`fastconv.conv2d`.

    The keywords hold for the forward and for both backward passes.
    """
    x, w = _tensor(input, "input"), _tensor(weight, "weight")
    xd, wd, x_shape, w_shape = x.data, w.data, x.shape, w.shape
    geometry = (stride, padding, dilation, groups)
    asked: dict[str, Any] = {
        "algorithm": algorithm, "accuracy": accuracy, "max_workspace": max_workspace
    }  # fmt: skip

    def input_gradient(dy: np.ndarray) -> np.ndarray:
        return functions.conv2d_input(x_shape, wd, ordered(dy), *geometry, **asked)

    def weight_gradient(dy: np.ndarray) -> np.ndarray:
        return functions.conv2d_weight(xd, w_shape, dy, *geometry, **asked)

    edges: list[tuple[Variable, Any]] = [(x, input_gradient), (w, weight_gradient)]
    if bias is not None:
        bias = _tensor(bias, "bias")
        edges.append((bias, channel_bias_backward))
        bias = bias.data
    y = functions.conv2d(xd, wd, bias, *geometry, **asked)
    ordered = _order_of(y)
    return Tensor.record(y, *edges)


def _order_of(y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What gives a gradient of ``y`` its memory order: NumPy forgets that of a single channel."""
    if y.ndim < 4 or y.shape[1] > 1 or y.strides[1] > y.itemsize:
        return lambda dy: dy
    return lambda dy: np.moveaxis(dy.reshape(*dy.shape[:1], *dy.shape[2:], 1), -1, 1)


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """y = input · weightᵀ + bias: input (…, C), weight (K, C), bias (K,), y (…, K)."""
    x, w = _tensor(input, "input"), _tensor(weight, "weight")
    b = None if bias is None else _tensor(bias, "bias")
    xd, wd, bd = x.data, w.data, None if b is None else b.data
    y = linear_forward(xd, wd, bd)
    edges: list[tuple[Variable, Any]] = [
        (x, lambda dy: linear_backward_input(dy, wd)),
        (w, lambda dy: linear_backward_weight(dy, xd)),
    ]
    if b is not None:
        edges.append((b, linear_backward_bias))
    return Tensor.record(y, *edges)


def relu(input: Any) -> Tensor:
    """max(input, 0)."""
    return _tensor(input, "input").relu()


def sigmoid(input: Any) -> Tensor:
    """1 / (1 + e^−input)."""
    return _tensor(input, "input").sigmoid()


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return _tensor(input, "input").tanh()


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Axes ``start_dim`` … ``end_dim`` made one."""
    return _tensor(input, "input").flatten(start_dim, end_dim)


def _scores(input: Any, dim: int) -> Tensor:
    """``input`` of a softmax along ``dim``."""
    x = _tensor(input, "input")
    checks.dtype(x.dtype, "input")
    checks.axis(dim, "dim", x.shape)
    return x


def softmax(input: Any, dim: int) -> Tensor:
    """e^input / Σ e^input along ``dim``."""
    x = _scores(input, dim)
    y = softmax_forward(x.data, dim)
    return Tensor.record(y, (x, lambda dy: softmax_backward(dy, y, dim)))


def log_softmax(input: Any, dim: int) -> Tensor:
    """input − log Σ e^input along ``dim``."""
    x = _scores(input, dim)
    y = log_softmax_forward(x.data, dim)
    return Tensor.record(y, (x, lambda dy: log_softmax_backward(dy, y, dim)))


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy of scores and classes or probabilities.

    Arguments as in :func:`fastconv.ops.cross_entropy.cross_entropy_forward`.
    """
    x, t = _tensor(input, "input"), _constant(target, "target")
    w = None if weight is None else _constant(weight, "weight")
    loss, saved = cross_entropy_forward(x.data, t, w, ignore_index, reduction, label_smoothing)
    return Tensor.record(loss, (x, lambda dy: cross_entropy_backward(dy, saved)))


def max_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest element of every window, see :func:`fastconv.max_pool2d`."""
    x = _tensor(input, "input")
    window = (kernel_size, stride, padding, dilation, ceil_mode)
    if not return_indices and not (x.requires_grad and is_grad_enabled()):
        return Tensor(max_pooling.max_pool2d(x.data, *window))
    y, indices = max_pooling.max_pool2d_forward(x.data, *window)
    shape = x.shape
    result = Tensor.record(y, (x, lambda dy: max_pooling.max_pool2d_backward(dy, indices, shape)))
    return (result, Tensor(indices)) if return_indices else result


def avg_pool2d(
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window, see :func:`fastconv.avg_pool2d`."""
    x = _tensor(input, "input")
    window = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    y, shape = avg_pool2d_forward(x.data, *window), x.shape
    return Tensor.record(y, (x, lambda dy: avg_pool2d_backward(dy, shape, *window)))


def _cropped(x: Tensor, pads: Pads) -> tuple[Tensor, Pads]:
    """``x`` without what negative pads take away, and the others."""
    for n, (before, after) in zip(x.shape, pads, strict=True):
        if n + min(before, 0) + min(after, 0) < 0:
            raise ValueError(f"pad {(before, after)} takes more than the {n} elements of {x.shape}")
    inside = tuple(
        slice(max(-before, 0), n + min(after, 0))
        for n, (before, after) in zip(x.shape, pads, strict=True)
    )
    return x[inside], tuple((max(before, 0), max(after, 0)) for before, after in pads)


def pad(
    input: Any, pad: tuple[int, ...], mode: str = "constant", value: float | None = None
) -> Tensor:
    """A border around the last axes, as ``torch.nn.functional.pad``.

    ``pad`` counts elements before and after, the last axis first: (left, right, top, bottom).
    ``mode`` is ``"constant"`` (of ``value``, or 0), ``"reflect"``, ``"replicate"`` or
    ``"circular"``.  Negative counts, in mode ``"constant"``, take elements away.
    """
    x = _tensor(input, "input")
    value = 0 if value is None else value
    check_fill(value, x.dtype)
    if value and mode != "constant":
        raise ValueError(f"value {value!r} needs mode 'constant', got mode {mode!r}")
    if not isinstance(pad, (tuple, list)) or len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad must be pairs of ints for at most {x.ndim} axes, got {pad!r}")
    counts = checks.integers(pad, "pad", len(pad), -(2**31) if mode == "constant" else 0)
    pairs = list(zip(counts[::2], counts[1::2], strict=True))[::-1]
    pads = ((0, 0),) * (x.ndim - len(pairs)) + tuple(pairs)
    if min(counts, default=0) < 0:
        x, pads = _cropped(x, pads)
    y = pad_forward(x.data, pads, mode, value)
    return Tensor.record(y, (x, lambda dy: pad_backward(dy, pads, mode)))
