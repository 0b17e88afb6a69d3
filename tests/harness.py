"""Running one pass of one case: operands inside fences of NaN, the problem, the error allowed.

Operands are uniform in [−½, 1½), so that sums do not cancel and max|y64| is a fair scale even where
the result has one element.
"""

from __future__ import annotations

import functools
import math
import zlib
from types import SimpleNamespace
from typing import NamedTuple

import cases
import numpy as np
import oracle

import fastconv as fc
from fastconv.conv.algorithm import Cost
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import checks, threads, workspace
from fastconv.core.problem import DIRECTIONS, FORMATS, ConvProblem

DTYPES = ("float32", "float64")

# A tile forced on winograd is one number in the same code: most tables leave those names out.
FORCED = ("winograd2", "winograd4", "winograd6")
DISTINCT = tuple(name for name in ALGORITHMS if name not in FORCED)
FENCE = 1024  # bytes before and behind every array; all ones, so every float in them is NaN

__all__ = [
    "DIRECTIONS",
    "DISTINCT",
    "DTYPES",
    "FORCED",
    "FORMATS",
    "Fences",
    "Trial",
    "assert_close",
    "fenced",
]


def _between_fences(shape, dtype, align=1):
    """A NaN-filled array, and the bytes it lies in with all that may be before and behind it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = np.full(FENCE + align + size + FENCE, 0xFF, np.uint8)
    start = FENCE + -(buffer.ctypes.data + FENCE) % align
    buffer = buffer[start - FENCE : start + size + FENCE]
    return buffer[FENCE:-FENCE].view(dtype).reshape(shape), buffer


def fenced(values, dtype="float32", order="nchw"):
    """A copy that lies between NaNs: what is read beyond it and used shows in the result."""
    shape = np.array(values.shape)
    if order == "nhwc":
        array = _between_fences(shape[[0, 2, 3, 1]], dtype)[0].transpose(0, 3, 1, 2)
    else:
        array, _ = _between_fences(shape, dtype)
    array[...] = values
    return array


class Fences:
    """Stands in for NumPy where memory is allocated: NaN inside, and fences that must hold."""

    def __init__(self):
        self._buffers = []

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=np.float64):
        """``numpy.empty``."""
        array, buffer = _between_fences(shape if isinstance(shape, tuple) else (shape,), dtype)
        self._buffers.append(buffer)
        return array

    def output(self, shape, dtype, order):
        """``workspace.empty``, for results."""
        if order == "nhwc":
            n, c, h, w = shape
            return self.output((n, h, w, c), dtype, "nchw").transpose(0, 3, 1, 2)
        array, buffer = _between_fences(shape, dtype, workspace.ALIGN)
        self._buffers.append(buffer)
        return array

    @property
    def allocations(self):
        return len(self._buffers)

    def assert_hold(self):
        buffers, self._buffers = self._buffers, []
        for buffer in buffers:
            for fence in (buffer[:FENCE], buffer[-FENCE:]):
                assert (fence == 0xFF).all(), "a kernel wrote outside of its memory"


@functools.lru_cache(maxsize=32)
def _operands(case: cases.Case):
    """x, w and dy in float32, the same in every run."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    shapes = (case.x_shape, case.w_shape, case.y_shape)
    return tuple(rng.uniform(-0.5, 1.5, shape).astype(np.float32) for shape in shapes)


@functools.lru_cache(maxsize=32)
def _expected(case: cases.Case, direction: str):
    return Trial(case, direction).oracle(*_pick(direction, *_operands(case)))


def _pick(direction, x, w, dy):
    """The two operands of a pass."""
    return {"forward": (x, w), "backward_input": (dy, w), "backward_weight": (x, dy)}[direction]


class Trial(NamedTuple):
    """One pass of one case, in one dtype and memory order."""

    case: cases.Case
    direction: str
    dtype: str = "float32"
    order: str = "nchw"

    def operands(self):
        """The two array arguments, between fences."""
        x, w, dy = _operands(self.case)
        x, dy = (fenced(a, self.dtype, self.order) for a in (x, dy))
        return _pick(self.direction, x, fenced(w, self.dtype), dy)

    def run(self, algorithm, first, second):
        """The public function of this pass, whatever the error bound of the algorithm."""
        with fc.options(accuracy=None if algorithm == "auto" else "fast"):
            return self._run(algorithm, first, second)

    def _run(self, algorithm, first, second):
        case = self.case
        if self.direction == "forward":
            return fc.conv2d(first, second, None, *case.arguments, algorithm=algorithm)
        if self.direction == "backward_input":
            return fc.grad.conv2d_input(
                case.x_shape, second, first, *case.arguments, algorithm=algorithm
            )
        return fc.grad.conv2d_weight(
            first, case.w_shape, second, *case.arguments, algorithm=algorithm
        )

    def oracle(self, first, second):
        """The same in float64, by the oracle."""
        case = self.case
        if self.direction == "forward":
            return oracle.forward(first, second, None, *case.arguments)
        if self.direction == "backward_input":
            return oracle.backward_input(case.x_shape, second, first, *case.arguments)
        return oracle.backward_weight(first, case.w_shape, second, *case.arguments)

    @property
    def expected(self):
        """The oracle's result on the operands."""
        return _expected(self.case, self.direction)

    @property
    def problem(self) -> ConvProblem:
        return _problem(self)

    def refusal(self, algorithm) -> str | None:
        return ALGORITHMS[algorithm].refuses(self.problem)

    def cost(self, algorithm) -> Cost:
        """With all threads."""
        return ALGORITHMS[algorithm].cost(self.problem, threads.get_num_threads())

    def bound(self, algorithm) -> float:
        """The error that the algorithm promises not to exceed, with any number of threads."""
        alone = ALGORITHMS[algorithm].cost(self.problem, 1)
        return max(alone.error, self.cost(algorithm).error)


def _memory_format(shape, order, channels=1):
    """What a contiguous array counts as, or so many channels that are made of it.

    Where sizes are 1, both orders may be the same.
    """
    _, c, h, w = shape
    strides = (c * h * w, h * w, w, 1) if order == "nchw" else (c * h * w, 1, w * c, c)
    array = SimpleNamespace(shape=shape, strides=strides, itemsize=1)
    return checks.order_of_result(array, checks.memory_format(array), channels)


@functools.lru_cache(maxsize=4)
def _problem(trial: Trial) -> ConvProblem:
    case = trial.case
    if trial.direction == "forward":  # the result has the order of what is read
        first = last = _memory_format(case.x_shape, trial.order, case.K)
    elif trial.direction == "backward_input":
        first = last = _memory_format(case.y_shape, trial.order, case.C)
    else:
        first, last = (_memory_format(s, trial.order) for s in (case.x_shape, case.y_shape))
    return ConvProblem(
        *case.x_shape, case.K, case.R, case.S,
        oracle.pair(case.stride),
        oracle.paddings(case.padding, (case.R, case.S), case.dilation),
        oracle.pair(case.dilation),
        case.groups,
        dtype=trial.dtype, direction=trial.direction, x_format=first, y_format=last,
    )  # fmt: skip


def assert_close(result, expected, bound):
    """max|y − y64| ≤ bound·max|y64|, the oracle's own rounding errors (float64) granted too."""
    assert result.shape == expected.shape
    assert not np.isnan(result).any(), f"{np.isnan(result).sum()} of {result.size} are NaN"
    error = np.abs(result - expected).max()
    scale = np.abs(expected).max()
    limit = bound + 1e-14
    assert error <= limit * scale, f"error {error:.2e} of {scale:.2e} exceeds {limit:.2e}"


def assert_fused(case: cases.Case, algorithm: str, order: str):
    """Bias and ReLU, fused, give what they give one after the other."""
    x, w = Trial(case, "forward", order=order).operands()
    bias = np.linspace(-2, 2, case.K, dtype=np.float32)
    plain = fc.conv2d(x, w, None, *case.arguments, algorithm=algorithm)
    given = fc.conv2d(x, w, bias, *case.arguments, algorithm=algorithm, activation="relu")
    np.testing.assert_allclose(given, np.maximum(plain + bias[:, None, None], 0), atol=1e-5)
