"""Which entries belong together: those of one pass, and layers that differ in the filter alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from fastconv.comparison.results import Entry
from fastconv.core.problem import DIRECTIONS, ConvProblem

_LEAST_SIZES = 3  # of filters that make a family
_SAME = (-1, -1, -1, -1)  # in a key, for the padding that keeps the image's size
_DEPTHWISE = -1  # in a key, for as many groups as channels


class Passes(NamedTuple):
    """All entries of one pass in one dtype and one pair of memory orders."""

    title: str
    direction: str
    entries: list[Entry]


class Family(NamedTuple):
    """Layers that differ in the size of their square filter, and in the padding it needs."""

    problem: ConvProblem  # one of them
    sizes: dict[int, Entry]  # rising

    @property
    def channels(self) -> str:
        c, k = self.problem.C, self.problem.K
        return f"{c}" if c == k else f"{c}→{k}"

    @property
    def rest(self) -> str:
        """What the layers share beside their channels."""
        p = self.problem._replace(padding=(0, 0, 0, 0))
        unusual = p._replace(groups=1) if p.depthwise else p
        kind = " depthwise" if p.depthwise else ""
        return f"{p.N}×{p.H}×{p.W}{kind}{unusual.summary.removeprefix(p.layer)}"


def by_pass(entries: Iterable[Entry]) -> list[Passes]:
    """The entries of each pass, titled by it and by what else is not the same in all."""
    groups = _grouped(entries, _variant)
    varies = [len(set(values)) > 1 for values in zip(*groups, strict=True)]
    return [
        Passes(
            ", ".join(
                [key[0], *(v for v, shown in zip(key[1:], varies[1:], strict=True) if shown)]
            ),
            key[0],
            members,
        )
        for key, members in groups.items()
    ]


def families(entries: Iterable[Entry]) -> list[Family]:
    """The families among the entries, those of few channels first."""
    found = []
    for members in _grouped(entries, _beside_the_filter).values():
        sizes = {entry.measured.problem.R: entry for entry in members}
        if len(sizes) >= _LEAST_SIZES:
            found.append(Family(members[0].measured.problem, dict(sorted(sizes.items()))))
    return sorted(found, key=lambda family: (family.problem.C, family.problem.K, family.rest))


def grids(entries: Iterable[Entry]) -> list[list[Family]]:
    """Families that differ in their channels alone, where there are several."""
    groups: dict[Hashable, list[Family]] = {}
    for family in families(entries):
        key = _beside_the_filter(family.problem)._replace(C=0, K=0)
        groups.setdefault(key, []).append(family)
    return [group for group in groups.values() if len(group) > 1]


def _grouped(entries: Iterable[Entry], key: Callable[[ConvProblem], tuple]) -> dict:
    groups: dict[tuple, list[Entry]] = {}
    ordered = sorted(entries, key=lambda entry: DIRECTIONS.index(entry.measured.problem.direction))
    for entry in ordered:
        groups.setdefault(key(entry.measured.problem), []).append(entry)
    return groups


def _variant(p: ConvProblem) -> tuple[str, ...]:
    return p.direction, p.dtype, p.x_format, p.y_format


def _beside_the_filter(p: ConvProblem) -> ConvProblem:
    """The problem without its filter; one that is not square stays as it is, alone."""
    if p.R != p.S:
        return p
    kept = (-(-p.H // p.stride[0]), -(-p.W // p.stride[1]))
    return p._replace(
        R=0,
        S=0,
        padding=_SAME if kept == (p.P, p.Q) else p.padding,
        groups=_DEPTHWISE if p.depthwise else p.groups,
    )
