"""One convolution under every algorithm: time, rate, error and workspace, or why it cannot run."""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from fastconv.core import threads, workspace
from fastconv.core.overlap import overlapped
from fastconv.core.problem import ConvProblem
from fastconv.simd.clock import seconds_by_phase

from ._peers import PEERS
from .options import Request
from .reference import Reference
from .registry import ALGORITHMS
from .selector import choose, plan_for

clock = time.perf_counter  # seconds; tests bring their own
_LEAST_RUNS = 3
_HOPELESS = 5  # times the fastest: one run tells enough
# Seconds for which threads of another library may still be waiting for work, at full speed: beside
# peers every turn begins with runs that are not timed.
_WARMING = 0.015
_YARDSTICK = Reference()
_REFUSALS = (ValueError, ImportError, OSError, RuntimeError)  # a peer may be there, and broken


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
    runs: int = 0  # that were timed
    barred: str | None = None  # why "auto" may not take it, though it can run the shape


def measure(
    problem: ConvProblem,
    budget: float = 0.05,
    peers: Iterable[str] = (),
    algorithms: Iterable[str] | None = None,
) -> list[Measured]:
    """``problem`` on random arrays under some algorithms (None: all of the registry), then peers.

    After a first run that makes its kernels, each is run for about ``budget`` seconds, in turns
    with the others.  A run makes the array of its result, and what is known of the problem
    beforehand is done beforehand.  The yardstick of the error is the reference algorithm on the
    same numbers in float64.
    """
    workers = threads.get_num_threads()
    operands = random_operands(problem)
    names = tuple(ALGORITHMS if algorithms is None else algorithms)
    runs, reasons = _runs(problem, operands, names, peers, workers)
    exact = _exact(problem, *operands)
    with contextlib.ExitStack() as stack:
        for name in runs.keys() & PEERS.keys():
            stack.enter_context(PEERS[name].threads(workers))
        errors = _errors(runs, exact)
        alone = not runs.keys() & PEERS.keys()
        times = _interleaved(runs, budget, 0 if alone else _WARMING)
    phases = {name: _phases(runs[name], workers) for name in runs.keys() & ALGORITHMS.keys()}
    rows = []
    for name in (*names, *peers):
        if name in reasons:
            rows.append(Measured(name, reasons[name]))
        else:
            row = _row(problem, name, times[name], errors[name], workers)
            rows.append(row._replace(phases=phases.get(name)))
    return rows


def _runs(problem, operands, names, peers, workers) -> tuple[dict[str, Callable], dict[str, str]]:
    """Name → a call that returns the result; or name → the reason why there is none."""
    runs, reasons = {}, {}
    for name in names:
        algorithm = ALGORITHMS[name]
        reason = algorithm.refuses(problem)
        if reason is None:
            runs[name] = _run(problem, algorithm.plan(problem, workers), operands)
        else:
            reasons[name] = reason
    for name in peers:
        try:
            runs[name] = PEERS[name].prepare(problem, *operands)
        except _REFUSALS as refusal:
            reasons[name] = str(refusal)
    return runs, reasons


def _run(problem, plan, operands) -> Callable[[], np.ndarray]:
    *_, (shape, order) = problem.operands

    def run() -> np.ndarray:
        out = workspace.empty(shape, problem.dtype, order)
        plan(*operands, out, None, False)
        return out

    return run


def _exact(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    wide = problem._replace(dtype="float64")
    plan = _YARDSTICK.plan(wide, 1)
    return _run(wide, plan, (first.astype(np.float64), second.astype(np.float64)))()


def _errors(runs: dict[str, Callable], exact: np.ndarray) -> dict[str, float]:
    """Errors of the first runs, which compile the kernels; a peer has threads of its own."""
    own = [name for name in runs if name in ALGORITHMS]
    tasks = [lambda run=runs[name]: _error(run(), exact) for name in own]
    errors = dict(zip(own, overlapped(tasks), strict=True))
    return errors | {name: _error(runs[name](), exact) for name in runs.keys() - errors.keys()}


def _error(result: np.ndarray, exact: np.ndarray) -> float:
    """Relative to the largest element, unless all are 0, as where windows meet only padding."""
    return float(np.abs(result - exact).max() / (np.abs(exact).max() or 1))


def _interleaved(
    runs: dict[str, Callable], budget: float, warming: float
) -> dict[str, list[float]]:
    """Seconds of the runs of each, in turns with the others until each has used up its budget.

    A turn is one run or, after ``warming`` seconds of others that do not count, some.
    """
    share = budget / _LEAST_RUNS if warming else 0
    times: dict[str, list[float]] = {name: [] for name in runs}
    racing, chance = list(runs), random.Random(0)
    while racing:
        # A run finds the caches as the one before it left them: chance decides who follows whom.
        chance.shuffle(racing)
        for name in racing:
            _warm_up(runs[name], warming)
            times[name] += _timed(runs[name], share)
        fastest = min(map(min, times.values()))
        racing = [name for name in racing if not _finished(times[name], budget, fastest)]
    return times


def _warm_up(run: Callable, seconds: float) -> None:
    """Run for so long, whole runs only."""
    end = clock() + seconds
    while clock() < end:
        run()


def _timed(run: Callable, seconds: float) -> list[float]:
    """Seconds of runs that take so long together, of one at least."""
    times: list[float] = []
    while not times or sum(times) < seconds:
        began = clock()
        run()
        times.append(clock() - began)
    return times


def _finished(times: list[float], budget: float, fastest: float) -> bool:
    hopeless = min(times) > _HOPELESS * fastest
    return sum(times) >= budget and (hopeless or len(times) >= _LEAST_RUNS)


def _phases(run: Callable, workers: int) -> dict[str, float] | None:
    """Medians of a few runs; None of an algorithm whose kernels do not note them."""
    noted = [seconds_by_phase(run, workers)]
    while noted[0] and len(noted) < _LEAST_RUNS:
        noted.append(seconds_by_phase(run, workers))
    return {name: statistics.median(n.get(name, 0) for n in noted) for name in noted[0]} or None


def _row(problem, name, times, error, workers) -> Measured:
    median = statistics.median(times)
    row = Measured(name, None, median, problem.flops / median / 1e9, error, runs=len(times))
    if len(times) > 1:
        first, _, third = statistics.quantiles(times, n=4, method="inclusive")
        row = row._replace(spread=third - first)
    if name not in ALGORITHMS:
        return row._replace(workspace=None)
    cost = ALGORITHMS[name].cost(problem, workers)
    return row._replace(workspace=cost.workspace, executed=cost.flops / median / 1e9)


def settle(problem: ConvProblem, request: Request) -> None:
    """Decide what is undecided, as a call with this request would: by running the problem once."""
    workers = threads.get_num_threads()
    if choose(problem, request, workers).contenders:
        _run(problem, plan_for(problem, request, workers), random_operands(problem))()


def random_operands(problem: ConvProblem) -> list[np.ndarray]:
    """What the problem's pass reads, filled with fixed normal numbers."""
    numbers = np.random.default_rng(0)

    def array(shape, order):
        if order == "nhwc":
            n, c, h, w = shape
            return array((n, h, w, c), "nchw").transpose(0, 3, 1, 2)
        return numbers.standard_normal(shape).astype(problem.dtype)

    *read, _ = problem.operands
    return [array(*operand) for operand in read]
