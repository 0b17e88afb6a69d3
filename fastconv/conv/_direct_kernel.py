"""The kernel of ``direct``: blocks of output pixels, each against every tile of filters."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, inner, kernel, record
from fastconv.gemm import results, windows
from fastconv.gemm.windows import pack_window
from fastconv.gemm.results import ROWS, store_tile
from fastconv.simd.copying import next_task, put_word
from fastconv.simd.microkernel import tile_rows
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter tasks scratch scratch_bytes relu "
    # the output: strides in bytes; output row i stands at row y_row_first + i·y_row_step
    "y yn yg yh yw y_row_first y_row_step y_column_first y_column_step y_rows y_columns "
    # packed filters: bytes of a tile, and of one block of channels in it
    "w bias w_tile w_block tiles all_lanes "
    # the sum: runs of consecutive elements, so many in a block; blocks between two spills
    "runs block_runs length chunk in_place "
    # buffer rows and columns from one output to the next, and in one task
    "row_advance column_advance buffer_rows buffer_columns "
    # blocking: the grid of pixels, a task's share of it, and the number of tasks along each axis
    "N I J task_n task_i task_j tasks_i tasks_j groups splits "
    + windows.FIELDS + " " + results.FIELDS
)  # fmt: skip


@inner
def _address_pixels(a, item, mr, origin, group, n0, n1, i0, i1, j0, j1, a_rows, pixels, room):
    """Fill the tables of a task: where each pixel is read, written, and how much room it has.

    Returns the number of pixels.  The reading table is filled up to whole tiles with the last one.
    """
    at = 0
    source = origin
    for n in range(n0, n1):
        for i in range(i0, i1):
            y = a.y + n * a.yn + group * a.yg + (a.y_row_first + i * a.y_row_step) * a.yh
            for j in range(j0, j1):
                if a.in_place:
                    source = a.x + n * a.xn + group * a.xg
                    source += (a.row_first + i * a.row_source) * a.xh
                    source += (a.column_first + j * a.column_source) * a.xw
                else:
                    row = (n - n0) * a.n_blocks * a.buffer_rows + (i - i0) * a.row_advance
                    column = (j - j0) * a.column_advance
                    source = origin + (row * a.buffer_columns + column) * a.block * item
                put_word(a_rows + at * 8, source)
                put_word(pixels + at * 8, y + (a.y_column_first + j * a.y_column_step) * a.yw)
                put_word(room + at * 16, a.y_rows - i * a.y_row_step)
                put_word(room + at * 16 + 8, a.y_columns - j * a.y_column_step)
                at += 1
    for rest in range(at, -(-at // mr) * mr):
        put_word(a_rows + rest * 8, source)
    return at


@functools.cache
def direct_kernel(itemsize: int, mr: int, nv: int) -> Kernel:
    """Implicit GEMM with tiles of ``mr`` pixels × ``nv`` vectors of filters."""
    vector = lanes(itemsize)
    width = nv * vector

    @kernel(LAYOUT)
    def direct(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        row = width * itemsize
        most = a.task_n * a.task_i * a.task_j + mr
        relative = a.scratch + worker * a.scratch_bytes
        a_rows = relative + mr * 8
        pixels = a_rows + most * 8
        room = pixels + most * 8
        tile = (room + most * 16 + 63) // 64 * 64
        partial = tile + mr * row
        buffer = partial
        if a.chunk < a.n_blocks:
            buffer += (most + mr) * row
        for m in range(mr):
            put_word(relative + m * 8, m * row)
        share = -(-a.tiles // a.splits)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            split = task % a.splits
            task //= a.splits
            group = task % a.groups
            task //= a.groups
            j0 = task % a.tasks_j * a.task_j
            task //= a.tasks_j
            i0 = task % a.tasks_i * a.task_i
            n0 = task // a.tasks_i * a.task_n
            n1 = min(a.N, n0 + a.task_n)
            i1 = min(a.I, i0 + a.task_i)
            j1 = min(a.J, j0 + a.task_j)
            if not a.in_place:
                pack_window(
                    like, a, itemsize, buffer, n0, n1 - n0, group, i0 * a.row_advance,
                    a.buffer_rows, j0 * a.column_advance, a.buffer_columns,
                )  # fmt: skip
            count = _address_pixels(
                a, itemsize, mr, buffer, group, n0, n1, i0, i1, j0, j1, a_rows, pixels, room
            )
            for t in range(split * share, min(a.tiles, (split + 1) * share)):
                index = group * a.tiles + t
                lane = t * width
                n_lanes = min(width, a.all_lanes - lane)
                for block in range(0, a.n_blocks, a.chunk):
                    blocks = min(a.chunk, a.n_blocks - block)
                    last = block + blocks == a.n_blocks
                    relu = a.relu if last else 0
                    runs = a.runs + block * a.block_runs * 8
                    w = a.w + index * a.w_tile + block * a.w_block
                    for m in range(0, count, mr):
                        init, pitch = a.bias + index * row, 0
                        if block > 0:
                            init, pitch = partial + m * row, row
                        valid = min(mr, count - m)
                        to, shift = relative, partial + m * row
                        straight = a.store == ROWS and valid == mr and n_lanes == width
                        if last:
                            shift = tile
                            if straight:
                                to, shift = pixels + m * 8, lane * itemsize
                        tile_rows(
                            like, mr, nv, a_rows + m * 8, runs, blocks * a.block_runs, a.length,
                            w, init, pitch, relu, to, shift,
                        )  # fmt: skip
                        if last and not straight:
                            store_tile(
                                like, a, itemsize, vector, tile, row, pixels, room, m, valid,
                                lane, n_lanes,
                            )  # fmt: skip

    return direct
