"""The kernel of ``bf16x3``: blocks of output pixels, each against every tile of filters."""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.results import RESULT, ROWS, store_planes
from fastconv.gemm.windows import WINDOW, element_at, pack_block, positions_inside
from fastconv.plans.pixel_tasks import GRID, locate
from fastconv.plans.target import TARGET, output_at
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import accumulate, put_word, zero
from fastconv.simd.matrix import (
    DEPTH,
    LANES,
    TILE_BYTES,
    TILE_ROWS,
    configure,
    finish_rows,
    matrix_product,
    release,
    split_pixels,
)
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element

LAYOUT = record(
    "counter profile scratch scratch_bytes shape relu flags "
    # split filters: bytes of a tile of lanes; else how to split them, and where in scratch
    "w bias w_tile tiles all_lanes pack packing panel "
    # the sum: where its steps begin in the window
    "steps n_steps "
    # the window's halves: positions of a row, bytes of a row, of the rows that outputs a row apart
    # share, of a block of channels, of an image, and of a half with what is read beyond it
    "positions line phase_bytes block_bytes image_bytes low "
    # input rows and columns from one output to the next, and in the window
    "row_stride column_stride window_rows window_columns row_advance column_advance",
    grid=GRID,
    input=WINDOW,
    target=TARGET,
    output=RESULT,
)  # fmt: skip


class _Room(NamedTuple):
    """A worker's scratch, by address."""

    rows: int  # offsets of the register tile's rows in a half of the window, 8 bytes each, then …
    columns: int  # … of its columns in a step of filters
    sums: int  # of a register tile
    more: int  # those of further terms, to be added
    row: int  # a row of the window before it is split
    x: int  # the window's halves
    w: int  # a tile of filters, if the task splits them, and what that needs


@inner
def _room_of(a, worker, mt, tiles):
    rows = a.scratch + worker * a.scratch_bytes
    sums = rows + 64
    more = sums + tiles * TILE_BYTES
    row = more + tiles * TILE_BYTES
    return _Room(rows, rows + mt * 8, sums, more, row, row + 2 * a.line, rows + a.panel)


@inner
def _split_filters(a, group, tile, w):
    """One tile of filters, block by block of channels."""
    blocks = a.input.n_blocks
    for block in range(blocks):
        index = (group * a.tiles + tile) * blocks + block
        call(a.pack, a.packing, index, w + a.w_tile, w + a.w_tile // blocks * block)


@inner
def _split_row(like, a, row, target, image, group, block, h, column):
    """One row of a window: in one go where its channels lie side by side, or else packed first."""
    window = a.input
    low, high = positions_inside(column, window.column_source, a.window_columns, window.width)
    step, pixel = window.column_source * window.xw, window.block * 2
    count = (high - low) * window.block // DEPTH
    straight = 0 <= h < window.height and low < high and window.xc == 4
    straight = straight and (block + 1) * window.block <= window.channels
    if window.block < DEPTH:
        straight = (
            straight and step == window.block * 4 and count * DEPTH == (high - low) * window.block
        )
        step = DEPTH * 4
    if straight:
        first = column + low * window.column_source
        source = element_at(window, image, group, block * window.block, h, first)
        split_pixels(like, target + low * pixel, a.low, source, step, count)
        if a.grid.tasks_j > 1:  # or else it is 0 where there is no input, from the beginning
            for half in range(0, a.low + 1, a.low):
                zero(target + half, low * pixel)
                zero(target + half + high * pixel, a.line - high * pixel)
    else:
        pack_block(like, window, 4, row, image, group, block, h, 1, column, a.window_columns)
        split_pixels(like, target, a.low, row, DEPTH * 4, a.line // (2 * DEPTH))


@inner
def _split_windows(like, a, row, x, n0, images, group, first_row, rows, column):
    """The windows of some images, ``[image][block][phase][row][position][channel]``.

    Rows are in phases: those that outputs a row apart look at, one after the other.
    """
    for n in range(images):
        for block in range(a.input.n_blocks):
            target = x + n * a.image_bytes + block * a.block_bytes
            for r in range(rows):
                to = target + r % a.row_advance * a.phase_bytes + r // a.row_advance * a.line
                h = first_row + r * a.input.row_source
                _split_row(like, a, row, to, n0 + n, group, block, h, column)


@inner
def _store_run(like, a, c, mt, y, step, count, bias, lane, n_lanes):
    """Store ``count`` pixels of a row of outputs, ``step`` bytes apart from ``y`` on."""
    for vector in range(0, n_lanes, LANES):
        valid = min(LANES, n_lanes - vector)
        if a.output.store == ROWS:
            finish_rows(
                like, y + (lane + vector) * 4, step, c, count, valid, bias + vector * 4, a.relu,
                a.flags,
            )  # fmt: skip
        else:
            finish_rows(like, c, LANES * 4, c, count, LANES, bias + vector * 4, a.relu, a.flags)
            for j in range(0, count, LANES):
                store_planes(
                    like, a.output, 4, y + (lane + vector) * a.output.lane_step + j * step,
                    c + j * LANES * 4, LANES * 4, min(LANES, count - j), valid,
                )  # fmt: skip
        c += mt * TILE_BYTES


@inner
def _store(like, a, c, mt, slots, first, count, y, bias, columns, lane, n_lanes):
    """Store ``count`` slots from slot ``first`` of a block of outputs on, row by row.

    The slots of a row are more than its ``columns``; the rest of them is dropped.
    """
    at = 0
    line, step = a.target.y_row_step * a.target.yh, a.target.y_column_step * a.target.yw
    while at < count:
        i, j = (first + at) // slots, (first + at) % slots
        valid = min(count - at, columns - j)
        if valid > 0:
            _store_run(
                like, a, c + at * LANES * 4, mt, y + i * line + j * step, step, valid, bias, lane,
                n_lanes,
            )  # fmt: skip
        at += slots - j


@functools.cache
def split_kernel(mt: int, nt: int) -> Kernel:
    """Implicit GEMM with ``mt`` × ``nt`` tiles of the matrix unit: pixels × filters."""
    height, width = mt * TILE_ROWS, nt * LANES

    @kernel(LAYOUT)
    def split_correlation(worker, a):
        like = element(4)
        room = _room_of(a, worker, mt, mt * nt)
        pitch = a.column_advance * a.input.block * 2
        for i in range(mt):
            put_word(room.rows + i * 8, i * TILE_ROWS * pitch)
        for j in range(nt):
            put_word(room.columns + j * 8, j * TILE_BYTES)
        zero(room.row, 2 * a.line + (2 * a.low if a.grid.tasks_j == 1 else 0))
        slots = a.positions // a.column_advance
        share = -(-a.tiles // a.grid.splits)
        held = -1  # the block of pixels whose windows are split
        configure(a.shape)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.grid.tasks)
            if task >= a.grid.tasks:
                break
            split, group, n0, i0, j0, images, _, _ = locate(a.grid, task)
            down, across = min(a.grid.task_i, a.grid.I - i0), min(a.grid.task_j, a.grid.J - j0)
            if task // a.grid.splits != held:
                held = task // a.grid.splits
                _split_windows(
                    like, a, room.row, room.x, n0, images, group,
                    a.input.row_first + i0 * a.row_stride,
                    a.window_rows - (a.grid.task_i - down) * a.row_advance,
                    a.input.column_first + j0 * a.column_stride,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
            y, _, _ = output_at(a.target, n0, group, i0, j0)
            used = (down - 1) * slots + across
            for tile in range(split * share, min(a.tiles, (split + 1) * share)):
                w = a.w + (group * a.tiles + tile) * a.w_tile
                if a.pack != 0:
                    w = room.w
                    _split_filters(a, group, tile, w)
                    clock = lap(a.profile, worker, WEIGHT, clock)
                bias = a.bias + (group * a.tiles + tile) * width * 4
                n_lanes = min(width, a.all_lanes - tile * width)
                for n in range(images):
                    for m in range(0, used, height):
                        at = room.x + n * a.image_bytes + m * pitch
                        for step in range(0, a.n_steps, TERMS // DEPTH):
                            to = room.sums if step == 0 else room.more
                            steps = min(TERMS // DEPTH, a.n_steps - step)
                            matrix_product(
                                like, mt, nt, at, room.rows, a.low, pitch, w, room.columns,
                                nt * TILE_BYTES, a.steps + step * 16, steps, to, TILE_BYTES,
                                mt * TILE_BYTES, 64,
                            )  # fmt: skip
                            if step > 0:
                                accumulate(like, room.sums, room.more, mt * nt * TILE_BYTES)
                        clock = lap(a.profile, worker, MULTIPLY, clock)
                        _store(
                            like, a, room.sums, mt, slots, m, min(height, used - m),
                            y + n * a.target.yn, bias, across, tile * width, n_lanes,
                        )  # fmt: skip
                        clock = lap(a.profile, worker, OUTPUT, clock)
        release()

    return split_correlation
