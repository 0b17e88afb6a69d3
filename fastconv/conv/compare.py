"""``compare``: every algorithm on a convolution, measured, and other libraries beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from numpy.typing import DTypeLike

from fastconv.core import checks, threads
from fastconv.core.argument_types import Shape, Size
from fastconv.core.problem import DIRECTIONS, ConvProblem
from fastconv.simd import limits

from . import _peers, eligibility, measuring, options, selector
from ._peers import PEERS
from .arguments import described
from .outcome import Pass, exceeds
from .registry import ALGORITHMS

_PEAK_SECONDS = (0.02, 0.2)  # of measuring what speeds are shares of; and of a doubtful one


class Comparison(NamedTuple):
    """The passes of one convolution.  Its text is a table for each."""

    passes: tuple[Pass, ...]
    missing: tuple[str, ...]  # peers that are not installed

    def __str__(self) -> str:
        notes = [f"{peer} is not installed" for peer in self.missing]
        return "\n\n".join([*map(str, self.passes), *notes])


def compare(
    input_shape: Shape,
    weight_shape: Shape,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    *,
    directions: str | Sequence[str] = DIRECTIONS,
    dtype: DTypeLike = "float32",
    memory_format: str = "nchw",
    algorithms: str | Sequence[str] | None = None,
    peers: str | Sequence[str] = ("torch",),
    seconds: float = 0.1,
    accuracy: str | None = None,
    max_workspace: int | None = None,
) -> Comparison:
    """Measure every algorithm on a convolution, and other libraries beside them.

    Parameters
    ----------
    input_shape : (N, C, H, W) or (C, H, W); an empty batch leaves nothing to measure
    weight_shape : (K, C/groups, R, S)
    stride, padding, dilation, groups : as in :func:`fastconv.conv2d`
    directions : passes, some of ``"forward"``, ``"backward_input"``, ``"backward_weight"``
    dtype : float32 or float64
    memory_format : ``"nchw"`` or ``"nhwc"``, of the input and the output
    algorithms : names of :func:`fastconv.algorithms`; None for all but the slow reference
    peers : libraries beside, of ``"torch"``; one that is not installed is left out
    seconds : of measuring each algorithm in each pass, after its kernels are compiled
    accuracy, max_workspace : as in :func:`fastconv.conv2d`

    Algorithms beyond the accuracy or the scratch asked for are measured too, but do not count for
    ``winner``; ``chosen`` is what such a call runs under the present :func:`fastconv.options`, and
    ``regret`` its time over the winner's.  Runs are interleaved, in an order that favours nobody,
    and times are medians, with half the distance of the quartiles as ±; ``doubt`` tells where
    another run may have another winner.  Rates are effective (the
    direct sum's operations) and executed (all operations, wasted lanes included); the share is
    that of the executed rate in the peak of the vector units, measured before and after (an
    algorithm on the matrix unit may have more than all of it): ``share(row)`` of a pass.  Errors
    are max|y − y64| / max|y64| on normal random numbers.

    Returns
    -------
    Comparison : plain data, whose ``str()`` is a table for each pass.

    Raises
    ------
    TypeError, ValueError : naming the argument.
    """
    directions = _names(directions, "directions", DIRECTIONS)
    algorithms = _names(usual() if algorithms is None else algorithms, "algorithms", ALGORITHMS)
    peers = _names(peers, "peers", PEERS, least=0)
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
    with options.options(accuracy=accuracy, max_workspace=max_workspace):
        passes = tuple(measured(p, algorithms, present, seconds) for p in problems)
    return Comparison(passes, missing)


def usual() -> tuple[str, ...]:
    """The algorithms that a comparison is about: all but the fallback, which is slow."""
    return tuple(name for name, algorithm in ALGORITHMS.items() if not algorithm.fallback)


def measured(
    problem: ConvProblem, algorithms: Iterable[str], peers: Iterable[str], seconds: float
) -> Pass:
    """One pass under the present options."""
    workers, asked = threads.get_num_threads(), options.request()
    measuring.settle(problem, asked)
    brief, longer = _PEAK_SECONDS
    peaks = [limits.fma_peak(problem.dtype, workers, brief)]
    rows = measuring.measure(problem, seconds, peers, algorithms)
    peaks.append(limits.fma_peak(problem.dtype, workers, brief))
    if any(exceeds(row, max(peaks) / 1e9) for row in rows):
        peaks.append(limits.fma_peak(problem.dtype, workers, longer))
    choice = selector.choose(problem, asked, workers)
    judged = eligibility.candidates(problem, asked, workers)
    barred = {c.algorithm: c.reason for c in judged if c.cost is not None}
    return Pass(
        problem, workers, max(peaks) / 1e9, choice.algorithm, choice.why,
        tuple(row._replace(barred=barred.get(row.algorithm)) for row in rows),
        asked, seconds,
    )  # fmt: skip


def _names(values, name: str, known, least: int = 1) -> tuple[str, ...]:
    """A name or some names, each once, and at least so many."""
    if isinstance(values, str):
        values = (values,)
    if not isinstance(values, (tuple, list)):
        raise TypeError(f"{name} must be names, got {values!r}")
    if len(values) < least:
        raise ValueError(f"{name} must not be empty")
    return tuple(dict.fromkeys(checks.one_of(value, name, known) for value in values))
