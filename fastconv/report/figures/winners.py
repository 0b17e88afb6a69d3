"""The winner over filter size and channels, as a map."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from fastconv.comparison.results import Entry, Results
from fastconv.core.text import duration
from fastconv.report.grouping import Family, grids
from fastconv.report.palette import light, token
from fastconv.report.ranking import best_of_families, family, uncertain

from .panel import Frame, Panel, series

TITLE = "Who wins where"
CAPTION = (
    "The fastest on each pair of filter size and channels, and how many times as fast as the second "
    "(forced tiles count as their algorithm). Hatched cells are uncertain: the two are closer than "
    "the spread of their times."
)
NEEDS = (
    "No families of filter sizes differ in their channels. The table of crossings has such layers: "
    "fastconv compare crossings."
)
_ROW, _FRAME = 30, Frame(left=42, right=8)
_LETTER = 0.72  # width of a bold letter and its share of the margins, in parts of its size


def panels(results: Results) -> list[Panel]:
    return [
        Panel(
            grid[0].problem.direction, grid[0].problem.direction,
            f"rows and columns of the filter, on {grid[0].rest}", "channels",
            partial(_draw, grid=grid),
            _FRAME._replace(height=_FRAME.top + _FRAME.bottom + _ROW * max(3, len(grid))),
        )
        for grid in grids(results.entries)
    ]  # fmt: skip


def _draw(axes: Axes, grid: list[Family]) -> None:
    sizes = sorted({size for family in grid for size in family.sizes})
    width = axes.bbox.width / len(sizes)
    for row, channels in enumerate(grid):
        for size, entry in channels.sizes.items():
            _cell(axes, sizes.index(size), row, entry, width)
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    axes.set_ylim(-0.5, len(grid) - 0.5)
    axes.set_xticks(range(len(sizes)), map(str, sizes))
    axes.set_yticks(range(len(grid)), [family.channels for family in grid])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _cell(axes: Axes, x: int, y: int, entry: Entry, width: float) -> None:
    best = best_of_families(entry.measured)
    if not best:
        return
    first, doubtful = best[0], uncertain(entry.measured)
    ahead = f"{best[1].seconds / first.seconds:.2f}×" if len(best) > 1 else ""
    second = f", {ahead} as fast as {best[1].algorithm}" if ahead else ""
    tip = f"{entry.layer}: {first.algorithm}, {duration(first.seconds)}{second}"
    name = family(first.algorithm)
    colour = light(token(name))
    gid = series(name, [tip + (" (uncertain)" if doubtful else "")])
    place = {"xy": (x - 0.47, y - 0.46), "width": 0.94, "height": 0.92}
    axes.add_patch(Rectangle(**place, fc=colour, ec="none", alpha=0.28, gid=gid))
    if doubtful:
        axes.add_patch(Rectangle(**place, fc="none", ec=colour, hatch="///", lw=0, alpha=0.45))
    text = {"ha": "center", "va": "center", "fontsize": min(8.5, width / (_LETTER * len(name)))}
    axes.text(x, y + 0.18, name, fontweight="bold", **text)
    axes.text(x, y - 0.23, ahead, **text)
