"""From the arguments of a public function to a checked :class:`ConvProblem`."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core import checks
from fastconv.core.problem import DIRECTIONS, FORMATS, ConvProblem

_NAMES = {np.dtype(name): name for name in checks.DTYPES}  # ``dtype.name`` takes microseconds


def bias_of(bias, channels: int, first: np.ndarray) -> np.ndarray | None:
    if bias is None:
        return None
    b = checks.array(bias, "bias", (1,))
    checks.same_dtype(first, "input", bias=b)
    if b.shape != (channels,):
        raise ValueError(f"bias must have shape ({channels},), got {b.shape}")
    return np.ascontiguousarray(b)


def same_padding(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of ``"same"``: what is odd goes to the bottom and the right."""
    rows, columns = (d * (r - 1) for d, r in zip(dilation, kernel, strict=True))
    return (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)


def _paddings(padding, weight_shape, stride, dilation) -> tuple[int, int, int, int]:
    """Top, bottom, left, right."""
    if isinstance(padding, str):
        if padding == "valid":
            return (0, 0, 0, 0)
        if padding != "same":
            raise ValueError(f"padding must be ints, 'same' or 'valid', got {padding!r}")
        if stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got stride {stride}")
        return same_padding(weight_shape[2:], dilation)
    rows, columns = checks.integers(padding, "padding", 2)
    return (rows, rows, columns, columns)


def _plain(problem: ConvProblem) -> ConvProblem:
    """The same problem with no stride beyond the input, no dilation of a single tap.

    Any stride that reaches no second output is as good as another, as is any dilation that reaches
    no second tap; and plans that go through all places in between are spared.
    """
    top, bottom, left, right = problem.padding
    extents = (problem.H + top + bottom, problem.W + left + right)
    taps = (problem.R, problem.S)
    stride = tuple(
        min(s, max(1, extent - d * (r - 1)))
        for s, extent, d, r in zip(problem.stride, extents, problem.dilation, taps, strict=True)
    )
    dilation = tuple(1 if r == 1 else d for d, r in zip(problem.dilation, taps, strict=True))
    return problem._replace(stride=stride, dilation=dilation)


def problem_of(
    direction, x_shape, w_shape, stride, padding, dilation, groups,
    dtype, x_format, y_format, output_padding=(0, 0),
) -> tuple[ConvProblem, tuple[int, ...]]:  # fmt: skip
    """The checked problem and the shape of its output; every size error is raised here."""
    if not type(stride) is type(padding) is type(dilation) is type(groups) is int:
        # Equal to an int is not an int (1.0, True): the cache below cannot tell them apart.
        stride = checks.integers(stride, "stride", 2, 1)
        if not isinstance(padding, str):
            padding = checks.integers(padding, "padding", 2)
        dilation = checks.integers(dilation, "dilation", 2, 1)
        groups = checks.integer(groups, "groups", 1)
    return _problem_of(
        direction, x_shape, w_shape, stride, padding, dilation, groups,
        dtype, x_format, y_format, output_padding,
    )  # fmt: skip


@functools.lru_cache(maxsize=4096)
def _problem_of(
    direction, x_shape, w_shape, stride, padding, dilation, groups,
    dtype, x_format, y_format, output_padding,
) -> tuple[ConvProblem, tuple[int, ...]]:  # fmt: skip
    """Made once: sizes are not compared at every call."""
    stride = checks.integers(stride, "stride", 2, 1)
    dilation = checks.integers(dilation, "dilation", 2, 1)
    groups = checks.integer(groups, "groups", 1)
    padding = _paddings(padding, w_shape, stride, dilation)
    n, c, h, w = x_shape
    k, cg, r, s = w_shape
    shapes = f"input {x_shape}, weight {w_shape}, groups {groups}"
    if min(c, h, w, k, cg, r, s) < 1:
        raise ValueError(f"only the batch may be empty: {shapes}")
    if c % groups or k % groups:
        raise ValueError(f"groups must divide the input and output channels: {shapes}")
    if cg != c // groups:
        raise ValueError(f"input has {c} channels but weight expects {cg * groups}: {shapes}")
    problem = ConvProblem(
        n, c, h, w, k, r, s, stride, padding, dilation, groups, output_padding,
        _NAMES[dtype], direction, x_format, y_format,
    )  # fmt: skip
    problem = _plain(problem)
    if problem.P < 1 or problem.Q < 1:
        raise ValueError(
            f"kernel is larger than the padded input: {shapes}, padding {padding}, "
            f"dilation {dilation}"
        )
    checks.fits((n, c, h + padding[0] + padding[1], w + padding[2] + padding[3]), "input")
    checks.fits(problem.y_shape, "output")
    return problem, problem.y_shape


def transposed_size(
    y_shape, w_shape, stride, padding, output_padding, groups, dilation
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape (N, C, H, W) of a transposed convolution, and its rows and columns without a term.

    Those of ``output_padding``, where they are a stride or more: fewer do not show in the sizes,
    and the problem is that of :func:`.conv2d_input`.
    """
    stride = checks.integers(stride, "stride", 2, 1)
    dilation = checks.integers(dilation, "dilation", 2, 1)
    extra = checks.integers(output_padding, "output_padding", 2)
    groups = checks.integer(groups, "groups", 1)
    if isinstance(padding, str):
        raise TypeError(f"padding of a transposed convolution must be ints, got {padding!r}")
    pads = checks.integers(padding, "padding", 2)
    shapes = f"input {y_shape}, weight {w_shape}"
    if min(y_shape[1:]) < 1:
        raise ValueError(f"only the batch may be empty: {shapes}")
    if w_shape[0] != y_shape[1]:
        raise ValueError(
            f"input has {y_shape[1]} channels but weight expects {w_shape[0]}: {shapes}"
        )
    axes = list(zip(y_shape[2:], stride, pads, dilation, w_shape[2:], extra, strict=True))
    if any(e >= max(s, d) for _, s, _, d, _, e in axes):
        raise ValueError(
            f"output_padding must be smaller than stride or dilation, got {extra} with "
            f"stride {stride}, dilation {dilation}"
        )
    spatial = tuple((n - 1) * s - 2 * p + d * (r - 1) + 1 + e for n, s, p, d, r, e in axes)
    if min(spatial) < 1:
        raise ValueError(f"padding {pads} leaves no output: {shapes} give {spatial}")
    unread = tuple(e if e >= s else 0 for _, s, _, _, _, e in axes)
    return (y_shape[0], w_shape[1] * groups, *spatial), unread


def described(
    input_shape, weight_shape, stride, padding, dilation, groups, direction, dtype, memory_format,
    may_be_empty=False,
) -> ConvProblem:  # fmt: skip
    """The problem that shapes and settings describe, without arrays.

    ``input_shape`` is (N, C, H, W), or (C, H, W) for a batch of one.
    """
    x_shape = checks.shape(input_shape, "input_shape", (3, 4))
    w_shape = checks.shape(weight_shape, "weight_shape", (4,))
    checks.one_of(direction, "direction", DIRECTIONS)
    checks.one_of(memory_format, "memory_format", FORMATS)
    dtype = checks.dtype(dtype)
    batch = x_shape if len(x_shape) == 4 else (1, *x_shape)
    problem, _ = problem_of(
        direction, batch, w_shape, stride, padding, dilation, groups,
        dtype, memory_format, memory_format,
    )  # fmt: skip
    if not (problem.N or may_be_empty):
        raise ValueError(f"input_shape must have at least one image, got {batch}")
    return problem


def same_shape(dy: np.ndarray, problem: ConvProblem, y_shape: tuple[int, ...]) -> None:
    if dy.shape != y_shape:
        raise ValueError(
            f"grad_output must have shape {y_shape}, got {dy.shape} "
            f"(input {problem.x_shape}, weight {problem.w_shape})"
        )
