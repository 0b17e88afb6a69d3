"""The tables of ``fastconv compare``: one for each pass, and a summary of several layers."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fastconv.comparison.results import Entry
from fastconv.conv.measuring import Measured
from fastconv.conv.outcome import Pass
from fastconv.core.profile import PHASES

from .console import duration
from .grid import by_layer, table

_COLUMNS = (
    "   algorithm",
    "time",
    "±",
    "GFLOP/s",
    "executed",
    "of peak",
    "scratch",
    "error",
    "relative",
)
_SUMMARY = ("layer", "pass", "fastest ★", "time", "of peak", "chosen ●", "regret")
LEGEND = (
    '★ fastest that the accuracy allows   ● what "auto" takes   ? uncertain\n'
    "GFLOP/s: of the direct sum's operations; executed: of all that were run; "
    "relative: time over that of ★"
)


def passed(entry: Entry) -> Group:
    """One pass: algorithm by algorithm, the fastest first, and what is to be said of them."""
    one = entry.measured
    figures = table(_COLUMNS, 1)
    for row in one.ranked:
        figures.add_row(*_line(one, row), style=_style(one, row))
    refused = [Text(f"{r.algorithm}: {r.reason}", "dim") for r in one.rows if r.reason]
    notes = [Text(note, "yellow" if note.startswith("uncertain") else "") for note in one.notes]
    title = Text.from_markup(f"[bold]{escape(entry.layer)}[/]  {escape(one.title)}\n")
    return Group(title, figures, *_phases(one), "", *notes, *refused, "")


def _style(one: Pass, row: Measured) -> str:
    if row == one.winner:
        return "bold green"
    return "dim" if row.barred else "cyan" if row.algorithm == one.chosen else ""


def _line(one: Pass, row: Measured) -> tuple[str, ...]:
    figures = one.figures(row)
    ratio = f"{row.seconds / one.winner.seconds:.2f}×" if one.winner else ""
    return f"{_marks(one, row)} {row.algorithm}", *figures, ratio


def _marks(one: Pass, row: Measured) -> str:
    """Two characters."""
    doubt = "?" if one.doubt else "★"
    return (doubt if row == one.winner else " ") + ("●" if row.algorithm == one.chosen else " ")


def _phases(one: Pass) -> list[Table | str]:
    """Where a worker's time goes, for the algorithms of which that is known."""
    known = [row for row in one.ranked if row.phases]
    if not known:
        return []
    phases = table(("phases", *PHASES), 1)
    for row in known:
        times = (row.phases.get(name) for name in PHASES)
        phases.add_row(f"   {row.algorithm}", *("" if t is None else duration(t) for t in times))
    return ["", phases]


def summary(entries: Iterable[Entry], peers: tuple[str, ...]) -> Table:
    """A line for each pass: who won, and how the chosen one and the peers stand beside it."""
    rows = ((entry.layer, *_standing(entry.measured, peers)) for entry in entries)
    return by_layer(table((*_SUMMARY, *peers), 3), rows)


def _standing(one: Pass, peers: tuple[str, ...]) -> tuple[str | Text, ...]:
    direction, best = one.problem.direction, one.winner
    if best is None:
        return direction, Text("none", "dim"), "", "", one.chosen, "", *("" for _ in peers)
    beside = {row.algorithm: row.seconds / best.seconds for row in one.ranked}
    return (
        direction,
        Text(best.algorithm + (" ?" if one.doubt else ""), "yellow" if one.doubt else "green"),
        duration(best.seconds),
        one.figures(best)[4],
        one.chosen,
        "" if one.regret is None else f"{one.regret:.2f}×",
        *(f"{beside[peer]:.2f}×" if peer in beside else "" for peer in peers),
    )
