"""The kernel of ``im2col``: columns, gathered for a tile of pixels, against tiles of filters."""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm.columns import copy_listed
from fastconv.gemm.results import RESULT
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.plans.pixel_tasks import GRID, PIXELS, TAPS_BYTES
from fastconv.plans.target import TARGET
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import get_word, line_from, put_word
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .tile_results import goes_straight, result_of, store_staged, task_at, tile_at

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


class _Room(NamedTuple):
    """A worker's scratch, by address."""

    in_order: int  # a table of the rows of a tile that follow one another
    rows: int  # and of those of a panel
    runs: int  # of the panels of a strip: so many bytes for each
    runs_bytes: int
    panels: int
    panel_bytes: int
    staged: int  # a tile of results
    partial: int  # sums that wait for further terms
    window: int


@inner
def _room_of(a, item, vector, worker):
    mr, runs_bytes = a.tile.mr, 16 + a.chunk * 16
    in_order = a.scratch + worker * a.scratch_bytes
    rows = in_order + mr * 8
    runs = rows + mr * 8
    panels = line_from(runs + a.strip * runs_bytes)
    staged = panels + a.strip * mr * a.pitch + vector * item
    partial = staged + mr * a.tile.nr * item
    return _Room(
        in_order, rows, runs, runs_bytes, panels, mr * a.pitch, staged, partial,
        partial + a.partial_bytes,
    )  # fmt: skip


@inner
def _pack_window(like, a, item, target, task, block):
    """That of a block of channels, ``[image][row][column][channel]``."""
    size = a.buffer_rows * a.buffer_columns * a.input.block * item
    for n in range(task.images):
        pack_block(
            like, a.input, item, target + n * size, task.n0 + n, task.group, block, task.top,
            a.buffer_rows, task.left, a.buffer_columns,
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


@inner
def _gather_strip(like, a, item, room, task, first, end, run):
    """A chunk of terms, from ``run`` on, of the pixels from ``first`` to before ``end``."""
    mr, panel, runs = a.tile.mr, room.panels, room.runs
    for m in range(first, end, mr):
        _gather_tile(
            like, a, item, mr, a.tile.nr * item, task.reading + m * 8,
            task.windows + m // mr * TAPS_BYTES, room.window, panel, runs, run,
        )  # fmt: skip
        panel += room.panel_bytes
        runs += room.runs_bytes


@functools.cache
def im2col_kernel(itemsize: int) -> Kernel:
    """Multiply panels of pixels, a row of terms for each, by panels of vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def im2col(worker, a):
        like = element(itemsize)
        mr, row = a.tile.mr, a.tile.nr * itemsize
        room = _room_of(a, itemsize, vector, worker)
        chunks = -(-a.window_rows * (a.window_columns // a.joined) // a.chunk)
        parts = a.input.n_blocks * chunks
        for m in range(mr):
            put_word(room.in_order + m * 8, m * row)
            put_word(room.rows + m * 8, m * a.pitch)
        clock = started(a.profile)
        while True:
            number = next_task(a.counter, worker, a.grid.tasks)
            if number >= a.grid.tasks:
                break
            task = task_at(a, number)
            for part in range(parts):
                block, run = part // chunks, part % chunks * a.chunk
                if run == 0:
                    _pack_window(like, a, itemsize, room.window, task, block)
                last = part == parts - 1
                for strip in range(0, task.count, a.strip * mr):
                    end = min(task.count, strip + a.strip * mr)
                    _gather_strip(like, a, itemsize, room, task, strip, end, run)
                    clock = lap(a.profile, worker, INPUT, clock)
                    for t in range(task.first_tile, task.end_tile):
                        tile = tile_at(a, itemsize, room, task, t)
                        w = a.w + tile.index * a.w_tile + block * a.w_block
                        panel, runs = room.panels, room.runs
                        for m in range(strip, end, mr):
                            result = result_of(a, itemsize, room, task, tile, m, part == 0, last)
                            call(
                                a.tile.multiply, room.rows, panel, runs + 16, get_word(runs),
                                get_word(runs + 8), w, result.init, result.pitch, result.relu,
                                result.rows, result.step, result.shift,
                            )  # fmt: skip
                            if last and not goes_straight(a, task, tile, m):
                                clock = lap(a.profile, worker, MULTIPLY, clock)
                                store_staged(like, a, itemsize, vector, room, task, tile, m)
                                clock = lap(a.profile, worker, OUTPUT, clock)
                            panel += room.panel_bytes
                            runs += room.runs_bytes
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return im2col
