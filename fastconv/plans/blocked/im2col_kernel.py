"""The kernel of ``im2col``: columns, gathered for a tile of pixels, against tiles of filters."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm.columns import copy_listed
from fastconv.gemm.results import PLACE, RESULT, ROWS, store_tile
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.plans.pixel_tasks import GRID, PIXELS, WINDOW_BYTES, locate, tables_at
from fastconv.plans.target import TARGET, output_at
from fastconv.simd.copying import get_word, put_word
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile scratch scratch_bytes relu "
    # packed filters: bytes of a tile of lanes and of a block of its channels
    "w bias w_tile w_block tiles all_lanes "
    # the sum: its window; taps of a row that make one run of terms; runs between two spills
    "window_rows window_columns row_spread column_spread joined chunk partial_bytes "
    # bytes of the terms of a pixel
    "pitch "
    # tiles of pixels to a strip
    "strip "
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
def _gather_tile(like, a, item, mr, row, reading, taps, window, panel, runs, first):
    """Gather the terms of a chunk that a tile of pixels needs, and list their filters.

    ``taps`` are the (top, bottom, left, right) that any of its pixels reads from inside the input.
    ``runs`` gets the number of runs, their length, and their starts in the panel and the filters.
    """
    top, bottom = get_word(taps), get_word(taps + 8)
    left, right = get_word(taps + 16), get_word(taps + 24)
    across = a.window_columns // a.joined
    length, offset, at = 0, 0, runs + 16
    for run in range(first, min(first + a.chunk, a.window_rows * across)):
        r, s = run // across, run % across * a.joined
        start, end = max(s, left), min(s + a.joined, right)
        if top <= r < bottom and start < end:
            length = (end - start) * a.input.block
            source = (r * a.row_spread * a.buffer_columns + start * a.column_spread) * a.input.block
            copy_listed(like, panel + offset, a.pitch, reading, mr, window + source * item, length)
            put_word(at, offset)
            put_word(at + 8, (r * a.window_columns + start) * a.input.block * row)
            offset += length * item
            at += 16
    put_word(runs, (at - runs) // 16 - 1)
    put_word(runs + 8, length)


@functools.cache
def im2col_kernel(itemsize: int) -> Kernel:
    """Multiply panels of pixels, a row of terms for each, by panels of vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def im2col(worker, a):
        like = element(itemsize)
        multiply, mr, width = a.tile.multiply, a.tile.mr, a.tile.nr
        row = width * itemsize
        runs_bytes = 16 + a.chunk * 16
        relative = a.scratch + worker * a.scratch_bytes
        rows = relative + mr * 8
        runs = rows + mr * 8
        panel_bytes = mr * a.pitch
        panels = (runs + a.strip * runs_bytes + 63) // 64 * 64
        tile = panels + a.strip * panel_bytes + vector * itemsize
        partial = tile + mr * row
        window = partial + a.partial_bytes
        size = a.buffer_rows * a.buffer_columns * a.input.block * itemsize
        chunks = -(-a.window_rows * (a.window_columns // a.joined) // a.chunk)
        parts = a.input.n_blocks * chunks
        share = -(-a.tiles // a.grid.splits)
        for m in range(mr):
            put_word(relative + m * 8, m * row)
            put_word(rows + m * 8, m * a.pitch)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.grid.tasks)
            if task >= a.grid.tasks:
                break
            split, group, n0, i0, j0, images, count, variant = locate(a.grid, task)
            reading, writing, windows = tables_at(a.pixels, a.grid, mr, i0, j0, variant)
            y, down, across = output_at(a.target, n0, group, i0, j0)
            top = a.input.row_first + i0 * a.row_stride
            left = a.input.column_first + j0 * a.column_stride
            for part in range(parts):
                block, run = part // chunks, part % chunks * a.chunk
                if run == 0:
                    for n in range(images):
                        pack_block(
                            like, a.input, itemsize, window + n * size, n0 + n, group, block, top,
                            a.buffer_rows, left, a.buffer_columns,
                        )  # fmt: skip
                last = part == parts - 1
                for strip in range(0, count, a.strip * mr):
                    end = min(count, strip + a.strip * mr)
                    panel, listed = panels, runs
                    taps = windows + strip // mr * WINDOW_BYTES
                    for m in range(strip, end, mr):
                        _gather_tile(
                            like, a, itemsize, mr, row, reading + m * 8, taps, window, panel,
                            listed, run,
                        )  # fmt: skip
                        taps += WINDOW_BYTES
                        panel += panel_bytes
                        listed += runs_bytes
                    clock = lap(a.profile, worker, INPUT, clock)
                    for t in range(split * share, min(a.tiles, (split + 1) * share)):
                        index = group * a.tiles + t
                        lane = t * width
                        n_lanes = min(width, a.all_lanes - lane)
                        sums = partial + ((t - split * share) * a.pixels.most + strip) * row
                        w = a.w + index * a.w_tile + block * a.w_block
                        panel, listed = panels, runs
                        for m in range(strip, end, mr):
                            valid = min(mr, count - m)
                            straight = a.output.store == ROWS and valid == mr and n_lanes == width
                            init, pitch = sums, row
                            if part == 0:
                                init, pitch = a.bias + index * row, 0
                            c_step, to, c_shift = 8, relative, sums
                            if last:
                                c_shift = tile
                                if straight:
                                    c_step, to = PLACE, writing + m * PLACE
                                    c_shift = y + lane * itemsize
                            call(
                                multiply, rows, panel, listed + 16, get_word(listed),
                                get_word(listed + 8), w, init, pitch, a.relu if last else 0, to,
                                c_step, c_shift,
                            )  # fmt: skip
                            if last and not straight:
                                clock = lap(a.profile, worker, MULTIPLY, clock)
                                store_tile(
                                    like, a.output, itemsize, vector, tile, row, y,
                                    writing + m * PLACE, valid, down, across, lane, n_lanes,
                                )  # fmt: skip
                                clock = lap(a.profile, worker, OUTPUT, clock)
                            sums += mr * row
                            panel += panel_bytes
                            listed += runs_bytes
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return im2col
