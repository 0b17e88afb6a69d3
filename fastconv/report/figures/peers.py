"""The ratio to the fastest peer, layer by layer."""

from __future__ import annotations

from functools import partial
from statistics import geometric_mean

from matplotlib.axes import Axes

from fastconv.comparison.results import Entry, Results
from fastconv.core.text import duration
from fastconv.report.grouping import by_pass
from fastconv.report.palette import light
from fastconv.report.ranking import chosen, fastest_peer, ratio

from .panel import Frame, Mark, Panel, line, log, number, points

TITLE = "Beside the peers"
CAPTION = (
    "How many times as fast as the fastest peer the selector’s choice is, layer by layer, in the "
    "colour of the algorithm that it chose; right of 1 fastconv is faster. Bars are the spread of "
    "both times."
)
NEEDS = (
    "No peer was measured: install one (pip install 'fastconv[peers]') and compare with "
    "fastconv compare --peers torch."
)
_ROW, _FRAME = 13, Frame(left=122, right=16)
_LETTERS = 24  # of a name that fit


def panels(results: Results) -> list[Panel]:
    order = _order(results)
    found = []
    for group in by_pass(results.entries):
        entries = [entry for entry in group.entries if ratio(entry.measured)]
        entries.sort(key=lambda entry: order[entry.layer])
        height = _FRAME.top + _FRAME.bottom + _ROW * max(4, len(entries))
        if entries:
            found.append(
                Panel(
                    group.title, group.direction, "times as fast", "",
                    partial(_draw, entries=entries), _FRAME._replace(height=height),
                )
            )  # fmt: skip
    return found


def _order(results: Results) -> dict[str, float]:
    """Layer → its mean ratio over the passes, by which the layers of every panel are sorted."""
    ratios: dict[str, list[float]] = {}
    for layer, one in results.entries:
        if (value := ratio(one)) is not None:
            ratios.setdefault(layer, []).append(value)
    return {layer: geometric_mean(values) for layer, values in ratios.items()}


def _draw(axes: Axes, entries: list[Entry]) -> None:
    axes.axvline(1, color=light("soft"), lw=1.2, zorder=1)
    for y, (layer, one) in enumerate(entries):
        choice, peer, value = chosen(one), fastest_peer(one), ratio(one)
        assert choice and peer and value  # as it has a ratio
        spread = value * (choice.spread / choice.seconds + peer.spread / peer.seconds) / 2
        tip = (
            f"{layer}: {value:.2f}×, {choice.algorithm} {duration(choice.seconds)}, "
            f"{peer.algorithm} {duration(peer.seconds)}"
        )
        ends = [Mark(max(value - spread, value / 10), y), Mark(value + spread, y)]
        line(axes, choice.algorithm, ends, alpha=0.5)
        points(axes, choice.algorithm, [Mark(value, y, tip)], ms=6)
    log(axes, axes.xaxis, number)
    axes.set_ylim(-0.7, len(entries) - 0.3)
    axes.set_yticks(range(len(entries)), [_short(entry.layer) for entry in entries])
    axes.tick_params(axis="y", length=0)


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
