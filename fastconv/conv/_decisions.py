"""Which algorithm was measured to be the fastest: in this process, and in earlier ones."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Any, NamedTuple

from fastconv.core import store
from fastconv.core.problem import ConvProblem

from .calibration import identity
from .options import Request


class Decision(NamedTuple):
    """The fastest algorithm, and the seconds that each of those measured took."""

    algorithm: str
    seconds: dict[str, float]


_made: dict[tuple[ConvProblem, Request, int], Decision] = {}


def made(problem: ConvProblem, request: Request, threads: int) -> Decision | None:
    """The decision of this process."""
    return _made.get((problem, request, threads))


def recall(
    problem: ConvProblem, request: Request, threads: int, able: Container[str]
) -> Decision | None:
    """The decision on a problem, if there is one for algorithms that are ``able`` to run it."""
    known = made(problem, request, threads)
    if known is None:
        key = _key(problem, request, threads)
        stored = store.recall("decisions", key, lambda value: _valid(value, able))
        if stored is not None:
            known = _made[problem, request, threads] = Decision(**stored)
    return known


def remember(
    problem: ConvProblem, request: Request, threads: int, decision: Decision, lasting: bool
) -> None:
    """For this process, and if it is ``lasting`` for later ones."""
    _made[problem, request, threads] = decision
    if lasting:
        store.remember("decisions", _key(problem, request, threads), decision._asdict())


def forget() -> None:
    """Drop this process's decisions; those stored stay."""
    _made.clear()


def _key(problem: ConvProblem, request: Request, threads: int) -> store.Key:
    return {**identity(threads), **problem._asdict(), **request._asdict()}


def _valid(value: Any, able: Container[str]) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(Decision._fields)
        and isinstance(value["seconds"], dict)
        and all(isinstance(s, float) and 0 <= s < math.inf for s in value["seconds"].values())
        and value["algorithm"] in value["seconds"]
        and value["algorithm"] in able
    )
