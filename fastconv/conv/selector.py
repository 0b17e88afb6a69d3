"""Which algorithm runs a problem, and the plans made so far."""

from __future__ import annotations

import functools

from fastconv.core.problem import ConvProblem

from .algorithm import Algorithm, Plan
from .registry import ALGORITHMS


def check_name(algorithm: str) -> str:
    if not isinstance(algorithm, str):
        raise TypeError(f"algorithm must be a string, got {algorithm!r}")
    if algorithm != "auto" and algorithm not in ALGORITHMS:
        raise ValueError(
            f"algorithm must be 'auto' or one of {', '.join(ALGORITHMS)}; got {algorithm!r}"
        )
    return algorithm


def select(problem: ConvProblem, algorithm: str = "auto") -> Algorithm:
    """The algorithm that runs ``problem``: the one named, or the first that suits it.

    ``"auto"`` prefers ``depthwise`` where every filter sees one of several channels, then
    ``direct``, then whatever accepts the problem in registry order.

    Raises ``ValueError`` for an unknown name, and for a named algorithm that refuses the problem
    (with its reason).
    """
    check_name(algorithm)
    if algorithm == "auto":
        first = ("depthwise",) if problem.depthwise else ()
        names = (*first, "direct", *ALGORITHMS)
        return next(ALGORITHMS[n] for n in names if ALGORITHMS[n].refuses(problem) is None)
    chosen = ALGORITHMS[algorithm]
    reason = chosen.refuses(problem)
    if reason is not None:
        raise ValueError(f"algorithm {algorithm!r} cannot run this convolution: {reason}")
    return chosen


@functools.lru_cache(maxsize=4096)
def plan_for(problem: ConvProblem, algorithm: str, threads: int) -> Plan:
    """The plan of ``problem``, made once."""
    return select(problem, algorithm).plan(problem, threads)
