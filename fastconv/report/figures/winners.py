"""The winner over filter size and channels, as a map."""

from __future__ import annotations

from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from fastconv.comparison.results import Entry, Results
from fastconv.conv.outcome import family
from fastconv.core.text import duration
from fastconv.report.grouping import Family, grids
from fastconv.report.palette import light, token
from fastconv.report.ranking import podium, uncertain

from .panel import Frame, Panel, series

TITLE = "Who wins where"
CAPTION = (
    "The winner of each pair of filter size and channels, and how many times as fast it is as the "
    "second; forced tiles count as their algorithm. Hatched cells are uncertain: another run may "
    "have another winner."
)
NEEDS = (
    "No families of filter sizes differ in their channels. The table of crossings has such layers: "
    "fastconv compare crossings."
)
_ROW, _FRAME = 27, Frame(left=42, right=8)
_LETTER = 0.72  # a bold letter's width and its share of the margins, in parts of its size


def panels(results: Results) -> list[Panel]:
    found = []
    for grid in grids(results.entries):
        sizes = sorted({size for column in grid for size in column.sizes})
        height = _FRAME.top + _FRAME.bottom + _ROW * len(sizes)
        direction, rest = grid[0].problem.direction, grid[0].rest
        draw = partial(_draw, grid=grid, sizes=sizes)
        frame = _FRAME._replace(height=height)
        found.append(
            Panel(direction, direction, f"channels, on {rest}", "rows of the filter", draw, frame)
        )
    return found


def _draw(axes: Axes, grid: list[Family], sizes: list[int]) -> None:
    width = axes.bbox.width / len(grid)
    for x, column in enumerate(grid):
        for size, entry in column.sizes.items():
            _cell(axes, x, sizes.index(size), entry, width)
    axes.set_xlim(-0.5, len(grid) - 0.5)
    axes.set_ylim(-0.5, len(sizes) - 0.5)
    axes.set_xticks(range(len(grid)), [column.channels for column in grid])
    axes.set_yticks(range(len(sizes)), [f"{size}×{size}" for size in sizes])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _cell(axes: Axes, x: int, y: int, entry: Entry, width: float) -> None:
    best = podium(entry.measured)
    if not best:
        return
    name, doubtful = family(best[0].algorithm), uncertain(entry.measured)
    ahead = f"{best[1].seconds / best[0].seconds:.2f}×" if best[1:] else ""
    said = [f"{entry.layer}: {best[0].algorithm}, {duration(best[0].seconds)}"]
    said += [f"{ahead} as fast as {best[1].algorithm}"] if ahead else []
    said += ["uncertain"] if doubtful else []
    colour, gid = light(token(name)), series(name, [", ".join(said)])
    place: dict[str, Any] = {"xy": (x - 0.47, y - 0.46), "width": 0.94, "height": 0.92}
    if doubtful:
        axes.add_patch(Rectangle(**place, fc="none", ec=colour, hatch="///", lw=0, alpha=0.45))
    axes.add_patch(Rectangle(**place, fc=colour, ec="none", alpha=0.28, gid=gid))
    text: dict[str, Any] = {"ha": "center", "va": "center"}
    text["fontsize"] = min(8.5, width / (_LETTER * len(name)))
    axes.text(x, y + 0.2, name, fontweight="bold", **text)
    axes.text(x, y - 0.23, ahead, **text)
