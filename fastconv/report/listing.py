"""The table of everything: a row for each layer, pass and algorithm."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from typing import NamedTuple

from fastconv.comparison.results import Entry, Results
from fastconv.conv.compare import Pass
from fastconv.conv.measuring import Measured
from fastconv.core.text import amount, duration

from .palette import token
from .ranking import chosen, ran, uncertain


class Cell(NamedTuple):
    text: str
    value: float | None = None  # to sort by


_UNKNOWN = Cell("")


class Column(NamedTuple):
    heading: str
    meaning: str
    cell: Callable[[Pass, Measured], Cell]


def _share(one: Pass, row: Measured) -> Cell:
    if row.executed is None:
        return _UNKNOWN
    share = row.executed / one.peak
    return Cell(f"{share:.0%}", share)


def _phases(one: Pass, row: Measured) -> Cell:
    phases = row.phases or {}
    return Cell(", ".join(f"{name} {duration(seconds)}" for name, seconds in phases.items()))


_COLUMNS = (
    Column("time", "median of the runs", lambda _, r: Cell(duration(r.seconds), r.seconds)),
    Column(
        "±",
        "half the distance of the quartiles, in parts of the time",
        lambda _, r: Cell(f"{r.spread / r.seconds / 2:.0%}", r.spread / r.seconds),
    ),
    Column(
        "GFLOP/s",
        "effective: the direct sum’s arithmetic over the time",
        lambda _, r: Cell(f"{r.gflops:.1f}", r.gflops),
    ),
    Column(
        "executed",
        "GFLOP/s of all arithmetic that was done",
        lambda _, r: _UNKNOWN if r.executed is None else Cell(f"{r.executed:.1f}", r.executed),
    ),
    Column("of peak", "the executed rate in the measured peak", _share),
    Column(
        "scratch",
        "bytes of workspace, all threads together",
        lambda _, r: _UNKNOWN if r.workspace is None else Cell(amount(r.workspace), r.workspace),
    ),
    Column("error", "max|y − y64| / max|y64|", lambda _, r: Cell(f"{r.error:.1e}", r.error)),
)
_PHASES = Column("phases", "where a worker’s time went", _phases)
_NAMES = (("layer", ""), ("pass", ""), ("algorithm", "an algorithm, or another library"))


def table(results: Results) -> str:
    """The table's HTML; phases have a column where any are known."""
    known = any(row.phases for entry in results.entries for row in entry.measured.rows)
    columns = (*_COLUMNS, _PHASES) if known else _COLUMNS
    names = [*_NAMES, *((column.heading, column.meaning) for column in columns)]
    head = "".join(
        f'<th scope="col"{" class=name" if place < len(_NAMES) else ""} title="{html.escape(meaning)}">'
        f'<button type="button">{html.escape(heading)}</button></th>'
        for place, (heading, meaning) in enumerate(names)
    )
    body = "\n".join(line for entry in results.entries for line in _lines(entry, columns))
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _lines(entry: Entry, columns: tuple[Column, ...]) -> list[str]:
    """The rows of one pass of one layer: the fastest first, then who cannot run it."""
    one = entry.measured
    measured = ran(one)
    lines = [
        _line(entry, row, _badges(one, row), "", "".join(_td(c.cell(one, row)) for c in columns))
        for row in measured
    ]
    for row in one.rows:
        if row not in measured:
            reason = html.escape(row.reason or "it was not measured")
            cells = f'<td class="reason" colspan="{len(columns)}">{reason}</td>'
            lines.append(_line(entry, row, "", "refused", cells))
    return lines


def _line(entry: Entry, row: Measured, badges: str, kind: str, cells: str) -> str:
    problem, name = entry.measured.problem, html.escape(row.algorithm)
    direction = html.escape(problem.direction)
    return (
        f'<tr class="{kind}" data-pass="{direction}" data-algorithm="{name}">'
        f'<th scope="row" title="{html.escape(problem.summary)}">{html.escape(entry.layer)}</th>'
        f'<td class="name">{direction}</td>'
        f'<td class="name"><i style="--hue: var(--{token(row.algorithm)})"></i>{name}{badges}</td>'
        f"{cells}</tr>"
    )


def _badges(one: Pass, row: Measured) -> str:
    """What is to be said of a row beside its figures."""
    badges = {
        "fastest": row == ran(one)[0],
        "uncertain": row == ran(one)[0] and uncertain(one),
        "chosen": row == chosen(one),
    }
    return "".join(f' <span class="{name}">{name}</span>' for name, on in badges.items() if on)


def _td(cell: Cell) -> str:
    known = cell.value is not None and math.isfinite(cell.value)
    value = f' data-value="{cell.value!r}"' if known else ""
    return f"<td{value}>{html.escape(cell.text)}</td>"
