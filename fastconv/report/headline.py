"""The figures at the top of the page."""

from __future__ import annotations

from typing import NamedTuple

from fastconv.comparison.results import Results
from fastconv.core.problem import DIRECTIONS

from .ranking import mean, ratio, regret, uncertain


class Fact(NamedTuple):
    name: str
    value: str
    note: str


def facts(results: Results) -> list[Fact]:
    return [*_machine(results), *_ratios(results), *_selector(results), *_certainty(results)]


def _machine(results: Results) -> list[Fact]:
    host = results.host
    workers = f"{host.threads} thread{'s' if host.threads > 1 else ''}"
    return [
        Fact("peak", f"{host.peak:.0f} GFLOP/s", f"multiply-adds alone, {workers}, {host.isa}"),
        Fact("bandwidth", f"{host.bandwidth:.0f} GB/s", f"from and to memory, {workers}"),
    ]


def _ratios(results: Results) -> list[Fact]:
    """The geometric mean of each pass beside the peers."""
    found = []
    for direction in DIRECTIONS:
        passes = [e.measured for e in results.entries if e.measured.problem.direction == direction]
        ratios = [value for one in passes if (value := ratio(one)) is not None]
        if ratios:
            ahead = sum(value > 1 for value in ratios)
            note = f"as fast as the fastest peer; ahead on {ahead} of {len(ratios)}"
            found.append(Fact(direction, f"{mean(ratios):.2f}×", note))
    return found


def _selector(results: Results) -> list[Fact]:
    """How much longer its choices take than the fastest algorithms."""
    regrets = [value for e in results.entries if (value := regret(e.measured)) is not None]
    if not regrets:
        return []
    lost = mean(1 + value for value in regrets) - 1
    note = f"longer than the best algorithm, in the mean; {max(regrets):.0%} at worst"
    return [Fact("selector’s regret", f"{lost:.1%}", note)]


def _certainty(results: Results) -> list[Fact]:
    total = len(results.entries)
    if not total:
        return []
    sure = sum(not uncertain(e.measured) for e in results.entries)
    return [
        Fact("sure winners", f"{sure} of {total}", "ahead of the second by more than the spread")
    ]
