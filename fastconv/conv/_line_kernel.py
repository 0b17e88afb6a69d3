"""The kernel of ``direct`` for a few channels: lines of pixels against every tile of filters."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm import windows
from fastconv.gemm.windows import pack_block
from fastconv.simd.copying import copy, next_task
from fastconv.simd.microkernel import tile_pitched
from fastconv.simd.phases import lap, started
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu y yn yg yh yw I J "
    # packed filters, bytes of a tile of them
    "w bias w_tile tiles filters groups "
    # the window: its rows, and the terms of a row; input rows and columns from output to output
    "window_rows terms row_advance column_advance "
    # output rows of a task, tasks of an image; the buffer of their window
    "task_i tasks_i buffer_rows buffer_columns " + windows.FIELDS
)


@functools.cache
def line_kernel(itemsize: int, mr: int, nv: int) -> Kernel:
    """Implicit GEMM with tiles of ``mr`` pixels of one line × ``nv`` vectors of filters.

    The last tile of a line begins so many pixels before its end, and computes some again.
    """
    row = nv * lanes(itemsize) * itemsize

    @kernel(LAYOUT)
    def line(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        tile = a.scratch + worker * a.scratch_bytes
        buffer = tile + mr * row
        pixel = a.block * itemsize
        pitch = a.column_advance * pixel
        line_bytes = a.buffer_columns * pixel
        step = mr * a.yw // (a.tiles * a.window_rows * a.terms)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            group, rest = task % a.groups, task // a.groups
            image, i0 = rest // a.tasks_i, rest % a.tasks_i * a.task_i
            pack_block(
                like, a, itemsize, buffer, image, group, 0, a.row_first + i0 * a.row_advance,
                a.buffer_rows, a.column_first, a.buffer_columns,
            )  # fmt: skip
            clock = lap(a.profile, worker, INPUT, clock)
            for i in range(min(a.task_i, a.I - i0)):
                x = buffer + i * a.row_advance * line_bytes
                y = a.y + image * a.yn + group * a.yg + (i0 + i) * a.yh
                for start in range(0, a.J, mr):
                    j = min(start, a.J - mr)
                    ahead = y + (j + mr) * a.yw
                    for t in range(a.tiles):
                        index = group * a.tiles + t
                        left = a.filters * itemsize - t * row
                        target, to = y + j * a.yw + t * row, a.yw
                        if left < row:
                            target, to = tile, row
                        tile_pitched(
                            like, mr, nv, x + j * pitch, pitch, line_bytes, a.window_rows, a.terms,
                            a.w + index * a.w_tile, ahead, step, a.bias + index * row, 0, a.relu,
                            target, to,
                        )  # fmt: skip
                        ahead += step * a.window_rows * a.terms
                        if left < row:
                            for m in range(mr):
                                copy(y + (j + m) * a.yw + t * row, tile + m * row, left)
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return line
