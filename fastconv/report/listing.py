"""The table of everything: a row for each layer, pass and algorithm."""

from __future__ import annotations

import html
import math
from collections.abc import Callable

from fastconv.comparison.results import Entry, Results
from fastconv.conv.measuring import Measured
from fastconv.conv.outcome import Pass
from fastconv.core.text import duration

from .palette import token
from .ranking import chosen, podium, uncertain

# What the figures of a pass (their text is `Pass.figures`) mean, and what to sort them by.
_FIGURES: dict[str, tuple[str, Callable[[Pass, Measured], float | None]]] = {
    "time": ("median of the runs", lambda _, row: row.seconds),
    "±": (
        "half the distance of the quartiles, in parts of the time",
        lambda _, row: row.spread / row.seconds,
    ),
    "GFLOP/s": (
        "effective: the direct sum’s arithmetic over the time",
        lambda _, row: row.gflops,
    ),
    "executed": ("GFLOP/s of all arithmetic that was done", lambda _, row: row.executed),
    "of peak": ("the executed rate in the measured peak", Pass.share),
    "scratch": ("bytes of workspace, all threads together", lambda _, row: row.workspace),
    "error": ("max|y − y64| / max|y64|", lambda _, row: row.error),
}
_NAMES = {"layer": "", "pass": "", "algorithm": "an algorithm, or another library"}
_PHASES = {"phases": "where a worker’s time went"}
_CLASSES = dict.fromkeys((*_NAMES, *_PHASES), ' class="name"')


def table(results: Results) -> str:
    """The table's HTML; phases have a column where any are known."""
    known = any(row.phases for entry in results.entries for row in entry.measured.rows)
    columns = _NAMES | {name: meaning for name, (meaning, _) in _FIGURES.items()}
    columns |= _PHASES if known else {}
    head = "".join(
        f'<th scope="col"{_CLASSES.get(name, "")} title="{html.escape(meaning)}">'
        f'<button type="button">{html.escape(name)}</button></th>'
        for name, meaning in columns.items()
    )
    width = len(columns) - len(_NAMES)
    body = "\n".join(line for entry in results.entries for line in _lines(entry, width))
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _lines(entry: Entry, width: int) -> list[str]:
    """The rows of one pass of one layer: the fastest first, then who cannot run it."""
    one = entry.measured
    lines = [
        _line(entry, row, _badges(one, row), "", _cells(one, row, width)) for row in one.ranked
    ]
    for row in one.rows:
        if row.reason is not None:
            reason = f'<td class="reason" colspan="{width}">{html.escape(row.reason)}</td>'
            lines.append(_line(entry, row, "", "refused", reason))
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
    """What is to be said of a row beside its figures: word → why, where there is more to say."""
    first = row == podium(one)[0] if podium(one) else False
    badges = {
        "winner": "" if first else None,
        "uncertain": (one.doubt or "the second is close") if first and uncertain(one) else None,
        "chosen": one.why if row == chosen(one) else None,
        "barred": row.barred,
    }
    return "".join(
        f' <span class="{word}" title="{html.escape(why)}">{word}</span>'
        for word, why in badges.items()
        if why is not None
    )


def _cells(one: Pass, row: Measured, width: int) -> str:
    values = [value(one, row) for _, value in _FIGURES.values()]
    cells = [_cell(text, value) for text, value in zip(one.figures(row), values, strict=True)]
    if width > len(cells):
        phases = (f"{name} {duration(took)}" for name, took in (row.phases or {}).items())
        cells.append(f'<td class="name">{html.escape(", ".join(phases))}</td>')
    return "".join(cells)


def _cell(text: str, value: float | None) -> str:
    known = value is not None and math.isfinite(value)
    sort_by = f' data-value="{value!r}"' if known else ""
    return f"<td{sort_by}>{html.escape(text)}</td>"
