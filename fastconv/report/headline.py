"""The figures at the top of the page."""

from __future__ import annotations

from statistics import geometric_mean
from typing import NamedTuple

from fastconv.comparison.results import Results
from fastconv.core import text

from .grouping import by_pass
from .ranking import ratio, uncertain


class Fact(NamedTuple):
    name: str
    value: str
    note: str


def facts(results: Results) -> list[Fact]:
    return [*_machine(results), *_ratios(results), *_selector(results), *_certainty(results)]


def _machine(results: Results) -> list[Fact]:
    host = results.host
    workers = text.threads(host.threads)
    return [
        Fact("peak", f"{host.peak:.0f} GFLOP/s", f"multiply-adds alone, {workers}, {host.isa}"),
        Fact("bandwidth", f"{host.bandwidth:.0f} GB/s", f"from and to memory, {workers}"),
    ]


def _ratios(results: Results) -> list[Fact]:
    """The geometric mean of each pass beside the peers."""
    found = []
    for group in by_pass(results.entries):
        ratios = [value for e in group.entries if (value := ratio(e.measured)) is not None]
        if ratios:
            ahead = sum(value > 1 for value in ratios)
            note = f"as fast as the fastest peer; ahead on {ahead} of {len(ratios)}"
            found.append(Fact(group.title, f"{geometric_mean(ratios):.2f}×", note))
    return found


def _selector(results: Results) -> list[Fact]:
    """How much longer its choices take than the fastest algorithms that it may take."""
    regrets = [value for e in results.entries if (value := e.measured.regret) is not None]
    if not regrets:
        return []
    note = f"longer than the best allowed, in the mean; {max(regrets) - 1:.0%} at worst"
    return [Fact("selector’s regret", f"{geometric_mean(regrets) - 1:.1%}", note)]


def _certainty(results: Results) -> list[Fact]:
    total = len(results.entries)
    sure = sum(not uncertain(entry.measured) for entry in results.entries)
    found = [Fact("sure winners", f"{sure} of {total}", "ahead by more than times are known")]
    disturbed = sum(bool(entry.measured.disturbed) for entry in results.entries)
    if disturbed:
        note = "above the peak: something else used the processor while that was measured"
        found.append(Fact("disturbed", f"{disturbed} of {total}", note))
    return found
