"""Cost against size: how each algorithm's time grows with the arithmetic."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from fastconv.comparison.results import Entry, Results
from fastconv.core.text import duration
from fastconv.report.grouping import by_pass

from .panel import Frame, Mark, Panel, line, log, name_ends, number, points

TITLE = "Cost against size"
CAPTION = (
    "Time against the arithmetic of the direct sum, for all layers, and the power that fits each "
    "algorithm best, by number: 1.00 takes twice as long for twice the arithmetic, and less "
    "gains on larger layers."
)
NEEDS = "No two layers differ in size: compare several with fastconv compare."
_FRAME = Frame(left=46, right=96)


def panels(results: Results) -> list[Panel]:
    return [
        Panel(
            group.title, group.direction, "GFLOP of the direct sum", "time",
            partial(_draw, clouds=clouds), _FRAME,
        )
        for group in by_pass(results.entries)
        if (clouds := _clouds(group.entries))
    ]  # fmt: skip


def _clouds(entries: list[Entry]) -> dict[str, list[Mark]]:
    """The marks of the algorithms that ran layers of several sizes."""
    clouds: dict[str, list[Mark]] = {}
    for layer, one in entries:
        for row in one.ranked:
            tip = f"{row.algorithm} on {layer}: {duration(row.seconds)}"
            mark = Mark(one.problem.flops / 1e9, row.seconds, tip)
            clouds.setdefault(row.algorithm, []).append(mark)
    return {name: marks for name, marks in clouds.items() if len({mark.x for mark in marks}) > 1}


def _power(marks: list[Mark]) -> tuple[float, list[Mark]]:
    """The slope of the marks in their logarithms, by least squares, and the ends of its line."""
    x, y = (np.log([mark[axis] for mark in marks]) for axis in (0, 1))
    slope, offset = np.polyfit(x, y, 1)
    return slope, [Mark(np.exp(end), np.exp(offset + slope * end)) for end in (min(x), max(x))]


def _draw(axes: Axes, clouds: dict[str, list[Mark]]) -> None:
    powers = {name: _power(marks) for name, marks in clouds.items()}
    for name, marks in clouds.items():
        line(axes, name, powers[name][1])
        points(axes, name, marks, alpha=0.55, ms=3.5)
    log(axes, axes.xaxis, number)
    log(axes, axes.yaxis, duration)
    ends = {name: fit[-1] for name, (_, fit) in powers.items()}
    name_ends(axes, ends, {name: f"{slope:.2f}" for name, (slope, _) in powers.items()})
