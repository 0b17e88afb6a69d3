"""Which results a register tile of ``direct`` or ``im2col`` makes, and where they go.

These are values of their kernels: numbers, and addresses and distances in bytes.  In a worker's
``room`` they find: ``in_order``, the table of the rows of a tile that follow one another;
``partial``, the sums of a task that wait for further terms; ``staged``, a tile of results that does
not go straight to y.
"""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core.jit import inner
from fastconv.gemm.results import PLACE, ROWS, store_tile
from fastconv.plans.pixel_tasks import locate, tables_at
from fastconv.plans.target import output_at


class Task(NamedTuple):
    """A block of output pixels, and the tiles of filters that meet it."""

    group: int
    n0: int
    images: int
    count: int  # pixels
    top: int  # of its window in the input
    left: int
    reading: int  # the tables of its pixels
    writing: int
    windows: int
    y: int  # the first result, and the outputs of y from there on
    down: int
    across: int
    first_tile: int
    end_tile: int


class Tile(NamedTuple):
    """A tile of filters: its number among all, its first lane and how many are outputs."""

    index: int
    lane: int
    lanes: int
    sums: int  # those of its first pixel, where sums wait for further terms


class Result(NamedTuple):
    """What a register tile begins with, and where it goes (:func:`.tile_rows`)."""

    init: int
    pitch: int
    relu: int
    rows: int
    step: int
    shift: int


@inner
def task_at(a, number):
    split, group, n0, i0, j0, images, count, variant = locate(a.grid, number)
    top = a.input.row_first + i0 * a.row_stride
    left = a.input.column_first + j0 * a.column_stride
    reading, writing, windows = tables_at(a.pixels, a.grid, a.tile.mr, i0, j0, variant)
    y, down, across = output_at(a.target, n0, group, i0, j0)
    share = -(-a.tiles // a.grid.splits)
    return Task(
        group, n0, images, count, top, left, reading, writing, windows, y, down, across,
        split * share, min(a.tiles, (split + 1) * share),
    )  # fmt: skip


@inner
def tile_at(a, item, room, task, number):
    lane = number * a.tile.nr
    sums = room.partial + (number - task.first_tile) * a.pixels.most * a.tile.nr * item
    return Tile(task.group * a.tiles + number, lane, min(a.tile.nr, a.all_lanes - lane), sums)


@inner
def goes_straight(a, task, tile, m):
    """Whether pixels from ``m`` on fill a register tile that may be stored in y as it is."""
    whole = m + a.tile.mr <= task.count and tile.lanes == a.tile.nr
    return whole and a.output.store == ROWS


@inner
def result_of(a, item, room, task, tile, m, begins, ends):
    """Those of the pixels from ``m`` on, whose sums may begin here, or end."""
    row = a.tile.nr * item
    sums = tile.sums + m * row
    init, pitch = sums, row
    if begins:
        init, pitch = a.bias + tile.index * row, 0
    relu, rows, step, shift = 0, room.in_order, 8, sums
    if ends:
        relu, shift = a.relu, room.staged
        if goes_straight(a, task, tile, m):
            rows, step, shift = task.writing + m * PLACE, PLACE, task.y + tile.lane * item
    return Result(init, pitch, relu, rows, step, shift)


@inner
def store_staged(like, a, item, vector, room, task, tile, m):
    """Store the results of the pixels from ``m`` on."""
    store_tile(
        like, a.output, item, vector, room.staged, a.tile.nr * item, task.y,
        task.writing + m * PLACE, min(a.tile.mr, task.count - m), task.down, task.across, tile.lane,
        tile.lanes,
    )  # fmt: skip
