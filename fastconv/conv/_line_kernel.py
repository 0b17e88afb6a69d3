"""The kernel of ``direct`` for a few channels: lines of pixels against every tile of filters."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.simd.copying import copy, next_task
from fastconv.simd.phases import lap, started
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu y yn yg yh yw I J "
    # packed filters, bytes of a tile of them
    "w bias w_tile tiles filters groups "
    # the window: its rows, and the terms of a row; input rows and columns from output to output
    "window_rows terms row_advance column_advance "
    # output rows of a task, tasks of an image; the buffer of their window
    "task_i tasks_i buffer_rows buffer_columns",
    tile=TILE,
    input=WINDOW,
)


@inner
def _line(a, item, mr, row, x, pitch, line, y, group, tile):
    """A line of channels-last pixels; what comes behind it in y is fetched meanwhile."""
    terms = a.window_rows * a.terms
    step = mr * a.yw // (a.tiles * terms)
    for start in range(0, a.J, mr):
        j = min(start, a.J - mr)
        for t in range(a.tiles):
            left = a.filters * item - t * row
            target, to = y + j * a.yw + t * row, a.yw
            if left < row:
                target, to = tile, row
            index = group * a.tiles + t
            ahead = y + (j + mr) * a.yw + t * terms * step
            call(
                a.tile.multiply, x + j * pitch, pitch, line, a.window_rows, a.terms,
                a.w + index * a.w_tile, ahead, step, a.bias + index * row, 0, a.relu, target, to,
            )  # fmt: skip
            if left < row:
                for m in range(mr):
                    copy(y + (j + m) * a.yw + t * row, tile + m * row, left)


@functools.cache
def line_kernel(itemsize: int) -> Kernel:
    """Implicit GEMM with tiles of pixels of one line × vectors of filters.

    The last tile of a line begins a tile before its end, and computes some pixels again.
    """

    @kernel(LAYOUT)
    def lines(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        mr, row = a.tile.mr, a.tile.nr * itemsize
        tile = a.scratch + worker * a.scratch_bytes  # results on their way
        buffer = tile + mr * row
        pixel = a.input.block * itemsize
        pitch, line = a.column_advance * pixel, a.buffer_columns * pixel
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            group, rest = task % a.groups, task // a.groups
            image, i0 = rest // a.tasks_i, rest % a.tasks_i * a.task_i
            pack_block(
                like, a.input, itemsize, buffer, image, group, 0,
                a.input.row_first + i0 * a.row_advance, a.buffer_rows, a.input.column_first,
                a.buffer_columns,
            )  # fmt: skip
            clock = lap(a.profile, worker, INPUT, clock)
            for i in range(min(a.task_i, a.I - i0)):
                x = buffer + i * a.row_advance * line
                y = a.y + image * a.yn + group * a.yg + (i0 + i) * a.yh
                _line(a, itemsize, mr, row, x, pitch, line, y, group, tile)
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return lines
