"""Listening in on the convolutions that a piece of code really runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fastconv.conv import listening, selector
from fastconv.conv.options import Request
from fastconv.core.problem import ConvProblem


class Run(NamedTuple):
    """One call: the problem as the public functions stated it, and the algorithm that ran it."""

    problem: ConvProblem
    algorithm: str


Layer = dict[str, Run]  # one layer's runs, by pass


@contextmanager
def recorded() -> Iterator[list[Run]]:
    """The convolutions that this Python thread runs in a ``with`` block, in their order."""
    runs: list[Run] = []

    def note(problem: ConvProblem, request: Request, threads: int) -> None:
        chosen = selector.choose(problem, request, threads).algorithm  # the run may have decided
        runs.append(Run(problem, chosen))

    with listening.told(note):
        yield runs


def layers(runs: list[Run]) -> list[Layer]:
    """The runs by layer, in the order of first use: each a dict from pass to run.

    Passes belong to one layer if everything but the pass (and its memory order) is equal.
    """
    found: dict[ConvProblem, dict[str, Run]] = {}
    for run in runs:
        geometry = run.problem._replace(direction="", x_format="", y_format="")
        found.setdefault(geometry, {})[run.problem.direction] = run
    return list(found.values())
