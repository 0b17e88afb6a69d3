"""Crossing points: each algorithm's rate against the size of the filter."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from fastconv.comparison.results import Results
from fastconv.core.text import duration
from fastconv.report.grouping import Family, families

from .panel import Mark, Panel, level, line, name_ends, points

TITLE = "Where the algorithms cross"
CAPTION = (
    "Effective rate against the size of the filter, on layers that differ in nothing else: higher "
    "is faster. Where two lines cross, the better algorithm changes. A level line is a time that "
    "grows as the arithmetic does."
)
NEEDS = (
    "No three layers differ in the filter’s size alone. The table of crossings has such layers: "
    "fastconv compare crossings."
)


def panels(results: Results) -> list[Panel]:
    return [
        Panel(
            f"{family.problem.direction}, {family.channels} channels", family.problem.direction,
            f"rows and columns of the filter, on {family.rest}", "GFLOP/s, effective",
            partial(_draw, family=family),
        )
        for family in families(results.entries)
    ]  # fmt: skip


def _draw(axes: Axes, family: Family) -> None:
    peak = max(entry.measured.peak for entry in family.sizes.values())
    lines: dict[str, list[Mark]] = {}
    for size, (layer, one) in family.sizes.items():
        for row in one.ranked:
            tip = f"{row.algorithm} on {layer}: {row.gflops:.3g} GFLOP/s, {duration(row.seconds)}"
            lines.setdefault(row.algorithm, []).append(Mark(size, row.gflops, tip))
    for name, marks in lines.items():
        line(axes, name, marks)
        points(axes, name, marks)
    axes.set_ylim(bottom=0)
    axes.set_xticks(list(family.sizes))
    axes.grid(axis="x", visible=False)
    level(axes, peak, f"peak {peak:.0f}")
    name_ends(axes, {name: marks[-1] for name, marks in lines.items()})
