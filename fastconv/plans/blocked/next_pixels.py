"""Fetching the next block of pixels of a weight gradient while its tiles multiply this one.

Of channels-last pixels a call of a tile fetches a *column*: in each step of its sum so many bytes
as the tile has lanes of filters, of one pixel after the other; or, where whole pixels are wanted,
of their line, which memory likes better, and then only a part of so many if there are calls enough.
The columns of x and dy are shared out evenly among the calls, so that memory is never idle and
never in demand all at once.
"""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core.jit import inner
from fastconv.plans.pixel_tasks import corner
from fastconv.simd.copying import put_word

RUN_BYTES = 32  # bytes of an entry in a table of runs: on the left, in dy, in what is fetched
TABLES = 3  # of runs: for calls that fetch of x, of dy, and nothing
_MOST_PARTS = 8  # of the lanes of a tile: a few bytes, line after line


class Ahead(NamedTuple):
    """What calls fetch: of either operand where columns begin, how many, and their bytes.

    And the number of calls; the pixels of a line.
    """

    x: int
    x_columns: int
    x_row: int
    dy: int
    dy_columns: int
    dy_row: int
    calls: int
    length: int


@inner
def table_bytes(a):
    """Bytes of one of the tables of runs."""
    return a.task_n * a.task_i * RUN_BYTES


@inner
def in_a_row(block, pixel, row, image):
    """Whether all pixels of a block follow one another, ``pixel`` bytes apart."""
    line = block.columns * pixel
    return (block.rows == 1 or row == line) and (block.images == 1 or image == block.rows * line)


@inner
def list_lines(a, x, y, runs, lines, left, right):
    """One run for every line of a block, in all tables."""
    at, size = runs, table_bytes(a)
    for i in range(lines.rows):
        for n in range(lines.images):
            for table in range(TABLES):
                put_word(at + table * size, n * left.image + i * left.row)
                put_word(at + table * size + 8, n * right.image + i * right.row)
            put_word(at + 16, n * x.xn + i * a.row_stride * x.xh)
            put_word(at + size + 16, n * y.xn + i * y.xh)
            put_word(at + 2 * size + 16, 0)
            at += RUN_BYTES


@inner
def plan_fetches(
    a, x, y, row, block, lines, pixels, last, group, channel, x_bytes, lane, dy_bytes, calls
):  # fmt: skip
    """What so many calls fetch of the block of ``pixels``, unless it is the ``last``.

    So many bytes of every pixel, from a channel of x and a lane of dy on.  Where ``lines`` of the
    ``block`` are joined, those of an array are fetched if they join there, too.
    """
    n, i, j = corner(a, pixels)
    h, w = x.row_first + i * a.row_stride, x.column_first + j * a.column_stride
    item = row // a.tile.nr
    of_x = x.x + n * x.xn + h * x.xh + w * x.xw + group * x.xg + channel * x.xc
    of_dy = y.x + n * y.xn + i * y.xh + j * y.xw + group * y.xg + lane * y.xc
    joined = lines.columns != block.columns
    length = lines.columns if joined else a.task_j
    x_step = a.column_stride * x.xw
    x_follows = not joined or in_a_row(block, x_step, a.row_stride * x.xh, x.xn)
    dy_follows = not joined or in_a_row(block, y.xw, y.xh, y.xn)
    more = pixels < last
    x_bytes = x_bytes if more and x_follows and x.xc == item else 0
    dy_bytes = dy_bytes if more and dy_follows and y.xc == item else 0
    parts = 1
    while parts < _MOST_PARTS and 2 * parts * ((x_bytes + dy_bytes + row - 1) // row) <= calls:
        parts *= 2
    part = row // parts
    x_row = part if x_bytes == x_step and x_bytes % part == 0 else row
    dy_row = part if dy_bytes == y.xw and dy_bytes % part == 0 else row
    x_columns, dy_columns = (x_bytes + x_row - 1) // x_row, (dy_bytes + dy_row - 1) // dy_row
    return Ahead(of_x, x_columns, x_row, of_dy, dy_columns, dy_row, calls, length)


@inner
def _column(length, row, first, column, columns, pixel):
    """Where a column begins, and the bytes of a step."""
    if columns * row == pixel:
        return first + column * length * row, row
    return first + column * row, pixel


@inner
def fetched(a, x, y, ahead, call, near):
    """What a call fetches: where it begins, the bytes of a step, and which table of runs it has.

    Where there are more columns than calls, those of dy come first.  If a call has none, that is
    what is ``near`` already.
    """
    columns = min(ahead.calls, ahead.x_columns + ahead.dy_columns)
    column = call * columns // ahead.calls
    if (call + 1) * columns // ahead.calls == column:
        return near, 0, 2 * table_bytes(a)
    if column < ahead.dy_columns:
        at, step = _column(ahead.length, ahead.dy_row, ahead.dy, column, ahead.dy_columns, y.xw)
        return at, step, table_bytes(a)
    column, pixel = column - ahead.dy_columns, a.column_stride * x.xw
    at, step = _column(ahead.length, ahead.x_row, ahead.x, column, ahead.x_columns, pixel)
    return at, step, 0
