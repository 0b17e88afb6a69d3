"""Algorithms that may be the fastest, timed against each other on the caller's arrays.

These are the one that the model predicts to be, those that it cannot tell from that; and others, if
the fastest of them takes longer than those are predicted to.
"""

from __future__ import annotations

import itertools
import math
import time
from functools import partial
from statistics import median

from fastconv.core.locks import Lock
from fastconv.core.once import once
from fastconv.core.overlap import overlapped
from fastconv.core.problem import ConvProblem

from . import _decisions
from ._decisions import Decision
from .algorithm import AGAIN, WORKSPACE, Plan
from .options import Request
from .registry import ALGORITHMS, family

clock = time.perf_counter  # seconds; tests bring their own
_BUDGET = 0.3  # seconds of timing
_ROUNDS = (2, 9)  # least; and most, once they have lasted …
_LASTING = 0.12  # … seconds: longer than others on the host disturb short runs at a time
_HOPELESS = 1.5  # times the fastest so far: not timed again, after the least rounds and …
_DOUBTFUL = 0.04  # … seconds, for which a busy host may slow down one of them and no other
_BELIED = 1.1  # times what another one is predicted to take: that one is measured, too
_MOST_OTHERS = 2  # of them, in a round
_BUSIEST = 1.5  # times: by more a busy host is not taken to slow down all of them

# For an algorithm on matrix units, whose speed changes within seconds: over minutes it takes on
# average 0.98 to 1.07 times what it typically does, in comparison with others (five layers).
_MATRIX_HANDICAP = 1.08
_MOST_WAITS = 2  # calls that leave it open because of their numbers: others may never come

_lock = Lock()  # contests of several Python threads would disturb each other


class Contest:
    """A plan whose first run times all contenders, and which then is the fastest one's plan.

    If that one takes longer than others are ``predicted`` to take (seconds), it is timed once more,
    beside them, and so on.  The first run, like every later one, leaves the winner's result.  Where
    NaN and the like have a contender compute it twice, nothing is decided: the contest waits for
    other numbers, and if they do not come, decides on these for this process alone.
    """

    def __init__(
        self,
        problem: ConvProblem,
        request: Request,
        threads: int,
        contenders: tuple[str, ...],
        predicted: dict[str, float],
    ):
        self._key = (problem, request, threads)
        self._racing = contenders
        self._predicted = predicted
        self._seconds: dict[str, float] = {}
        self._plans: dict[str, Plan] = {}  # of those that have raced
        self._spoilt: str | None = None  # the contender that the numbers of the last run delayed
        self._waited = 0  # calls, for other numbers
        self._lasting = True  # whether no number that was timed delayed a contender
        self._plan: Plan | None = None

    def __call__(self, *operands) -> None:
        plan = self._plan
        if plan is None:
            plan = self._settle(operands)
            if plan is not None:
                self._plan = plan
                self._plans.clear()
        if plan is not None:
            plan(*operands)

    def _settle(self, operands) -> Plan | None:
        """The plan of the winner: of this contest, or of one that ended meanwhile.

        None where the numbers leave it open; then their result is there.
        """
        while (decision := _decisions.made(*self._key)) is None:
            patient = self._waited < _MOST_WAITS
            if patient and self._delayed(self._spoilt, operands):
                return None
            racing = self._racing
            plans = {name: self._plan_of(name) for name in racing}
            # Compiling takes place outside the lock: it has other threads take part.
            told = self._run_once(plans, operands)
            spoilt = self._spoilt = next((n for n in racing if told[n] is AGAIN), None)
            # Those that ran at once have left a mixture of their results.
            if patient and self._delayed(spoilt, operands):
                return None
            with _lock:
                if racing == self._racing and _decisions.made(*self._key) is None:
                    self._lasting = self._lasting and spoilt is None
                    self._time(plans, operands)
        return self._plan_of(decision.algorithm)

    def _plan_of(self, name: str) -> Plan:
        problem, _, threads = self._key
        return once(self._plans, name, lambda: ALGORITHMS[name].plan(problem, threads))

    def _delayed(self, name: str | None, operands: tuple) -> bool:
        """Whether these numbers delay that contender, which then has run on them."""
        if name is None or self._plan_of(name)(*operands) is not AGAIN:
            return False
        self._waited += 1
        return True

    def _time(self, plans: dict[str, Plan], operands: tuple) -> None:
        """A round; then there is a decision, or another round is to come."""
        seconds = fastest(plans, operands)
        if _decisions.made(*self._key) is not None:  # by a signal handler that interrupted it
            return
        if self._seconds:
            # The host may be slower now, or faster, as the winner of the round before can tell.
            before = self._racing[0]
            change = seconds[before] / self._seconds[before]
            self._seconds = {name: change * t for name, t in self._seconds.items()}
        self._seconds |= seconds
        winner = min(self._seconds, key=lambda name: self._seconds[name] * _handicap(name))
        best = min(seconds.values())
        least = _BELIED * self._slowness()
        others = [name for name in self._predicted if name not in self._seconds]
        belied = [name for name in others if least * self._predicted[name] < best]
        if belied:
            self._racing = (winner, *belied[:_MOST_OTHERS])
        else:
            _decisions.remember(*self._key, Decision(winner, self._seconds), self._lasting)

    def _slowness(self) -> float:
        """By how much the host is slower now than it was when its speeds were measured, at least.

        If algorithms of several families take longer than predicted it will be the host; what is
        predicted of a single one may be wrong.
        """
        if len({family(name) for name in self._seconds}) == 1:
            return 1.0
        least = min(taken / self._predicted[name] for name, taken in self._seconds.items())
        return min(max(1.0, least), _BUSIEST)

    def _run_once(self, plans: dict[str, Plan], operands: tuple) -> dict[str, object]:
        """The runs that compile: two at a time, if a call may take the workspace of both.

        One of each family comes first: the others then find kernels of theirs made.
        """
        problem, request, threads = self._key
        firsts = {family(name): name for name in reversed(plans)}.values()
        plans = {name: plans[name] for name in sorted(plans, key=lambda name: name not in firsts)}
        limit = threads * WORKSPACE if request.max_workspace is None else request.max_workspace
        sizes = [ALGORITHMS[name].cost(problem, threads).workspace for name in plans]
        runs = [partial(plan, *operands) for plan in plans.values()]
        at_once = sum(sorted(sizes)[-2:]) <= limit
        told = overlapped(runs) if at_once else [run() for run in runs]
        return dict(zip(plans, told, strict=True))


def _handicap(name: str) -> float:
    return 1.0 if ALGORITHMS[name].vector else _MATRIX_HANDICAP


def _limit(racing: int, finished: int) -> float:
    """Seconds that are enough, after so many rounds; a single one need not be as certain."""
    if finished < _ROUNDS[0]:
        return math.inf
    if racing == 1:
        return _DOUBTFUL if finished < _ROUNDS[1] else 0.0
    return _BUDGET if finished < _ROUNDS[1] else _LASTING


def fastest(plans: dict[str, Plan], operands: tuple) -> dict[str, float]:
    """Seconds that each plan, whose kernels are compiled, typically takes, in turns.

    The fastest run would tell what a plan can do on an idle host; others slow down some plans more
    than others, and the matrix units most.
    """
    runs: dict[str, list[float]] = {name: [] for name in plans}
    seconds: dict[str, float] = {}
    racing, start = list(plans), clock()
    for finished in itertools.count():
        lasted = clock() - start
        if finished >= _ROUNDS[0] and lasted > _DOUBTFUL:
            racing = [n for n in racing if seconds[n] <= _HOPELESS * min(seconds.values())]
        if lasted >= _limit(len(racing), finished):
            break
        for name in racing:
            began = clock()
            plans[name](*operands)
            runs[name].append(clock() - began)
            seconds[name] = median(runs[name])
    return seconds
