"""The kernel of ``direct`` for a few channels: lines of pixels against every tile of filters."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_lines
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import LINE, copy, fetch
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    # whether results go to planes, so many lines at a time; bytes of room for them
    "counter profile tasks scratch scratch_bytes relu y yn yg yk yh yw I J planes lines room_bytes "
    # packed filters, bytes of a tile of them
    "w bias w_tile tiles filters groups "
    # the window: its rows; input rows from one to the next, rows and columns from output to output
    "window_rows row_spread row_advance column_advance "
    # output rows and groups of a task, tasks along either; how many in a row have the same groups;
    # the buffer of their window
    "task_i tasks_i task_g tasks_g turn buffer_rows buffer_columns "
    # what is fetched meanwhile: the lines of the next task, or the pixels of the next group
    "fetches_lines fetches_group",
    tile=TILE,
    input=WINDOW,
)


@inner
def locate_lines(a, task):
    """Where the lines of a task are: first group, image, first row."""
    first = task // a.turn % a.tasks_g * a.task_g
    rest = task % a.turn + task // (a.turn * a.tasks_g) * a.turn
    return first, rest // a.tasks_i, rest % a.tasks_i * a.task_i


@inner
def _multiply(a, row, x, j, count, pitch, line, index, behind, lines, target, to):
    """So many tiles of pixels from ``j`` on by one of filters."""
    call(
        a.tile.multiply, count, x + j * pitch, a.row_spread * line, a.window_rows,
        a.w + index * a.w_tile, behind, lines, a.bias + index * row, a.relu, target + j * to, to,
    )  # fmt: skip
    return behind + count * lines * LINE


@inner
def _multiply_line(a, row, x, pitch, line, index, behind, lines, target, to):
    """All pixels of a line by a tile of filters; the last tile begins one before the end.

    For every tile so many cache lines are fetched from ``behind`` on; where the next ones are.
    """
    count, rest = a.J // a.tile.mr, a.J % a.tile.mr
    behind = _multiply(a, row, x, 0, count, pitch, line, index, behind, lines, target, to)
    if rest > 0:
        last = a.J - a.tile.mr
        behind = _multiply(a, row, x, last, 1, pitch, line, index, behind, lines, target, to)
    return behind


@inner
def behind_window(a, image, i0):
    """What follows the window of a task in x, which the next one reads: where, and how many bytes.

    None of planes.
    """
    x = a.input
    together = x.xh == x.width * x.xw and x.xw == x.channels * x.xc
    first = x.row_first + i0 * a.row_advance + a.buffer_rows
    nbytes = a.fetches_lines * together * a.task_i * a.row_advance * x.xh
    return x.x + image * x.xn + first * x.xh, nbytes


@inner
def _fetch_group(a, image, group, i0, first, end):
    """The pixels of some rows of the window of a group."""
    x = a.input
    at = x.x + image * x.xn + group * x.xg + x.column_first * x.xw
    for r in range(first, end):
        row = at + (x.row_first + i0 * a.row_advance + r) * x.xh
        fetch(row, a.buffer_columns, x.xw)


@inner
def _line_to_rows(a, item, row, x, pitch, line, y, group, pixels, behind, lines):
    """A line of channels-last pixels, in room for ``pixels`` if a tile of filters is not whole."""
    for t in range(a.tiles):
        left = a.filters * item - t * row
        target, to = y + t * row, a.yw
        if left < row:
            target, to = pixels, row
        index = group * a.tiles + t
        behind = _multiply_line(a, row, x, pitch, line, index, behind, lines, target, to)
        if left < row:
            for j in range(a.J):
                copy(y + t * row + j * a.yw, pixels + j * row, left)
    return behind


@inner
def pixels_to_planes(like, a, item, vector, row, y, first, pixels, count, after):
    """``count`` pixels of a tile of filters, from the ``first`` on, to as many planes.

    As many as from ``after`` on are fetched meanwhile, unless that is 0: others to be stored next.
    """
    filters = min(row // item, a.filters - first)
    for lane in range(0, filters, vector):
        for j in range(0, count, vector):
            transpose_tile(
                like, y + (first + lane) * a.yk + j * item, a.yk, pixels + j * row + lane * item,
                row, min(vector, count - j), min(vector, filters - lane),
            )  # fmt: skip
            if after:
                fetch(after + lane * a.yk + j * item, vector, a.yk)


@inner
def _lines_to_planes(like, a, item, vector, row, x, pitch, line, n_lines, y, group, pixels):
    """Some lines of every plane, one behind the other, out of all pixels of a tile of filters."""
    width, count = row // item, n_lines * a.J
    for t in range(a.tiles):
        for i in range(n_lines):
            source, target = x + i * a.row_advance * line, pixels + i * a.J * row
            _multiply_line(a, row, source, pitch, line, group * a.tiles + t, source, 0, target, row)
        pixels_to_planes(like, a, item, vector, row, y, t * width, pixels, count, 0)


@functools.cache
def line_kernel(itemsize: int) -> Kernel:
    """Implicit GEMM with tiles of pixels of one line × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def lines(worker, a):
        like = element(itemsize)
        mr, row = a.tile.mr, a.tile.nr * itemsize
        pixels = a.scratch + worker * a.scratch_bytes
        buffer = pixels + a.room_bytes
        pixel = a.input.block * itemsize
        pitch, line = a.column_advance * pixel, a.buffer_columns * pixel
        tiles_across = (a.J + mr - 1) // mr
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            first, image, i0 = locate_lines(a, task)
            for group in range(first, min(first + a.task_g, a.groups)):
                pack_lines(like, a, itemsize, buffer, image, group, i0)
                clock = lap(a.profile, worker, INPUT, clock)
                rows = min(a.task_i, a.I - i0)
                behind, nbytes = behind_window(a, image, i0)
                n_lines = nbytes // (rows * tiles_across * a.tiles * LINE) + (nbytes > 0)
                for i in range(0, rows, a.lines):
                    x = buffer + i * a.row_advance * line
                    y = a.y + image * a.yn + group * a.yg + (i0 + i) * a.yh
                    if a.fetches_group != 0 and group + 1 < a.groups:
                        end = (i + 1) * a.row_advance if i + 1 < rows else a.buffer_rows
                        _fetch_group(a, image, group + 1, i0, i * a.row_advance, end)
                    if a.planes:
                        _lines_to_planes(
                            like, a, itemsize, vector, row, x, pitch, line,
                            min(a.lines, rows - i), y, group, pixels,
                        )  # fmt: skip
                    else:
                        behind = _line_to_rows(
                            a, itemsize, row, x, pitch, line, y, group, pixels, behind, n_lines
                        )
                clock = lap(a.profile, worker, MULTIPLY, clock)

    return lines
