"""One convolution under every algorithm: time, rate, error and workspace, or why it cannot run."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from fastconv.core import threads, workspace
from fastconv.core.problem import ConvProblem

from ._peers import PEERS
from .options import Request
from .reference import Reference
from .registry import ALGORITHMS
from .selector import plan_for

clock = time.perf_counter  # seconds; tests bring their own
_LEAST_RUNS = 3
_YARDSTICK = Reference()

# The operands of each pass, in the order in which a plan takes them; the last is the result.
_OPERANDS = {
    "forward": ("x", "w", "y"),
    "backward_input": ("y", "w", "x"),
    "backward_weight": ("x", "y", "w"),
}


class Measured(NamedTuple):
    """What one algorithm or peer did on one problem; only ``reason`` is set if it cannot run it."""

    algorithm: str  # or the peer's name
    reason: str | None = None
    seconds: float = 0.0  # median of the runs
    gflops: float = 0.0  # effective: of the direct sum's arithmetic, in 1e9/s
    error: float = 0.0  # max|y − y64| / max|y64|
    workspace: int | None = 0  # bytes, all threads together; not known of a peer
    spread: float = 0.0  # seconds from the first to the third quartile of the runs
    executed: float | None = None  # GFLOP/s, wasted lanes included; not known of a peer
    phases: dict[str, float] | None = None  # seconds of a worker by phase; None where not known


def measure(
    problem: ConvProblem, budget: float = 0.05, peers: Iterable[str] = ()
) -> list[Measured]:
    """``problem`` on random arrays under every algorithm of the registry, in its order, then peers.

    After a first run that makes its kernels, each is run for about ``budget`` seconds, in turns
    with the others.  A run makes the array of its result, and what is known of the problem
    beforehand is done beforehand.  The yardstick of the error is the reference algorithm on the
    same numbers in float64.
    """
    workers = threads.get_num_threads()
    operands = _operands(problem)
    runs, reasons = _runs(problem, operands, peers, workers)
    exact = _exact(problem, *operands)
    with contextlib.ExitStack() as stack:
        for name in runs.keys() & PEERS.keys():
            stack.enter_context(PEERS[name].threads(workers))
        errors = {name: _error(run(), exact) for name, run in runs.items()}
        times = _interleaved(runs, budget)
    rows = []
    for name in (*ALGORITHMS, *peers):
        if name in reasons:
            rows.append(Measured(name, reasons[name]))
        else:
            rows.append(_row(problem, name, times[name], errors[name], workers))
    return rows


def _runs(problem, operands, peers, workers) -> tuple[dict[str, Callable], dict[str, str]]:
    """Name → a call that returns the result; or name → the reason why there is none."""
    runs, reasons = {}, {}
    for name, algorithm in ALGORITHMS.items():
        reason = algorithm.refuses(problem)
        if reason is None:
            runs[name] = _run(problem, algorithm.plan(problem, workers), operands)
        else:
            reasons[name] = reason
    for name in peers:
        try:
            runs[name] = PEERS[name].prepare(problem, *operands)
        except ValueError as refusal:
            reasons[name] = str(refusal)
    return runs, reasons


def _run(problem, plan, operands) -> Callable[[], np.ndarray]:
    shape, order = _shapes(problem)[_OPERANDS[problem.direction][-1]]

    def run() -> np.ndarray:
        out = workspace.empty(shape, problem.dtype, order)
        plan(*operands, out, None, False)
        return out

    return run


def _exact(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    wide = problem._replace(dtype="float64")
    plan = _YARDSTICK.plan(wide, 1)
    return _run(wide, plan, (first.astype(np.float64), second.astype(np.float64)))()


def _error(result: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(result - exact).max() / np.abs(exact).max())


def _interleaved(runs: dict[str, Callable], budget: float) -> dict[str, list[float]]:
    """Seconds of the runs of each, in turns (A B C A B C …).

    One that is far slower than the rest leaves when it has used up its own budget.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    racing = list(runs)
    while racing:
        for name in racing:
            began = clock()
            runs[name]()
            times[name].append(clock() - began)
        racing = [n for n in racing if len(times[n]) < _LEAST_RUNS or sum(times[n]) < budget]
    return times


def _row(problem, name, times, error, workers) -> Measured:
    median = statistics.median(times)
    first, _, third = statistics.quantiles(times, n=4, method="inclusive")
    row = Measured(name, None, median, problem.flops / median / 1e9, error, spread=third - first)
    if name not in ALGORITHMS:
        return row._replace(workspace=None)
    cost = ALGORITHMS[name].cost(problem, workers)
    return row._replace(workspace=cost.workspace, executed=cost.flops / median / 1e9)


def settle(problem: ConvProblem, request: Request) -> None:
    """Run the problem once as a call with this request would: what is undecided is decided."""
    operands = _operands(problem)
    _run(problem, plan_for(problem, request, threads.get_num_threads()), operands)()


def _shapes(problem: ConvProblem) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and memory order of the arrays."""
    return {
        "x": (problem.x_shape, problem.x_format),
        "w": (problem.w_shape, "nchw"),
        "y": (problem.y_shape, problem.y_format),
    }


def _operands(problem: ConvProblem) -> list[np.ndarray]:
    """What the problem's pass reads, filled with fixed normal numbers."""
    random = np.random.default_rng(0)

    def array(shape, order):
        if order == "nhwc":
            n, c, h, w = shape
            return array((n, h, w, c), "nchw").transpose(0, 3, 1, 2)
        return random.standard_normal(shape).astype(problem.dtype)

    shapes = _shapes(problem)
    return [array(*shapes[name]) for name in _OPERANDS[problem.direction][:-1]]
