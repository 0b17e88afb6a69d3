"""Error against speed."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from fastconv.comparison.results import Entry, Results
from fastconv.conv.algorithm import ACCURACIES
from fastconv.report.grouping import Passes, by_pass

from .panel import Mark, Panel, level, log, name_ends, number, points, power

TITLE = "Error against speed"
CAPTION = (
    "The largest error of a result, in parts of its largest value, against the effective rate: the "
    "best place is below on the right. The lines are the bounds of the levels that float32 may ask "
    "for with accuracy=; “strict” has none of its own, it is twice the bound of the direct sum."
)
NEEDS = "No error was measured: compare a layer under every algorithm with fastconv compare."


def panels(results: Results) -> list[Panel]:
    return [
        Panel(
            group.title, group.direction, "GFLOP/s, effective", "error",
            partial(_draw, clouds=clouds, levels=_levels(group)),
        )
        for group in by_pass(results.entries)
        if (clouds := _clouds(group.entries))
    ]  # fmt: skip


def _clouds(entries: list[Entry]) -> dict[str, list[Mark]]:
    clouds: dict[str, list[Mark]] = {}
    for layer, one in entries:
        for row in one.ranked:
            if 0 < row.error < np.inf:
                tip = f"{row.algorithm} on {layer}: error {row.error:.1e}, {row.gflops:.3g} GFLOP/s"
                clouds.setdefault(row.algorithm, []).append(Mark(row.gflops, row.error, tip))
    return clouds


def _levels(group: Passes) -> dict[str, float]:
    if group.entries[0].measured.problem.dtype != "float32":
        return {}
    rounding = float(np.finfo("float32").eps)
    return {name: units * rounding for name, units in ACCURACIES.items() if units is not None}


def _draw(axes: Axes, clouds: dict[str, list[Mark]], levels: dict[str, float]) -> None:
    for name, marks in clouds.items():
        points(axes, name, marks)
    for name, bound in levels.items():
        level(axes, bound, name)
    log(axes, axes.xaxis, number)
    log(axes, axes.yaxis, power)
    name_ends(axes, {name: max(marks) for name, marks in clouds.items()})
