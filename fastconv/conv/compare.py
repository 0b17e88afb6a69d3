"""``compare``: every algorithm on a convolution, measured, and other libraries beside them."""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core import checks, text, threads
from fastconv.core.problem import DIRECTIONS, ConvProblem
from fastconv.simd import limits

from . import _peers, measuring, options, selector
from ._peers import PEERS
from .arguments import described
from .measuring import Measured

_PEAK_SECONDS = 0.02  # of measuring what speeds are shares of


class Pass(NamedTuple):
    """One direction: who took how long."""

    problem: ConvProblem
    threads: int
    peak: float  # GFLOP/s of nothing but multiply-adds, all threads, the better of before and after
    chosen: str  # what "auto" runs
    why: str
    rows: tuple[Measured, ...]  # algorithms in registry order, then peers

    def __str__(self) -> str:
        p = self.problem
        workers = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        title = (
            f"{p.direction} of {p.summary}\n{p.dtype}, {p.x_format}, {workers}; "
            f"{p.flops / 1e9:.3g} GFLOP; peak {self.peak:.0f} GFLOP/s"
        )
        lines = (title, "", *self._table(), "", f"● {self.chosen}: {self.why}")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        """The fastest first, then who cannot run it."""
        ran = sorted((row for row in self.rows if row.reason is None), key=lambda r: r.seconds)
        header = ("  algorithm", "time", "±", "GFLOP/s", "executed", "of peak", "scratch", "error")
        rows: list[tuple[str, ...]] = [self._cells(row) for row in ran]
        rows += [(f"  {r.algorithm}", f" {r.reason}") for r in self.rows if r.reason is not None]
        return text.table(header, rows)

    def _cells(self, row: Measured) -> tuple[str, ...]:
        mark = "●" if row.algorithm == self.chosen else " "
        inside = ("", "", "")
        if row.executed is not None and row.workspace is not None:
            share = f"{row.executed / self.peak:.0%}"
            inside = (f"{row.executed:.1f}", share, text.amount(row.workspace))
        return (
            f"{mark} {row.algorithm}",
            text.duration(row.seconds),
            f"{row.spread / row.seconds / 2:.0%}",
            f"{row.gflops:.1f}",
            *inside,
            f"{row.error:.1e}",
        )


class Comparison(NamedTuple):
    """The passes of one convolution.  Its text is a table for each."""

    passes: tuple[Pass, ...]
    missing: tuple[str, ...]  # peers that are not installed

    def __str__(self) -> str:
        notes = [f"{peer} is not installed" for peer in self.missing]
        return "\n\n".join([*map(str, self.passes), *notes])


def compare(
    input_shape,
    weight_shape,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    *,
    directions=DIRECTIONS,
    dtype="float32",
    memory_format="nchw",
    peers=("torch",),
    seconds=0.1,
) -> Comparison:
    """Measure every algorithm on a convolution, and other libraries beside them.

    Parameters
    ----------
    input_shape : (N, C, H, W) or (C, H, W)
    weight_shape : (K, C/groups, R, S)
    stride, padding, dilation, groups : as in :func:`fastconv.conv2d`
    directions : passes, some of ``"forward"``, ``"backward_input"``, ``"backward_weight"``
    dtype : float32 or float64
    memory_format : ``"nchw"`` or ``"nhwc"``, of the input and the output
    peers : libraries beside, of ``"torch"``; one that is not installed is left out
    seconds : of measuring each algorithm in each pass, after its kernels are compiled

    All algorithms that can run the shape are measured, also those beyond the accuracy asked for;
    ``chosen`` is what a call under the present :func:`fastconv.options` runs.  Runs are interleaved
    and times are medians, with half the distance of the quartiles as ±.  Rates are effective (the
    direct sum's operations) and executed (all operations, wasted lanes included); the share is
    that of the executed rate in the peak, measured before and after.  Errors are
    max|y − y64| / max|y64| on normal random numbers.

    Returns
    -------
    Comparison : plain data, whose ``str()`` is a table for each pass.

    Raises
    ------
    TypeError, ValueError : naming the argument.
    """
    directions = _names(directions, "directions", DIRECTIONS)
    peers = _names(peers, "peers", PEERS)
    seconds = checks.positive(seconds, "seconds")
    problems = [
        described(
            input_shape, weight_shape, stride, padding, dilation, groups,
            direction, dtype, memory_format,
        )
        for direction in directions
    ]  # fmt: skip
    present = [peer for peer in peers if _peers.installed(peer)]
    missing = tuple(peer for peer in peers if peer not in present)
    return Comparison(tuple(_pass(p, seconds, present) for p in problems), missing)


def _pass(problem: ConvProblem, seconds: float, peers: list[str]) -> Pass:
    workers = threads.get_num_threads()
    request = options.request()
    measuring.settle(problem, request)
    peaks = [limits.fma_peak(problem.dtype, workers, _PEAK_SECONDS)]
    rows = measuring.measure(problem, seconds, peers)
    peaks.append(limits.fma_peak(problem.dtype, workers, _PEAK_SECONDS))
    choice = selector.choose(problem, request, workers)
    return Pass(problem, workers, max(peaks) / 1e9, choice.algorithm, choice.why, tuple(rows))


def _names(values, name: str, known) -> tuple[str, ...]:
    """A name or some names, each once."""
    if isinstance(values, str):
        values = (values,)
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{name} must be names, got {values!r}")
    return tuple(dict.fromkeys(checks.one_of(value, name, known) for value in values))
