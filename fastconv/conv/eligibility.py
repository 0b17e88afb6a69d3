"""Which algorithms may run a problem: the shape, the accuracy and the scratch memory asked for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.core.text import amount

from .algorithm import ACCURACIES, Algorithm, Cost, sum_error, summation_error, terms
from .options import Request
from .registry import ALGORITHMS


class Candidate(NamedTuple):
    """An algorithm and what it would cost on a problem, or the reason why it may not run it."""

    algorithm: str
    reason: str | None = None
    cost: Cost | None = None  # None only if the algorithm cannot run the shape


def error_limit(problem: ConvProblem, accuracy: str) -> float:
    """The error bound that a level allows.

    Very long sums have a bound beyond some levels; nothing in the problem's own precision does
    better than the direct sum, so that is allowed at every level.
    """
    direct = summation_error(problem)
    units = ACCURACIES[accuracy]
    if units is None:
        return max(direct, 2 * sum_error(terms(problem), problem.dtype))
    return max(direct, units * float(np.finfo(problem.dtype).eps))


def candidate(name: str, problem: ConvProblem, request: Request, threads: int) -> Candidate:
    """The algorithm ``name``, judged."""
    algorithm = ALGORITHMS[name]
    reason = algorithm.refuses(problem)
    if reason is not None:
        return Candidate(name, reason)
    cost = algorithm.cost(problem, threads)
    reasons = _inaccuracy(algorithm, cost, problem, request), _excess(cost, request)
    return Candidate(name, "; and ".join(filter(None, reasons)) or None, cost)


def _inaccuracy(
    algorithm: Algorithm, cost: Cost, problem: ConvProblem, request: Request
) -> str | None:
    """Why an algorithm is not as accurate as the request, and at which level it may run."""
    if request.accuracy == "strict" and not algorithm.exact:
        return "it rounds products further than the dtype; accuracy='default' allows it"
    limit = error_limit(problem, request.accuracy)
    if cost.error <= limit:
        return None
    wider = [a for a in ACCURACIES if cost.error <= error_limit(problem, a)]
    hint = f"; accuracy={wider[0]!r} allows it" if wider else ""
    return (
        f"its error bound {cost.error:.1e} exceeds the {limit:.1e} of "
        f"accuracy={request.accuracy!r}{hint}"
    )


def _excess(cost: Cost, request: Request) -> str | None:
    """What of a cost exceeds the scratch memory of the request."""
    if request.max_workspace is None or cost.workspace <= request.max_workspace:
        return None
    return (
        f"it needs {cost.workspace} bytes ({amount(cost.workspace)}) of scratch, "
        f"max_workspace is {request.max_workspace}"
    )


def candidates(problem: ConvProblem, request: Request, threads: int) -> list[Candidate]:
    """All algorithms, judged, in registry order."""
    return [candidate(name, problem, request, threads) for name in ALGORITHMS]


def eligible(problem: ConvProblem, request: Request, threads: int) -> list[Candidate]:
    """The candidates of ``"auto"``: all that may run, the fallback only if it is alone.

    Raises ``ValueError`` if none may, with the reason of each.
    """
    judged = candidates(problem, request, threads)
    able = [c for c in judged if c.reason is None]
    if not able:
        reasons = "; ".join(f"{c.algorithm}: {c.reason}" for c in judged)
        raise ValueError(f"no algorithm can run this convolution as asked: {reasons}")
    return [c for c in able if not ALGORITHMS[c.algorithm].fallback] or able


def forced(problem: ConvProblem, request: Request, threads: int) -> Candidate:
    """The algorithm that the request names.

    Raises ``ValueError`` if it may not run, saying why and which may.
    """
    named = candidate(request.algorithm, problem, request, threads)
    if named.reason is not None:
        others = [c.algorithm for c in candidates(problem, request, threads) if c.reason is None]
        raise ValueError(
            f"algorithm {named.algorithm!r} cannot run this convolution: {named.reason} "
            f"(eligible here: {', '.join(others) or 'none'})"
        )
    return named
