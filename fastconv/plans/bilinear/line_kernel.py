"""The kernel of minimal filtering along lines: a window's components, then lines of outputs."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.plans.lines.line_kernel import behind_window, pixels_to_planes
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import LINE, fetch
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .line_window import LINE_WINDOW, spread_lines

LAYOUT = record(
    # whether results go to planes, so many lines at a time, and what comes next there is fetched
    # meanwhile; bytes of room for them
    "counter profile tasks scratch scratch_bytes relu flag y yn yg yk yh yw I J planes lines "
    "fetches_planes room_bytes "
    # mapped filters, bytes of a tile of them
    "w bias w_tile tiles filters groups "
    # rows of the window; tasks of an image; register tiles of a line, those of one tile less
    "window_rows tasks_i wide narrow",
    tile=TILE,
    window=LINE_WINDOW,
)


@inner
def _multiply(a, item, row, x, n_lines, index, target, step, to, pixels, left, fetches, spare):
    """Lines, ``step`` bytes apart, by one tile of filters, of which so many bytes are ``left``."""
    window = a.window
    pitch = window.pitch * item
    call(
        a.tile.multiply, n_lines, a.wide, a.narrow, x, window.row_advance * pitch,
        window.row_spread * pitch, window.component, a.window_rows, window.terms,
        a.w + index * a.w_tile, a.bias + index * row, a.relu, target, step, to, pixels,
        left // item, fetches, spare, a.flag,
    )  # fmt: skip


@inner
def _lines_to_rows(a, item, row, x, n_lines, y, group, spare):
    """Some lines of channels-last pixels; each fetches the next one meanwhile."""
    for f in range(a.tiles):
        left = min(row, a.filters * item - f * row)
        at = y + f * row
        _multiply(
            a, item, row, x, n_lines, group * a.tiles + f, at, a.yh, a.yw, a.J, left, 1, spare,
        )  # fmt: skip


@inner
def _lines_to_planes(like, a, item, vector, row, x, n_lines, y, group, pixels):
    """Some lines of every plane, one behind the other, out of all pixels of a tile of filters."""
    width = row // item
    for f in range(a.tiles):
        # Behind the last pixel is what the next line overwrites.
        index, every = group * a.tiles + f, a.window.across * a.window.m
        _multiply(a, item, row, x, n_lines, index, pixels, a.J * row, row, every, row, 0, pixels)
        first = f * width
        # The next tile's planes come next, behind the last tile's the next lines.
        after = y + (first + width) * a.yk if f + 1 < a.tiles else y + n_lines * a.yh
        after *= a.fetches_planes
        pixels_to_planes(like, a, item, vector, row, y, first, pixels, n_lines * a.J, after)


@functools.cache
def filtered_line_kernel(itemsize: int) -> Kernel:
    """Register tiles of some tiles of a line × vectors of filters, mapped before being stored."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def filtered_lines(worker, a):
        like, window = element(itemsize), a.window
        row = a.tile.nr * itemsize
        room = a.scratch + worker * a.scratch_bytes
        step = window.row_advance * window.pitch * itemsize
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            i0, rest = task % a.tasks_i * window.task_i, task // a.tasks_i
            group, image = rest % a.groups, rest // a.groups
            x = spread_lines(like, window, itemsize, vector, image, group, i0, room + a.room_bytes)
            clock = lap(a.profile, worker, INPUT, clock)
            rows = min(window.task_i, a.I - i0)
            behind, nbytes = behind_window(window, image, i0)
            behind_lines = nbytes // (rows * LINE) + (nbytes > 0)
            for i in range(0, rows, a.lines):
                at, n_lines = x + i * step, min(a.lines, rows - i)
                fetch(behind + i * behind_lines * LINE, n_lines * behind_lines, LINE)
                y = a.y + image * a.yn + group * a.yg + (i0 + i) * a.yh
                if a.planes:
                    _lines_to_planes(
                        like, a, itemsize, vector, row, at, n_lines, y, group, room
                    )  # fmt: skip
                else:
                    _lines_to_rows(a, itemsize, row, at, n_lines, y, group, room)
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return filtered_lines
