"""Tables of layers: a line for each pass, the name of the layer on the first of them."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.table import Table
from rich.text import Text

Cell = str | Text


def table(columns: Iterable[str], figures_from: int = 0) -> Table:
    """An empty table; columns from number ``figures_from`` on hold figures (0: none do)."""
    empty = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, name in enumerate(columns):
        figures = 0 < figures_from <= number
        justify = "right" if figures else "left"
        empty.add_column(name, justify=justify, no_wrap=figures, overflow="fold")
    return empty


def by_layer(empty: Table, rows: Iterable[tuple[Cell, ...]]) -> Table:
    """``rows`` in a table; of a first cell that is the same as above, only the first is shown."""
    above: Cell | None = None
    for first, *rest in rows:
        if first != above and above is not None:
            empty.add_section()
        empty.add_row("" if first == above else first, *rest)
        above = first
    return empty
