"""The kernel of the weight gradients: outer products of packed windows and output gradients.

For one tap (r, s), dW[c, k] = Σ_pixels x[pixel + tap, c] · dy[pixel, k]: a matrix product that sums
over pixels, whose rows are neighbouring channels of the packed window and whose lanes are filters.
Operands that already stand as packing would leave them are read in place, and those of the next
block of pixels are fetched from memory meanwhile (:mod:`.next_pixels`).
``im2col`` gathers the window's taps into columns first, and has one product for all of them.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, WEIGHT
from fastconv.gemm.columns import gather_rows
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.plans.sum_tasks import SUM_TASKS, blocks_of, tiles_met, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import LINE, copy, fetch, put_word, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .next_pixels import fetched, list_lines, plan_fetches
from .weight_operands import (
    block_at,
    joined_lines,
    left_of,
    product_of,
    right_of,
    room_of,
    unit_at,
)

LAYOUT = record(
    "profile scratch scratch_bytes sums copy_bytes x_window dy_window x_in_place dy_in_place "
    # whether the sums are too many to stay near
    "sums_far "
    # where whole tiles of the sums go straight away: dw (or 0), bytes from group to group and from
    # channel to channel
    "dw dg dc "
    # pixels: the grid, a block's share of it, and blocks along each axis
    "N I J task_n task_i task_j tasks_i tasks_j "
    # the window's buffer; input rows and columns from one output to the next, and its own
    "window_bytes buffer_rows buffer_columns row_stride column_stride row_advance column_advance "
    # columns gathered from it: runs of terms (none: the window is used as it is), their buffer
    "terms n_terms term_length columns_bytes pixel_step "
    # products for one block of channels: tap rows × taps of a row; outputs that each of them reads;
    # whether there is only one, which reads all of them
    "products_down products_across row_spread column_spread row_reach column_reach single "
    # tiles: channels or columns of one product, lanes of filters; where the last of these begins in
    # dy, or at most does
    "tiles_m tiles_k n_blocks dy_last",
    shares=SUM_TASKS,
    tile=TILE,
)


@inner
def _pack_window(like, a, x, item, window, unit, block):
    """The channels of a unit, ``[image][row][column][channel]``."""
    size = a.buffer_rows * a.buffer_columns * x.block * item
    h, w = x.row_first + block.i0 * a.row_stride, x.column_first + block.j0 * a.column_stride
    for n in range(block.images):
        pack_block(
            like, x, item, window + n * size, block.n0 + n, unit.group, unit.block, h,
            a.buffer_rows, w, a.buffer_columns,
        )  # fmt: skip


@inner
def _pack_gradient(like, y, item, right, group, first, last, block):
    """Tiles of dy as ``[tile of filters][image][row][column][lane]``."""
    for tile in range(first, last):
        for n in range(block.images):
            target = right.at + tile * right.tile + n * right.image
            pack_block(
                like, y, item, target, block.n0 + n, group, tile, block.i0, block.rows, block.j0,
                block.columns,
            )  # fmt: skip


@inner
def _gather(like, a, x, item, vector, room, block):
    """The columns of a block of pixels, in the order of :func:`_pack_gradient`."""
    pixel, target = x.block * item, room.columns
    for n in range(block.images):
        for i in range(block.rows):
            line = (n * a.buffer_rows + i * a.row_advance) * a.buffer_columns * pixel
            gather_rows(
                like, target, a.pixel_step, item, vector, block.columns, room.window + line,
                a.column_advance * pixel, a.terms, a.n_terms, a.term_length,
            )  # fmt: skip
            target += block.columns * a.pixel_step


@inner
def _add_product(a, x, y, item, room, unit, left, right, product, ahead, done, target, first, last):
    """Add one product of a block of pixels, which may be the first of a task, or the last.

    Whole tiles go straight to dw if they can, others are copied there at the end.
    """
    mr, row = a.tile.mr, a.tile.nr * item
    for m in range(a.tiles_m):
        init, pitch, to, rows_at = target, row, target, room.tables
        valid, n_lanes, at = 0, 0, 0  # of a tile that is copied to dw
        if a.dw != 0:
            c = unit.block * x.block + m * mr
            at = a.dw + unit.group * a.dg + c * a.dc + unit.tile * row
            valid = min(mr, x.block - m * mr, x.channels - c)
            n_lanes = min(row, y.channels * item - unit.tile * row)
            if valid == mr and n_lanes == row:
                init, pitch, to, rows_at, valid = at, a.dc, at, room.tables + mr * 8, 0
        if a.sums_far != 0:  # they are wanted when all is multiplied
            for i in range(mr):
                fetch(to + i * pitch, row // LINE, LINE)
        if first:
            init, pitch = room.nothing, 0
        near, fetch_step, table = fetched(a, x, y, ahead, done + m, room.tables)
        call(
            a.tile.multiply, product.x + m * mr * item, a.row_spread * left.line, left.pixel,
            product.runs + table, product.n_runs, product.length, product.dy, right.pixel, near,
            fetch_step, init, pitch, 0, rows_at, 8, to,
        )  # fmt: skip
        if last:
            for i in range(valid):
                copy(at + i * a.dc, target + i * row, n_lanes)
        target += mr * row


@functools.cache
def weight_kernel(itemsize: int) -> Kernel:
    """Sum outer products in tiles of channels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def weight(worker, a):
        x = record_at(a.x_window, WINDOW)
        y = record_at(a.dy_window, WINDOW)
        like = element(itemsize)
        mr, row = a.tile.mr, a.tile.nr * itemsize
        channel_bytes = x.block * itemsize  # of a block
        room = room_of(a, worker, row)
        for m in range(mr):
            put_word(room.tables + m * 8, m * row)
            put_word(room.tables + (mr + m) * 8, m * a.dc)
        zero(room.nothing, row)
        tap_bytes = a.tiles_m * mr * row
        products = a.products_down * a.products_across
        clock = started(a.profile)
        while True:
            task = next_task(a.shares.counter, worker, a.shares.tasks)
            if task >= a.shares.tasks:
                break
            first_unit, last_unit = units_of(a.shares, task)
            sums = a.sums + task % a.shares.copies * a.copy_bytes
            first_block, last_block = blocks_of(a.shares, task)
            for number in range(first_block, last_block):
                block = block_at(a, number)
                left, right = left_of(a, x, itemsize, room, block), right_of(a, y, row, room, block)
                lines = joined_lines(a, block, left, right)
                list_lines(a, x, y, room.runs, lines, left, right)
                group, done = -1, 0
                for at in range(first_unit, last_unit):
                    unit = unit_at(a, at)
                    if at == first_unit or unit.tile == 0:
                        if a.x_in_place == 0:
                            _pack_window(like, a, x, itemsize, room.window, unit, block)
                        if a.n_terms > 0:
                            _gather(like, a, x, itemsize, vector, room, block)
                        clock = lap(a.profile, worker, INPUT, clock)
                    if unit.group != group:
                        group, done = unit.group, 0
                        low, high = tiles_met(at, last_unit, a.n_blocks, a.tiles_k)
                        if a.dy_in_place == 0:
                            _pack_gradient(like, y, itemsize, right, group, low, high, block)
                        met = min(last_unit, (group + 1) * a.n_blocks * a.tiles_k) - at
                        blocks = (unit.tile + met + a.tiles_k - 1) // a.tiles_k
                        ahead = plan_fetches(
                            a, x, y, row, block, lines, number + 1, last_block, group,
                            unit.block * x.block, blocks * channel_bytes, low * a.tile.nr,
                            (high - low) * row, met * products * a.tiles_m,
                        )  # fmt: skip
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    where = (group * a.tiles_k + unit.tile) * a.n_blocks + unit.block
                    target = sums + where * products * tap_bytes
                    of_x = left.at + a.x_in_place * (group * x.xg + unit.block * channel_bytes)
                    of_dy = right.at + a.dy_in_place * group * y.xg
                    of_dy += min(unit.tile * right.tile, a.dy_last)
                    for r in range(a.products_down):
                        for s in range(a.products_across):
                            product = product_of(a, room, left, right, lines, r, s, of_x, of_dy)
                            _add_product(
                                a, x, y, itemsize, room, unit, left, right, product, ahead, done,
                                target, number == first_block, number + 1 == last_block,
                            )  # fmt: skip
                            target += tap_bytes
                            done += a.tiles_m
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return weight
