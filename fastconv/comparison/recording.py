"""Listening in on the convolutions that a piece of code really runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fastconv.conv import functions, selector
from fastconv.conv.options import Request
from fastconv.core.problem import ConvProblem


class Run(NamedTuple):
    """One call: the problem as the public functions stated it, and the algorithm that ran it."""

    problem: ConvProblem
    algorithm: str


Layer = dict[str, Run]  # one layer's runs, by pass


@contextmanager
def recorded() -> Iterator[list[Run]]:
    """The convolutions of a ``with`` block, in the order in which they ran.

    Every convolution, of whatever layer and pass, asks for its plan by one name; that name is
    wrapped for the length of the block (so use it from one thread at a time).
    """
    runs: list[Run] = []
    plan_for = functions.plan_for

    def noting(problem: ConvProblem, request: Request, threads: int):
        plan = plan_for(problem, request, threads)

        def run(*arguments) -> None:
            plan(*arguments)  # the first run may be the one that decides
            chosen = selector.choose(problem, request, threads).algorithm
            runs.append(Run(problem, chosen))

        return run

    functions.plan_for = noting  # type: ignore[assignment]
    try:
        yield runs
    finally:
        functions.plan_for = plan_for


def layers(runs: list[Run]) -> list[Layer]:
    """The runs by layer, in the order of first use: each a dict from pass to run.

    Passes belong to one layer if everything but the pass (and its memory order) is equal.
    """
    found: dict[ConvProblem, dict[str, Run]] = {}
    for run in runs:
        geometry = run.problem._replace(direction="", x_format="", y_format="")
        found.setdefault(geometry, {})[run.problem.direction] = run
    return list(found.values())
