"""The kernel of ``direct``: blocks of output pixels, each against every tile of filters."""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.results import RESULT
from fastconv.gemm.windows import WINDOW, element_at, pack_block
from fastconv.plans.pixel_tasks import GRID, PIXELS, TAPS_BYTES
from fastconv.plans.target import TARGET
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import get_word, line_from, put_word
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .tile_results import goes_straight, result_of, store_staged, task_at, tile_at

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


class _Room(NamedTuple):
    """A worker's scratch, by address."""

    in_order: int  # a table of the rows of a tile that follow one another
    runs: int
    staged: int  # a tile of results
    partial: int  # sums that wait for further blocks of channels
    window: int
    panel: int  # filters that a task packs


class _Window(NamedTuple):
    """The taps that a tile of pixels needs."""

    top: int
    bottom: int
    left: int
    right: int


@inner
def _room_of(a, item, worker):
    row = a.tile.nr * item
    in_order = a.scratch + worker * a.scratch_bytes
    runs = in_order + a.tile.mr * 8
    staged = line_from(runs + a.chunk * a.window_rows * a.window_columns * 16)
    partial = staged + a.tile.mr * row
    window = partial
    if a.chunk < a.input.n_blocks:
        window += -(-a.tiles // a.grid.splits) * a.pixels.most * row
    return _Room(in_order, runs, staged, partial, window, in_order + a.panel)


@inner
def _window_at(at):
    return _Window(get_word(at), get_word(at + 8), get_word(at + 16), get_word(at + 24))


@inner
def _list_runs(a, item, row, window, runs):
    """Fill the table of runs of a window in a chunk of blocks; the number for each block."""
    across = 1 if a.joined else window.right - window.left
    at = 0
    for block in range(a.chunk):
        for r in range(window.top, window.bottom):
            for s in range(window.left, window.left + across):
                x = (block * a.buffer_rows + r * a.row_spread) * a.buffer_columns
                w = (block * a.window_rows + r) * a.window_columns + s
                put_word(runs + at, (x + s * a.column_spread) * a.input.block * item)
                put_word(runs + at + 8, w * a.input.block * row)
                at += 16
    return (window.bottom - window.top) * across


@inner
def _pack_chunk(like, a, item, target, task, block, blocks):
    """The windows of some blocks of channels, ``[image][block][row][column][channel]``."""
    size = a.buffer_rows * a.buffer_columns * a.input.block * item
    for n in range(task.images):
        for b in range(blocks):
            pack_block(
                like, a.input, item, target + (n * a.chunk + b) * size, task.n0 + n, task.group,
                block + b, task.top, a.buffer_rows, task.left, a.buffer_columns,
            )  # fmt: skip


@inner
def _packed(a, room, tile, block, blocks, w_block):
    """The filters of some blocks of channels, packed by the task itself."""
    for b in range(blocks):
        unit = tile.index * a.input.n_blocks + block + b
        call(a.pack, a.packing, unit, room.panel + b * w_block)
    return room.panel


@inner
def _multiply(a, item, room, rows, x, n_runs, length, w, result):
    """A tile of pixels by one of filters; sums of too many terms are sums of shorter ones."""
    row = a.tile.nr * item
    run, most = room.runs, max(1, TERMS // max(1, length))
    init, pitch = result.init, result.pitch
    done = 0  # terms of the first of the runs, where they are too long
    while n_runs > most or (n_runs > 0 and length - done > TERMS):
        terms = min(TERMS, length - done)
        call(
            a.tile.multiply, rows, x + done * item, run, most, terms, w + done * row, init, pitch,
            0, room.in_order, 8, room.staged,
        )  # fmt: skip
        init, pitch = room.staged, row
        done += terms
        if done == length:
            run, n_runs, done = run + most * 16, n_runs - most, 0
    call(
        a.tile.multiply, rows, x + done * item, run, n_runs, length - done, w + done * row, init,
        pitch, result.relu, result.rows, result.step, result.shift,
    )  # fmt: skip


@functools.cache
def direct_kernel(itemsize: int) -> Kernel:
    """Implicit GEMM: tiles of pixels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def direct(worker, a):
        like = element(itemsize)
        mr, row = a.tile.mr, a.tile.nr * itemsize
        room = _room_of(a, itemsize, worker)
        w_block = a.window_rows * a.window_columns * a.input.block * row
        for m in range(mr):
            put_word(room.in_order + m * 8, m * row)
        clock = started(a.profile)
        while True:
            number = next_task(a.counter, worker, a.grid.tasks)
            if number >= a.grid.tasks:
                break
            task = task_at(a, number)
            x = room.window
            if a.in_place:
                x = element_at(a.input, task.n0, task.group, 0, task.top, task.left)
            listed, block_runs = _Window(-1, -1, -1, -1), 0
            for block in range(0, a.input.n_blocks, a.chunk):
                blocks = min(a.chunk, a.input.n_blocks - block)
                last = block + blocks == a.input.n_blocks
                if not a.in_place:
                    _pack_chunk(like, a, itemsize, room.window, task, block, blocks)
                clock = lap(a.profile, worker, INPUT, clock)
                for t in range(task.first_tile, task.end_tile):
                    tile = tile_at(a, itemsize, room, task, t)
                    w = a.w + tile.index * a.w_tile + block * w_block
                    if a.pack != 0:
                        w = _packed(a, room, tile, block, blocks, w_block)
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    for m in range(0, task.count, mr):
                        window = _window_at(task.windows + m // mr * TAPS_BYTES)
                        if window != listed:
                            listed = window
                            block_runs = _list_runs(a, itemsize, row, window, room.runs)
                        length = a.input.block * (window.right - window.left if a.joined else 1)
                        result = result_of(a, itemsize, room, task, tile, m, block == 0, last)
                        _multiply(
                            a, itemsize, room, task.reading + m * 8, x, blocks * block_runs, length,
                            w, result,
                        )  # fmt: skip
                        if last and not goes_straight(a, task, tile, m):
                            clock = lap(a.profile, worker, MULTIPLY, clock)
                            store_staged(like, a, itemsize, vector, room, task, tile, m)
                            clock = lap(a.profile, worker, OUTPUT, clock)
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return direct
