"""What every plot is made of: panels of one size and style, axes, points, lines and their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from fastconv.report.palette import light, token

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
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
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "hatch.linewidth": 1.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "fastconv",
}
_LEADING = 10.5  # points from one name to the next


class Frame(NamedTuple):
    """The size of a panel and of the margins around its axes, in points."""

    width: float = 310
    height: float = 230
    left: float = 38
    right: float = 62
    top: float = 40
    bottom: float = 36


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
    style = {"marker": "o", "ms": 4.5, "mec": light("card"), "mew": 0.5} | style
    xs, ys, tips = zip(*marks, strict=True)
    gid = series(algorithm, tips)
    axes.plot(xs, ys, ls="none", color=light(token(algorithm)), gid=gid, **style)


def line(axes: Axes, algorithm: str, marks: Sequence[Mark], **style: Any) -> None:
    style = {"lw": 1.6, "solid_capstyle": "round"} | style
    xs, ys, _ = zip(*marks, strict=True)
    axes.plot(xs, ys, color=light(token(algorithm)), gid=series(algorithm), **style)


def series(algorithm: str, tips: Iterable[str] = ()) -> str:
    """The id by which a drawing's parts are known as an algorithm's; :mod:`..image` reads it."""
    return "\n".join([f"series {algorithm}", *(" ".join(tip.split()) for tip in tips)])


def level(axes: Axes, y: float, text: str) -> None:
    """A dashed line across at a height that means something."""
    axes.axhline(y, color=light("soft"), lw=0.9, ls=(0, (4, 3)), zorder=1)
    axes.text(
        0.012, y, text, transform=axes.get_yaxis_transform(), va="bottom", clip_on=True,
        color=light("soft"), fontsize=8,
    )  # fmt: skip


def name_ends(axes: Axes, ends: Iterable[tuple[str, Mark]]) -> None:
    """Names beside the right edge, each as near as can be to the height where its line ends."""
    ends = sorted(ends, key=lambda end: end[1].y)
    heights: list[float] = []
    for _, mark in ends:
        y = _place(axes, mark)[1]
        heights.append(max(y, heights[-1] + _LEADING) if heights else y)
    top = axes.bbox.y1 + _LEADING / 2
    for rank in range(len(heights)):  # from above, so that the highest name stays inside
        heights[-1 - rank] = min(heights[-1 - rank], top - rank * _LEADING)
    for (algorithm, mark), height in zip(ends, heights, strict=True):
        _name(axes, algorithm, mark, (axes.bbox.x1 + 8, height))


def _name(axes: Axes, algorithm: str, mark: Mark, place: tuple[float, float]) -> None:
    """An algorithm's name at ``place`` of the figure, and a thin line to what it names."""
    colour = light(token(algorithm))
    text = axes.annotate(
        algorithm, (mark.x, mark.y), place, textcoords="figure points", va="center",
        color=colour, fontsize=8.5, fontweight="bold", gid=series(algorithm), zorder=5,
        arrowprops={
            "arrowstyle": "-", "color": colour, "lw": 0.6, "relpos": (0, 0.5),
            "shrinkA": 1, "shrinkB": 0,
        },
    )  # fmt: skip
    text.arrow_patch.set_gid(series(algorithm))


def _place(axes: Axes, mark: Mark) -> tuple[float, float]:
    """Where a mark is in the figure, in points: figures are drawn with one pixel to the point."""
    axes.get_xlim(), axes.get_ylim()  # settles the limits
    x, y = axes.transData.transform((mark.x, mark.y))
    return float(x), float(y)


def log(axis: Axis, text: Callable[[float], str]) -> None:
    """A logarithmic axis with a few ticks, written by ``text``."""
    {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]("log")
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 40 * low else (1,), numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))


def number(value: float) -> str:
    return f"{value:,.10g}"


def power(value: float) -> str:
    """A power of ten, as 10⁻⁷."""
    mantissa, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if mantissa == "1" else f"{mantissa}·10{raised}"
