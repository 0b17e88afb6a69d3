"""The kernel of ``direct``: blocks of output pixels, each against every tile of filters."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, inner, kernel, record
from fastconv.gemm import results, windows
from fastconv.gemm.results import ROWS, store_tile
from fastconv.gemm.windows import pack_window
from fastconv.simd.copying import get_word, next_task, put_word
from fastconv.simd.microkernel import tile_rows
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter tasks scratch scratch_bytes relu "
    # the output: strides in bytes; output row i stands at row y_row_first + i·y_row_step
    "y yn yg yh yw y_row_first y_row_step y_column_first y_column_step y_rows y_columns "
    # packed filters: bytes of a tile of lanes
    "w bias w_tile tiles all_lanes "
    # the sum: its window and whether the taps of a row are one run; blocks between two spills
    "window_rows window_columns row_spread column_spread joined chunk in_place "
    # tables of the pixels of a block: [variant], room for so many pixels in each
    "reading writing windows most "
    # input and buffer rows and columns from one output to the next; those of a task's buffer
    "row_stride column_stride row_advance column_advance buffer_rows buffer_columns "
    # blocking: the grid of pixels, a task's share of it, and the number of tasks along each axis
    "N I J task_n task_i task_j tasks_i tasks_j groups splits "
    + windows.FIELDS + " " + results.FIELDS
)  # fmt: skip


@inner
def _list_runs(a, item, row, top, bottom, left, right, runs):
    """Fill the table of runs of a window, all blocks of channels; the number for each block."""
    across = 1 if a.joined else right - left
    at = 0
    for block in range(a.n_blocks):
        for r in range(top, bottom):
            for s in range(left, left + across):
                x = (block * a.buffer_rows + r * a.row_spread) * a.buffer_columns
                w = (block * a.window_rows + r) * a.window_columns + s
                put_word(runs + at, (x + s * a.column_spread) * a.block * item)
                put_word(runs + at + 8, w * a.block * row)
                at += 16
    return (bottom - top) * across


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
        relative = a.scratch + worker * a.scratch_bytes
        runs = relative + mr * 8
        tile = runs + a.n_blocks * a.window_rows * a.window_columns * 16
        tile = (tile + 63) // 64 * 64
        partial = tile + mr * row
        buffer = partial
        if a.chunk < a.n_blocks:
            buffer += a.most * row
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
            j = task % a.tasks_j
            task //= a.tasks_j
            i = task % a.tasks_i
            n = task // a.tasks_i
            n0, i0, j0 = n * a.task_n, i * a.task_i, j * a.task_j
            images = min(a.task_n, a.N - n0)
            count = images * min(a.task_i, a.I - i0) * min(a.task_j, a.J - j0)
            last_n = 1 if n0 + a.task_n >= a.N else 0
            variant = last_n * 4
            variant += 2 if i == a.tasks_i - 1 else 0
            variant += 1 if j == a.tasks_j - 1 else 0
            reading = a.reading + variant * a.most * 8
            writing = a.writing + variant * a.most * 24
            windows = a.windows + ((i * a.tasks_j + j) * 2 + last_n) * (a.most // mr) * 32
            y_row = a.y_row_first + i0 * a.y_row_step
            y_column = a.y_column_first + j0 * a.y_column_step
            y = a.y + n0 * a.yn + group * a.yg + y_row * a.yh + y_column * a.yw
            x = buffer
            if a.in_place:
                x = a.x + n0 * a.xn + group * a.xg + (a.row_first + i0 * a.row_stride) * a.xh
                x += (a.column_first + j0 * a.column_stride) * a.xw
            else:
                pack_window(
                    like, a, itemsize, buffer, n0, images, group, i0 * a.row_advance,
                    a.buffer_rows, j0 * a.column_advance, a.buffer_columns,
                )  # fmt: skip
            top, bottom, left, right, block_runs = -1, -1, -1, -1, 0
            for t in range(split * share, min(a.tiles, (split + 1) * share)):
                index = group * a.tiles + t
                lane = t * width
                n_lanes = min(width, a.all_lanes - lane)
                w = a.w + index * a.w_tile
                for block in range(0, a.n_blocks, a.chunk):
                    blocks = min(a.chunk, a.n_blocks - block)
                    last = block + blocks == a.n_blocks
                    for m in range(0, count, mr):
                        window = windows + m // mr * 32
                        if (
                            get_word(window) != top
                            or get_word(window + 8) != bottom
                            or get_word(window + 16) != left
                            or get_word(window + 24) != right
                        ):
                            top, bottom = get_word(window), get_word(window + 8)
                            left, right = get_word(window + 16), get_word(window + 24)
                            block_runs = _list_runs(
                                a, itemsize, row, top, bottom, left, right, runs
                            )
                        valid = min(mr, count - m)
                        straight = a.store == ROWS and valid == mr and n_lanes == width
                        init, pitch = a.bias + index * row, 0
                        if block > 0:
                            init, pitch = partial + m * row, row
                        step, to, shift = 8, relative, partial + m * row
                        if last:
                            shift = tile
                            if straight:
                                step, to, shift = 24, writing + m * 24, y + lane * itemsize
                        tile_rows(
                            like, mr, nv, reading + m * 8, x, runs + block * block_runs * 16,
                            blocks * block_runs, a.block * (right - left if a.joined else 1),
                            w, init, pitch, a.relu if last else 0, to, step, shift,
                        )  # fmt: skip
                        if last and not straight:
                            store_tile(
                                like, a, itemsize, vector, tile, row, y, writing + m * 24, valid,
                                a.y_rows - y_row, a.y_columns - y_column, lane, n_lanes,
                            )  # fmt: skip

    return direct
