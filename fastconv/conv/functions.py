"""The public array functions: check the arguments, state the problem, run its plan."""

from __future__ import annotations

import math

import numpy as np

from fastconv.core import checks, threads, workspace
from fastconv.core.argument_types import Array, Shape, Size

from . import listening
from .arguments import bias_of, problem_of, same_shape, transposed_size
from .options import request
from .selector import plan_for

_MANY = 1 << 28  # elements of a result, which take a while to plan


def _rectifies(activation) -> bool:
    """Whether negative results become 0; ``ValueError`` for what is no activation."""
    if activation is not None and not (isinstance(activation, str) and activation == "relu"):
        raise ValueError(f"activation must be None or 'relu', got {activation!r}")
    return activation is not None


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Two-dimensional convolution (cross-correlation), as ``torch.nn.functional.conv2d``.

        y[n,k,p,q] = bias[k] + Σ_{c,r,s} x[n, c, p·stride+r·dilation−padding, …] · weight[k,c,r,s]

    Parameters
    ----------
    input : array (N, C, H, W) or (C, H, W), float32 or float64, in any memory order
    weight : array (K, C/groups, R, S)
    bias : array (K,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), ``"valid"`` or ``"same"`` (stride 1; an odd surplus goes to the
        bottom and right)
    groups : int
    algorithm : one of :func:`fastconv.algorithms`; ``"auto"`` for that of the surrounding
        :func:`fastconv.options` or, if that has none either, the fastest
    accuracy, max_workspace : as in :func:`fastconv.options`, whose values hold if None
    activation : None or ``"relu"``, fused into the store

    Returns
    -------
    array (N, K, P, Q) or (K, P, Q), P = (H + 2·padding − dilation·(R−1) − 1) // stride + 1;
    channels-last if ``input`` is, else C-contiguous

    Raises
    ------
    TypeError, ValueError : naming the argument, before any work.
    """
    x = checks.array(input, "input", (3, 4))
    w = checks.array(weight, "weight", (4,))
    if x.ndim == 3:
        y = conv2d(
            x[None], w, bias, stride, padding, dilation, groups, algorithm=algorithm,
            accuracy=accuracy, max_workspace=max_workspace, activation=activation,
        )  # fmt: skip
        return y[0]
    checks.same_dtype(x, "input", weight=w)
    b = bias_of(bias, w.shape[0], x)
    relu = _rectifies(activation)
    asked = request(algorithm, accuracy, max_workspace)
    x, x_format = checks.dense(x)
    x_format = checks.order_of_result(x, x_format, w.shape[0])
    problem, shape = problem_of(
        "forward", x.shape, w.shape, stride, padding, dilation, groups, x.dtype, x_format, x_format
    )
    return _run(problem, asked, x, w, shape, x_format, b, relu)


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """One-dimensional convolution, as ``torch.nn.functional.conv1d``.

    ``input`` (N, C, L) or (C, L), ``weight`` (K, C/groups, S) → (N, K, Q) or (K, Q); everything
    else as in :func:`conv2d`.
    """
    x = checks.array(input, "input", (2, 3))
    w = checks.array(weight, "weight", (3,))

    def flat(value, name, least, other):
        return (other, checks.integers(value, name, 1, least)[0])

    y = conv2d(
        x[..., None, :],
        w[:, :, None, :],
        bias,
        flat(stride, "stride", 1, 1),
        padding if isinstance(padding, str) else flat(padding, "padding", 0, 0),
        flat(dilation, "dilation", 1, 1),
        groups,
        algorithm=algorithm,
        accuracy=accuracy,
        max_workspace=max_workspace,
        activation=activation,
    )
    return y[..., 0, :]


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Transposed convolution, as ``torch.nn.functional.conv_transpose2d``.

    The adjoint of :func:`conv2d`: what ``backward_input`` computes, with a bias.

    Parameters
    ----------
    input : array (N, K, P, Q) or (K, P, Q)
    weight : array (K, C/groups, R, S)
    bias : array (C,), optional
    stride, padding, dilation : int or (int, int)
    output_padding : int or (int, int), smaller than ``stride`` or ``dilation``
    groups, algorithm, accuracy, max_workspace, activation : as in :func:`conv2d`, and so are dtypes

    Returns
    -------
    array (N, C, H, W) or (C, H, W), H = (P−1)·stride − 2·padding + dilation·(R−1) + 1 +
    output_padding; channels-last if ``input`` is, else C-contiguous

    Raises
    ------
    TypeError, ValueError : naming the argument, before any work.
    """
    y = checks.array(input, "input", (3, 4))
    w = checks.array(weight, "weight", (4,))
    if y.ndim == 3:
        x = conv_transpose2d(
            y[None], w, bias, stride, padding, output_padding, groups, dilation,
            algorithm=algorithm, accuracy=accuracy, max_workspace=max_workspace,
            activation=activation,
        )  # fmt: skip
        return x[0]
    checks.same_dtype(y, "input", weight=w)
    relu = _rectifies(activation)
    size, unread = transposed_size(
        y.shape, w.shape, stride, padding, output_padding, groups, dilation
    )
    b = bias_of(bias, size[1], y)
    asked = request(algorithm, accuracy, max_workspace)
    y, y_format = checks.dense(y)
    y_format = checks.order_of_result(y, y_format, size[1])
    problem, _ = problem_of(
        "backward_input", size, w.shape, stride, padding, dilation, groups,
        y.dtype, y_format, y_format, unread,
    )  # fmt: skip
    return _run(problem, asked, y, w, size, y_format, b, relu)


def conv2d_input(
    input_size: Shape,
    weight: Array,
    grad_output: Array,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
) -> np.ndarray:
    """Gradient of :func:`conv2d` with respect to its input, as ``torch.nn.grad.conv2d_input``.

        dx[n,c,h,w] = Σ_{k,r,s} dy[n,k,p,q] · weight[k,c,r,s],  h = p·stride + r·dilation − padding

    ``input_size`` (N, C, H, W) or (C, H, W) is the shape of the result, ``weight`` is
    (K, C/groups, R, S) and ``grad_output`` (N, K, P, Q) or (K, P, Q).  The result is channels-last
    if ``grad_output`` is, else C-contiguous.  Everything else, errors too, is as in :func:`conv2d`.
    """
    size = checks.shape(input_size, "input_size", (3, 4))
    w = checks.array(weight, "weight", (4,))
    dy = checks.array(grad_output, "grad_output", (len(size),))
    if len(size) == 3:
        dx = conv2d_input(
            (1, *size), w, dy[None], stride, padding, dilation, groups, algorithm=algorithm,
            accuracy=accuracy, max_workspace=max_workspace,
        )  # fmt: skip
        return dx[0]
    checks.same_dtype(dy, "grad_output", weight=w)
    asked = request(algorithm, accuracy, max_workspace)
    dy, dy_format = checks.dense(dy)
    dy_format = checks.order_of_result(dy, dy_format, size[1])
    problem, y_shape = problem_of(
        "backward_input", size, w.shape, stride, padding, dilation, groups,
        dy.dtype, dy_format, dy_format,
    )  # fmt: skip
    same_shape(dy, problem, y_shape)
    return _run(problem, asked, dy, w, size, dy_format)


def conv2d_weight(
    input: Array,
    weight_size: Shape,
    grad_output: Array,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    algorithm: str = "auto",
    accuracy: str | None = None,
    max_workspace: int | None = None,
) -> np.ndarray:
    """Gradient of :func:`conv2d` with respect to its weight, as ``torch.nn.grad.conv2d_weight``.

        dw[k,c,r,s] = Σ_{n,p,q} x[n, c, p·stride+r·dilation−padding, …] · dy[n,k,p,q]

    ``weight_size`` (K, C/groups, R, S) is the shape of the result, which is C-contiguous; ``input``
    is (N, C, H, W) or (C, H, W) and ``grad_output`` (N, K, P, Q) or (K, P, Q).  Everything else,
    errors too, is as in :func:`conv2d`.
    """
    size = checks.shape(weight_size, "weight_size", (4,))
    x = checks.array(input, "input", (3, 4))
    dy = checks.array(grad_output, "grad_output", (x.ndim,))
    if x.ndim == 3:
        x, dy = x[None], dy[None]
    checks.same_dtype(x, "input", grad_output=dy)
    asked = request(algorithm, accuracy, max_workspace)
    x, x_format = checks.dense(x)
    dy, dy_format = checks.dense(dy)
    problem, y_shape = problem_of(
        "backward_weight", x.shape, size, stride, padding, dilation, groups,
        x.dtype, x_format, dy_format,
    )  # fmt: skip
    same_shape(dy, problem, y_shape)
    return _run(problem, asked, x, dy, size, "nchw")


def _run(problem, asked, first, second, shape, order, bias=None, relu=False) -> np.ndarray:
    if math.prod(shape) > _MANY:  # MemoryError now rather than after planning
        np.empty(shape, problem.dtype)
    workers = threads.get_num_threads()
    plan = plan_for(problem, asked, workers)
    out = workspace.empty(shape, problem.dtype, order)
    if problem.N == 0:
        if problem.sums_weights:
            out.fill(0)
        return out
    plan(first, second, out, bias, relu)
    for listener in listening.current.get():
        listener(problem, asked, workers)
    return out
