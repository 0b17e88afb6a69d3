"""What every plot is made of: panels of one size and style, axes, points, lines and their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from fastconv.report.palette import light, token

STYLE: dict[Any, Any] = {  # of matplotlib
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": light("ink"),
    "axes.edgecolor": light("line"),
    "axes.facecolor": light("card"),
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": light("line"),
    "grid.linewidth": 0.6,
    "xtick.color": light("line"),
    "ytick.color": light("line"),
    "xtick.labelcolor": light("soft"),
    "ytick.labelcolor": light("soft"),
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "hatch.linewidth": 1.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "fastconv",
    "text.parse_math": False,  # a layer may have any name
}
_LEADING = 11  # points from one name to the next


class Frame(NamedTuple):
    """The size of a panel and of the margins around its axes, in points."""

    width: float = 288
    height: float = 222
    left: float = 40
    right: float = 66
    top: float = 42
    bottom: float = 38


class Panel(NamedTuple):
    """One picture of a plot: ``draw`` fills its axes."""

    title: str
    direction: str
    x: str
    y: str
    draw: Callable[[Axes], None]
    frame: Frame = Frame()


class Mark(NamedTuple):
    """A place in a panel, and what to say of it."""

    x: float
    y: float
    tip: str = ""


def points(axes: Axes, algorithm: str, marks: Sequence[Mark], **style: Any) -> None:
    """Dots in the algorithm's colour that say something when one points at them."""
    dots: dict[str, Any] = {"marker": "o", "ms": 4.5, "mec": light("card"), "mew": 0.5} | style
    xs, ys, tips = zip(*marks, strict=True)
    gid = series(algorithm, tips)
    axes.plot(xs, ys, ls="none", color=light(token(algorithm)), gid=gid, **dots)


def line(axes: Axes, algorithm: str, marks: Sequence[Mark], **style: Any) -> None:
    xs, ys, _ = zip(*marks, strict=True)
    axes.plot(xs, ys, color=light(token(algorithm)), lw=1.6, gid=series(algorithm), **style)


def series(algorithm: str, tips: Iterable[str] = ()) -> str:
    """The id by which a drawing's parts are known as an algorithm's; :mod:`..image` reads it."""
    return "\n".join([f"series {algorithm}", *(" ".join(tip.split()) for tip in tips)])


def level(axes: Axes, y: float, text: str) -> None:
    """A dashed line across at a height that means something."""
    axes.axhline(y, color=light("soft"), lw=0.9, ls=(0, (4, 3)), zorder=1)
    if axes.get_ylim()[0] <= y <= axes.get_ylim()[1]:
        axes.annotate(
            text, (0, y), (3, 3), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
            color=light("soft"), fontsize=8.5,
        )  # fmt: skip


def name_ends(axes: Axes, ends: dict[str, Mark], notes: dict[str, str] | None = None) -> None:
    """Names beside the right edge, each as near as can be to the height where its line ends."""
    places = {name: _place(axes, mark) for name, mark in ends.items()}
    names = sorted(places, key=lambda name: places[name][1])
    heights: list[float] = []
    for name in names:
        y = places[name][1]
        heights.append(max(y, heights[-1] + _LEADING) if heights else y)
    top = axes.bbox.y1 + _LEADING / 2
    for rank in range(len(heights)):  # from above, so that the highest name stays inside
        heights[-1 - rank] = min(heights[-1 - rank], top - rank * _LEADING)
    for name, height in zip(names, heights, strict=True):
        text = f"{name} {notes[name]}" if notes else name
        _name(axes, name, text, ends[name], (axes.bbox.x1 + 9, height))


def _name(axes: Axes, algorithm: str, text: str, mark: Mark, place: tuple[float, float]) -> None:
    """A name at ``place`` of the figure, and a thin line to what it names."""
    colour, gid = light(token(algorithm)), series(algorithm)
    drawn = axes.annotate(
        text, (mark.x, mark.y), place, textcoords="figure points", va="center",
        color=colour, fontsize=9, fontweight="bold", gid=gid, zorder=5,
        arrowprops={
            "arrowstyle": "-", "color": colour, "lw": 0.5, "alpha": 0.6, "relpos": (0, 0.5),
            "shrinkA": 1, "shrinkB": 3,
        },
    )  # fmt: skip
    if drawn.arrow_patch:
        drawn.arrow_patch.set_gid(gid)


def _place(axes: Axes, mark: Mark) -> tuple[float, float]:
    """Where a mark is in the figure, in points: figures are drawn with one pixel to the point."""
    axes.get_xlim(), axes.get_ylim()  # settles the limits
    x, y = axes.transData.transform((mark.x, mark.y))
    return float(x), float(y)


def log(axes: Axes, axis: Axis, text: Callable[[float], str]) -> None:
    """A logarithmic axis with a few ticks, written by ``text``."""
    axes.set(**{"xscale" if axis is axes.xaxis else "yscale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,), numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def number(value: float) -> str:
    return f"{value:,.10g}"


def power(value: float) -> str:
    """A power of ten, as 10⁻⁷."""
    mantissa, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == "1" else f"{mantissa}·10{raised}"
