"""Fetching the next block of pixels of a weight gradient while its tiles multiply this one.

Of channels-last pixels a call of a tile fetches a *column*: in each step of its sum so many bytes
as the tile has lanes of filters, of one pixel after the other; or, where whole pixels are wanted,
of their line, which memory likes better, and then only a part of so many if there are calls enough.
The columns of x and dy are shared out evenly among the calls, so that memory is never idle and
never in demand all at once.
"""

from __future__ import annotations

from fastconv.core.jit import inner
from fastconv.plans.pixel_tasks import corner
from fastconv.simd.copying import put_word

RUN_BYTES = 32  # bytes of an entry in a table of runs: on the left, in dy, in what is fetched
TABLES = 3  # of runs: for calls that fetch of x, of dy, and nothing
_MOST_PARTS = 8  # of the lanes of a tile: a few bytes, line after line


@inner
def table_bytes(a):
    """Bytes of one of the tables of runs."""
    return a.task_n * a.task_i * RUN_BYTES


@inner
def list_lines(a, x, y, runs, block, left, right):
    """One run for every output row of the block, in all tables."""
    at, size = runs, table_bytes(a)
    for i in range(block.rows):
        for n in range(block.images):
            for table in range(TABLES):
                put_word(at + table * size, n * left.image + i * left.row)
                put_word(at + table * size + 8, n * right.image + i * right.row)
            put_word(at + 16, n * x.xn + i * a.row_stride * x.xh)
            put_word(at + size + 16, n * y.xn + i * y.xh)
            put_word(at + 2 * size + 16, 0)
            at += RUN_BYTES


@inner
def share_out(a, x, y, row, pixels, last, group, channel, x_bytes, lane, dy_bytes, calls):
    """What so many calls fetch of the block of ``pixels``, unless it is the ``last``.

    So many bytes of every pixel, from a channel of x and a lane of dy on: where they begin, how
    many columns each has and of how many bytes, and the calls.
    """
    n, i, j = corner(a, pixels)
    h, w = x.row_first + i * a.row_stride, x.column_first + j * a.column_stride
    item = row // a.tile.nr
    of_x = x.x + n * x.xn + h * x.xh + w * x.xw + group * x.xg + channel * x.xc
    of_dy = y.x + n * y.xn + i * y.xh + j * y.xw + group * y.xg + lane * y.xc
    more = pixels < last
    x_bytes = x_bytes if more and x.xc == item else 0
    dy_bytes = dy_bytes if more and y.xc == item else 0
    parts = 1
    while parts < _MOST_PARTS and 2 * parts * ((x_bytes + dy_bytes + row - 1) // row) <= calls:
        parts *= 2
    part = row // parts
    x_row = part if x_bytes == a.column_stride * x.xw and x_bytes % part == 0 else row
    dy_row = part if dy_bytes == y.xw and dy_bytes % part == 0 else row
    x_columns, dy_columns = (x_bytes + x_row - 1) // x_row, (dy_bytes + dy_row - 1) // dy_row
    return of_x, x_columns, x_row, of_dy, dy_columns, dy_row, calls


@inner
def _column(a, row, first, column, columns, pixel):
    """Where a column begins, and the bytes of a step."""
    if columns * row == pixel:
        return first + column * a.task_j * row, row
    return first + column * row, pixel


@inner
def fetched(a, x, y, ahead, call, near):
    """What a call fetches: where it begins, the bytes of a step, and which table of runs it has.

    Where there are more columns than calls, those of dy come first.  If a call has none, that is
    what is ``near`` already.
    """
    of_x, x_columns, x_row, of_dy, dy_columns, dy_row, calls = ahead
    columns = min(calls, x_columns + dy_columns)
    column = call * columns // calls
    if (call + 1) * columns // calls == column:
        return near, 0, 2 * table_bytes(a)
    if column < dy_columns:
        at, step = _column(a, dy_row, of_dy, column, dy_columns, y.xw)
        return at, step, table_bytes(a)
    at, step = _column(a, x_row, of_x, column - dy_columns, x_columns, a.column_stride * x.xw)
    return at, step, 0
