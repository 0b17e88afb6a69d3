"""Which algorithm runs a problem, and the plans made so far.

Of the algorithms that may run it, the cost model predicts the time on this host.  Those that are
close are measured by the first call (:mod:`._contest`), or the one that is clearly ahead; and
others, if that takes longer than they are predicted to.  The decision is kept for this and later
processes (:mod:`._decisions`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.problem import ConvProblem

from . import _decisions, calibration, eligibility
from ._contest import Contest
from .algorithm import Plan
from .eligibility import Candidate
from .options import Request
from .registry import ALGORITHMS

MARGIN = 1.3  # predictions within this factor of the best do not tell the faster one
MOST_CONTENDERS = 4
# By so much a host may slow down its matrix units for a while, when it is busy elsewhere: the best
# algorithm on the vector units gets its chance up to there.
_THROTTLED = 1.6
# Measuring pays between: below, most is Python's share, and compiling a second algorithm costs more
# than it can ever gain; above, the first call would take too long.  Seconds, predicted.
WORTH_MEASURING = (150e-6, 0.5)


class Choice(NamedTuple):
    """The algorithm for a problem, and the reason."""

    algorithm: str  # if there are contenders: the one predicted to be the fastest of them
    why: str
    contenders: tuple[str, ...] = ()  # what the first call will measure
    predicted: dict[str, float] | None = None  # seconds of these, and others, which it may measure
    measured: dict[str, float] | None = None  # seconds, where a decision was made


_made: dict[tuple[ConvProblem, Request, int], Choice] = {}


@functools.lru_cache(maxsize=4096)
def plan_for(problem: ConvProblem, request: Request, threads: int) -> Plan:
    """The plan of ``problem``, made once.

    Raises ``ValueError`` if the algorithm asked for, or none at all, may run it.
    """
    choice = choose(problem, request, threads)
    if choice.predicted is not None:
        return Contest(problem, request, threads, choice.contenders, choice.predicted)
    return ALGORITHMS[choice.algorithm].plan(problem, threads)


def choose(problem: ConvProblem, request: Request, threads: int) -> Choice:
    """The choice as it stands now; one without contenders stands for the rest of the process."""
    key = (problem, request, threads)
    choice = _made.get(key)
    if choice is None:
        choice = _choose(*key)
        if not choice.contenders:
            choice = _made.setdefault(key, choice)
    return choice


def forget() -> None:
    """Begin anew, as a new process would; what is stored stays."""
    plan_for.cache_clear()
    _made.clear()
    _decisions.forget()


def _choose(problem: ConvProblem, request: Request, threads: int) -> Choice:
    if request.algorithm != "auto":
        return Choice(eligibility.forced(problem, request, threads).algorithm, "asked for")
    able = eligibility.eligible(problem, request, threads)
    if len(able) == 1:
        return Choice(able[0].algorithm, "the only one eligible")
    names = [c.algorithm for c in able]
    decision = _decisions.recall(problem, request, threads, names)
    if decision is not None:
        return Choice(decision.algorithm, "measured", measured=decision.seconds)
    ranked = predict(able, problem.dtype, threads, small=True)
    if problem.N == 0 or min(ranked.values()) < WORTH_MEASURING[0]:
        # Matrix units take operands that more stages prepare: on so little they lose what they win.
        name = next((n for n in ranked if ALGORITHMS[n].vector), next(iter(ranked)))
        return Choice(name, "too small a problem to measure; the fastest on a nominal processor")
    return _by_model(predict(able, problem.dtype, threads))


def _by_model(ranked: dict[str, float]) -> Choice:
    """The choice that predictions leave."""
    ranked = _distinct(ranked)
    name, seconds = next(iter(ranked.items()))
    close = [other for other, taken in ranked.items() if taken <= MARGIN * seconds]
    if not ALGORITHMS[name].vector:
        rivals = (other for other in ranked if ALGORITHMS[other].vector)
        rival = next(rivals, name)
        if rival not in close and ranked[rival] <= MARGIN * _THROTTLED * seconds:
            close.append(rival)
    if len(ranked) == 1:
        return Choice(name, "the only one eligible, by any name")
    contenders = tuple(close[:MOST_CONTENDERS])
    ahead = ""
    if len(close) == 1:
        ahead = f"predicted to be {sorted(ranked.values())[1] / seconds:.1f}× as fast as the next; "
    if seconds > WORTH_MEASURING[1]:
        why = ahead or "predicted to be the fastest; "
        return Choice(name, f"{why}too large a problem to measure")
    why = f"{ahead}the first call will measure {', '.join(contenders)}"
    return Choice(name, why, contenders, ranked)


def _distinct(ranked: dict[str, float]) -> dict[str, float]:
    """The same without forced tiles that are just what would be taken without force."""
    return {
        name: taken
        for name, taken in ranked.items()
        if ranked.get(ALGORITHMS[name].forces or "") != taken
    }


def predict(
    candidates: list[Candidate], dtype: str, threads: int, small: bool = False
) -> dict[str, float]:
    """Algorithm → predicted seconds, the fastest first; of ``small`` problems on no host at all."""
    host = calibration.NOMINAL if small else calibration.host(dtype, threads)
    times = {c.algorithm: calibration.seconds(c.cost, host) for c in candidates if c.cost}
    return dict(sorted(times.items(), key=lambda item: item[1]))
