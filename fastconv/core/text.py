"""Text for people: quantities in the unit that one would choose, and tables of them."""

from __future__ import annotations

from collections.abc import Sequence


def amount(nbytes: float) -> str:
    """Bytes as B, KiB, MiB or GiB."""
    return _scaled(nbytes, 1024, ("B", "KiB", "MiB", "GiB"))


def duration(seconds: float) -> str:
    """Seconds as µs, ms or s."""
    return _scaled(seconds * 1e6, 1000, ("µs", "ms", "s"))


def threads(n: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{n} thread{'s' if n > 1 else ''}"


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    """Three significant digits, in the largest unit that leaves at least 1."""
    unit = 0
    while value >= step and unit < len(units) - 1:
        value /= step
        unit += 1
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {units[unit]}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: two spaces between columns, the first to the left, the others to the right.

    A row that ends early ends with a remark, which runs on over the columns that it lacks.
    """
    whole = [row for row in (header, *rows) if len(row) == len(header)]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    widths[0] = max(widths[0], *(len(row[0]) for row in rows)) if rows else widths[0]
    lines = [_line(header, widths)] + [_line(row, widths) for row in rows]
    rule = "─" * (sum(widths) + 2 * len(widths) - 2)
    return [lines[0], rule, *lines[1:]]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    remark = row[len(row) - 1 :] if len(row) < len(widths) else ()
    cells = row[: len(row) - len(remark)]
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=False)]
    return "  ".join([first, *rest, *remark]).rstrip()
