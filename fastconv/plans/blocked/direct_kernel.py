"""The kernel of ``direct``: blocks of output pixels, each against every tile of filters."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.results import PLACE, RESULT, ROWS, store_tile
from fastconv.gemm.windows import WINDOW, element_at, pack_block
from fastconv.plans.pixel_tasks import GRID, PIXELS, WINDOW_BYTES, locate, tables_at
from fastconv.plans.target import TARGET, output_at
from fastconv.simd.copying import get_word, put_word
from fastconv.simd.microkernel import TERMS
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile scratch scratch_bytes relu "
    # packed filters: bytes of a tile of lanes; else how to pack them, and where in scratch
    "w bias w_tile tiles all_lanes pack packing panel "
    # the sum: its window and whether the taps of a row are one run; blocks between two spills
    "window_rows window_columns row_spread column_spread joined chunk in_place "
    # input rows and columns from one output to the next; those of a task's buffer
    "row_stride column_stride buffer_rows buffer_columns",
    tile=TILE,
    grid=GRID,
    pixels=PIXELS,
    input=WINDOW,
    target=TARGET,
    output=RESULT,
)  # fmt: skip


@inner
def _list_runs(a, item, row, top, bottom, left, right, runs):
    """Fill the table of runs of a window in a chunk of blocks; the number for each block."""
    across = 1 if a.joined else right - left
    at = 0
    for block in range(a.chunk):
        for r in range(top, bottom):
            for s in range(left, left + across):
                x = (block * a.buffer_rows + r * a.row_spread) * a.buffer_columns
                w = (block * a.window_rows + r) * a.window_columns + s
                put_word(runs + at, (x + s * a.column_spread) * a.input.block * item)
                put_word(runs + at + 8, w * a.input.block * row)
                at += 16
    return (bottom - top) * across


@inner
def _pack_chunk(like, a, item, target, image, images, group, block, blocks, top, left):
    """The windows of some blocks of channels, ``[image][block][row][column][channel]``."""
    size = a.buffer_rows * a.buffer_columns * a.input.block * item
    for n in range(images):
        for b in range(blocks):
            pack_block(
                like, a.input, item, target + (n * a.chunk + b) * size, image + n, group, block + b,
                top, a.buffer_rows, left, a.buffer_columns,
            )  # fmt: skip


@functools.cache
def direct_kernel(itemsize: int) -> Kernel:
    """Implicit GEMM: tiles of pixels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def direct(worker, a):
        like = element(itemsize)
        multiply, mr, width = a.tile.multiply, a.tile.mr, a.tile.nr
        row = width * itemsize
        relative = a.scratch + worker * a.scratch_bytes
        panel = relative + a.panel
        runs = relative + mr * 8
        tile = runs + a.chunk * a.window_rows * a.window_columns * 16
        tile = (tile + 63) // 64 * 64
        partial = tile + mr * row
        share = -(-a.tiles // a.grid.splits)
        buffer = partial
        if a.chunk < a.input.n_blocks:
            buffer += share * a.pixels.most * row
        w_block = a.window_rows * a.window_columns * a.input.block * row
        for m in range(mr):
            put_word(relative + m * 8, m * row)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.grid.tasks)
            if task >= a.grid.tasks:
                break
            split, group, n0, i0, j0, images, count, variant = locate(a.grid, task)
            reading, writing, windows = tables_at(a.pixels, a.grid, mr, i0, j0, variant)
            y, down, across = output_at(a.target, n0, group, i0, j0)
            x = buffer
            first_row = a.input.row_first + i0 * a.row_stride
            first_column = a.input.column_first + j0 * a.column_stride
            if a.in_place:
                x = element_at(a.input, n0, group, 0, first_row, first_column)
            top, bottom, left, right, block_runs = -1, -1, -1, -1, 0  # of the runs listed
            for block in range(0, a.input.n_blocks, a.chunk):
                blocks = min(a.chunk, a.input.n_blocks - block)
                last = block + blocks == a.input.n_blocks
                if not a.in_place:
                    _pack_chunk(
                        like, a, itemsize, buffer, n0, images, group, block, blocks, first_row,
                        first_column,
                    )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                for t in range(split * share, min(a.tiles, (split + 1) * share)):
                    index = group * a.tiles + t
                    lane = t * width
                    n_lanes = min(width, a.all_lanes - lane)
                    w = a.w + index * a.w_tile + block * w_block
                    if a.pack != 0:
                        w = panel
                        for b in range(blocks):
                            task = index * a.input.n_blocks + block + b
                            call(a.pack, a.packing, task, panel + b * w_block)
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    sums = partial + (t - split * share) * a.pixels.most * row
                    window = windows - WINDOW_BYTES
                    for m in range(0, count, mr):
                        window += WINDOW_BYTES
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
                        straight = a.output.store == ROWS and valid == mr and n_lanes == width
                        init, pitch = a.bias + index * row, 0
                        if block > 0:
                            init, pitch = sums + m * row, row
                        step, to, shift = 8, relative, sums + m * row
                        if last:
                            shift = tile
                            if straight:
                                step, to, shift = PLACE, writing + m * PLACE, y + lane * itemsize
                        length = a.input.block * (right - left if a.joined else 1)
                        run, n_runs = runs, blocks * block_runs
                        most = max(1, TERMS // max(1, length))
                        done = 0  # terms of the first of the runs, where they are too long
                        while n_runs > most or (n_runs > 0 and length - done > TERMS):
                            terms = min(TERMS, length - done)
                            call(
                                multiply, reading + m * 8, x + done * itemsize, run, most, terms,
                                w + done * row, init, pitch, 0, relative, 8, tile,
                            )  # fmt: skip
                            init, pitch = tile, row
                            done += terms
                            if done == length:
                                run, n_runs, done = run + most * 16, n_runs - most, 0
                        call(
                            multiply, reading + m * 8, x + done * itemsize, run, n_runs,
                            length - done, w + done * row, init, pitch, a.relu if last else 0, to,
                            step, shift,
                        )  # fmt: skip
                        if last and not straight:
                            clock = lap(a.profile, worker, MULTIPLY, clock)
                            store_tile(
                                like, a.output, itemsize, vector, tile, row, y, writing + m * PLACE,
                                valid, down, across, lane, n_lanes,
                            )  # fmt: skip
                            clock = lap(a.profile, worker, OUTPUT, clock)
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return direct
