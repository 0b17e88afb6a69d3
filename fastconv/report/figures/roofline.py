"""The roofline: rates against arithmetic intensity, under the limits of the machine."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes

from fastconv.comparison.results import Entry, Results
from fastconv.report.grouping import by_pass
from fastconv.report.palette import light, token

from .panel import Mark, Panel, log, name_ends, number, points, series

TITLE = "Roofline"
CAPTION = (
    "What each algorithm reaches on each layer, under what the machine can do. A dot is the "
    "effective rate (the direct sum’s arithmetic over the time), a ring the executed one (what was "
    "really computed). An algorithm that leaves arithmetic out lifts its dot, over the roof even; "
    "a ring is above its flat part only where a matrix unit computes, which the roof leaves out."
)
NEEDS = "Nothing was measured: compare a layer under every algorithm with fastconv compare."


def panels(results: Results) -> list[Panel]:
    return [
        Panel(
            group.title, group.direction,
            "FLOP of the direct sum per byte of the arrays", "GFLOP/s",
            partial(_draw, entries=group.entries, bandwidth=results.host.bandwidth),
        )
        for group in by_pass(results.entries)
        if any(entry.measured.ranked for entry in group.entries)
    ]  # fmt: skip


def _draw(axes: Axes, entries: list[Entry], bandwidth: float) -> None:
    effective: dict[str, list[Mark]] = {}
    executed: dict[str, list[Mark]] = {}
    for layer, one in entries:
        intensity = one.problem.flops / one.problem.nbytes
        for row in one.ranked:
            tip = f"{row.algorithm} on {layer}: {row.gflops:.3g} GFLOP/s effective"
            effective.setdefault(row.algorithm, []).append(Mark(intensity, row.gflops, tip))
            if row.executed is not None:
                tip = f"{row.algorithm} on {layer}: {row.executed:.3g} GFLOP/s executed"
                executed.setdefault(row.algorithm, []).append(Mark(intensity, row.executed, tip))
    for name, marks in executed.items():
        colour = light(token(name))
        bottoms, tops = [m.y for m in marks], [m.y for m in effective[name]]
        x = [m.x for m in marks]
        axes.vlines(x, bottoms, tops, color=colour, lw=0.6, alpha=0.5, gid=series(name))
        points(axes, name, marks, ms=3.5, mfc=light("card"), mec=colour, mew=0.9)
    for name, marks in effective.items():
        points(axes, name, marks)
    _roof(axes, max(entry.measured.peak for entry in entries), bandwidth)
    name_ends(axes, {name: max(marks) for name, marks in effective.items()})


def _roof(axes: Axes, peak: float, bandwidth: float) -> None:
    """The peak, and to its left what the memory can feed."""
    log(axes, axes.xaxis, number)
    log(axes, axes.yaxis, number)
    low, high = axes.get_xlim()
    ridge = min(max(low, peak / bandwidth), high)
    heights = [min(peak, bandwidth * x) for x in (low, ridge, high)]
    axes.plot([low, ridge, high], heights, color=light("soft"), lw=1.2, zorder=1)
    axes.set_xlim(low, high)
    text = f"{peak:.0f} GFLOP/s, {bandwidth:.0f} GB/s"
    axes.annotate(
        text,
        (low, peak),
        (4, 3),
        textcoords="offset points",
        color=light("soft"),
        fontsize=8.5,
    )
