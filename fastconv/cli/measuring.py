"""One convolution under every algorithm: time, rate, error and workspace, or why it cannot run."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from fastconv.conv.registry import ALGORITHMS
from fastconv.conv.selector import plan_for
from fastconv.core import threads
from fastconv.core.problem import ConvProblem

_LEAST_RUNS = 3

# The operands of each pass, in the order in which a plan takes them; the last is the result.
_OPERANDS = {
    "forward": ("x", "w", "y"),
    "backward_input": ("y", "w", "x"),
    "backward_weight": ("x", "y", "w"),
}


class Measured(NamedTuple):
    """What one algorithm did on one problem; only ``reason`` is set if it cannot run it."""

    algorithm: str
    reason: str | None = None
    seconds: float = 0.0  # of the fastest run
    gflops: float = 0.0  # of the direct sum's arithmetic, in 1e9/s
    error: float = 0.0  # max|y − y64| / max|y64|
    workspace: int = 0  # bytes, all threads together


def measure(problem: ConvProblem, budget: float = 0.05) -> list[Measured]:
    """``problem`` on random arrays under every algorithm of the registry, in its order.

    Each algorithm is run for about ``budget`` seconds after a first run that makes its kernels.
    The yardstick of the error is the reference algorithm on the same numbers in float64.
    """
    first, second, out = _arrays(problem)
    exact = np.empty(out.shape)
    wide = problem._replace(dtype="float64")
    ALGORITHMS["reference"].plan(wide, 1)(
        first.astype(np.float64), second.astype(np.float64), exact, None, False
    )
    return [_one(problem, name, (first, second, out), exact, budget) for name in ALGORITHMS]


def _one(problem, name, arrays, exact, budget) -> Measured:
    algorithm = ALGORITHMS[name]
    reason = algorithm.refuses(problem)
    if reason is not None:
        return Measured(name, reason)
    workers = threads.get_num_threads()
    plan = plan_for(problem, name, workers)
    arrays[-1].fill(np.nan)  # nothing of the algorithm before may pass for a result
    plan(*arrays, None, False)
    error = np.abs(arrays[-1] - exact).max() / np.abs(exact).max()
    seconds = _fastest(lambda: plan(*arrays, None, False), budget)
    workspace = algorithm.cost(problem, workers).workspace
    return Measured(name, None, seconds, problem.flops / seconds / 1e9, float(error), workspace)


def _fastest(call, budget: float) -> float:
    """Seconds of the fastest of the calls that fit in ``budget`` seconds."""
    times: list[float] = []
    while len(times) < _LEAST_RUNS or sum(times) < budget:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def _arrays(problem: ConvProblem) -> list[np.ndarray]:
    """The operands of the problem's pass, filled with fixed normal numbers."""
    random = np.random.default_rng(0)
    shapes = {
        "x": (problem.x_shape, problem.x_format),
        "w": (problem.w_shape, "nchw"),
        "y": (problem.y_shape, problem.y_format),
    }

    def array(shape, order):
        if order == "nhwc":
            n, c, h, w = shape
            return array((n, h, w, c), "nchw").transpose(0, 3, 1, 2)
        return random.standard_normal(shape).astype(problem.dtype)

    return [array(*shapes[name]) for name in _OPERANDS[problem.direction]]
