"""The plots that there are, and panels put together to figures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastconv.comparison.results import Results

from .figures import accuracy, crossings, growth, peers, roofline, winners
from .figures.panel import STYLE, Panel
from .palette import light

PLOTS: dict[str, ModuleType] = {
    "peers": peers,
    "crossings": crossings,
    "winners": winners,
    "roofline": roofline,
    "accuracy": accuracy,
    "growth": growth,
}


def plots(results: Results) -> dict[str, Figure]:
    """Name → all panels of a plot, a column for each pass."""
    found = {name: plot.panels(results) for name, plot in PLOTS.items()}
    return {
        name: figure(panels, len({panel.direction for panel in panels}))
        for name, panels in found.items()
        if panels
    }


def figure(panels: list[Panel], across: int = 1) -> Figure:
    """Panels in rows of ``across``, each drawn; a pixel is a point."""
    width = max(panel.frame.width for panel in panels)
    height = max(panel.frame.height for panel in panels)
    down = -(-len(panels) // across)
    whole = (across * width, down * height)
    with matplotlib.rc_context(STYLE):
        drawn = Figure((whole[0] / 72, whole[1] / 72), dpi=72, facecolor=light("card"))
        for number, panel in enumerate(panels):
            row, column = divmod(number, across)
            frame = panel.frame
            left = column * width + frame.left
            bottom = whole[1] - row * height - frame.height + frame.bottom
            sides = (
                left / whole[0],
                bottom / whole[1],
                (frame.width - frame.left - frame.right) / whole[0],
                (frame.height - frame.top - frame.bottom) / whole[1],
            )
            axes = drawn.add_axes(sides)
            panel.draw(axes)
            _label(axes, panel)
    return drawn


def _label(axes: Axes, panel: Panel) -> None:
    """The title at the panel's left edge, and what the axes show, written across."""
    up: dict[str, Any] = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "baseline",
    }
    left = 12 - panel.frame.left
    axes.annotate(panel.title, (0, 1), (left, 25), fontsize=10.5, fontweight="bold", **up)
    axes.annotate(panel.y, (0, 1), (left, 9), color=light("soft"), fontsize=8.5, **up)
    axes.set_xlabel(panel.x, color=light("soft"), fontsize=8.5)
