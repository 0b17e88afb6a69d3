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
from fastconv.plans.pixel_tasks import corner
from fastconv.plans.sum_tasks import SUM_TASKS, blocks_of, tiles_met, units_of
from fastconv.simd.copying import LINE, copy, fetch, get_word, put_word, zero
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .next_pixels import RUN, TABLES, fetched, list_lines, share_out, table_bytes

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
    # products for one block of channels: tap rows × taps of a row; outputs that each of them reads
    "products_down products_across row_spread column_spread row_reach column_reach "
    # tiles: channels or columns of one product, lanes of filters; where the last of these begins in
    # dy, or at most does
    "tiles_m tiles_k n_blocks dy_last",
    shares=SUM_TASKS,
    tile=TILE,
)


@inner
def _pack_gradient(
    like, y, item, panels, panel, group, first, last, n0, images, i0, rows, j0, columns
):
    """Pack dy as ``[tile of filters][row][image][column][lane]``, ``panel`` bytes to a tile."""
    size = columns * y.block * item
    at_once = rows if images == 1 else 1  # rows
    for tile in range(first, last):
        target = panels + tile * panel
        for i in range(i0, i0 + rows, at_once):
            for n in range(n0, n0 + images):
                pack_block(like, y, item, target, n, group, tile, i, at_once, j0, columns)
                target += size


@inner
def _gather(like, a, item, vector, target, window, images, rows, columns, pixel):
    """The columns of a block of pixels, in the order of :func:`_pack_gradient`."""
    for i in range(rows):
        for n in range(images):
            line = (n * a.buffer_rows + i * a.row_advance) * a.buffer_columns * pixel
            gather_rows(
                like, target, a.pixel_step, item, vector, columns, window + line,
                a.column_advance * pixel, a.terms, a.n_terms, a.term_length,
            )  # fmt: skip
            target += columns * a.pixel_step


@inner
def _table_bytes(mr):
    """Bytes of both tables of rows of a tile, whole cache lines; behind them zeros begin."""
    return (16 * mr + 63) // 64 * 64


@inner
def _add_product(
    a, x, y, item, tables, group, block, k, left, line, step, runs, n_runs, length, dy, dy_pixel,
    ahead, done, target, first, last,
):  # fmt: skip
    """Add one product of a block of pixels, which may be the first of a task, or the last.

    Whole tiles go straight to dw if they can, others are copied there at the end.
    """
    mr, row = a.tile.mr, a.tile.nr * item
    straight = tables + mr * 8
    nothing = tables + _table_bytes(mr)
    for m in range(a.tiles_m):
        init, pitch, to, rows_at = target, row, target, tables
        valid, n_lanes, at = 0, 0, 0  # of a tile that is copied to dw
        if a.dw != 0:
            c = block * x.block + m * mr
            at = a.dw + group * a.dg + c * a.dc + k * row
            valid = min(mr, x.block - m * mr, x.channels - c)
            n_lanes = min(row, y.channels * item - k * row)
            if valid == mr and n_lanes == row:
                init, pitch, to, rows_at, valid = at, a.dc, at, straight, 0
        if a.sums_far != 0:  # they are wanted when all is multiplied
            for i in range(mr):
                fetch(to + i * pitch, row // LINE, LINE)
        if first:
            init, pitch = nothing, 0
        near, fetch_step, table = fetched(a, x, y, ahead, done + m, tables)
        call(
            a.tile.multiply, left + m * mr * item, a.row_spread * line, step, runs + table, n_runs,
            length, dy, dy_pixel, near, fetch_step, init, pitch, 0, rows_at, 8, to,
        )  # fmt: skip
        if last:
            for i in range(valid):
                copy(at + i * a.dc, target + i * row, n_lanes)
        target += mr * row


@inner
def _left(a, x, window, size, pixel, n0, i0, j0):
    """Where x is: the address, and the bytes from image to image, row to row, pixel to pixel."""
    if a.x_in_place != 0:
        h, w = x.row_first + i0 * a.row_stride, x.column_first + j0 * a.column_stride
        at = x.x + n0 * x.xn + h * x.xh + w * x.xw
        return at, x.xn, x.row_source * x.xh, x.column_source * x.xw
    return window, size, a.buffer_columns * pixel, pixel


@inner
def _right(a, y, gradient, row, n0, i0, j0, images, rows, columns):
    """Where dy is: likewise, with the bytes from tile to tile before the others."""
    if a.dy_in_place != 0:
        return y.x + n0 * y.xn + i0 * y.xh + j0 * y.xw, row, y.xn, y.xh, y.xw
    line = columns * row
    return gradient, images * rows * line, line, images * line, row


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
        pixel = x.block * itemsize
        tables = a.scratch + worker * a.scratch_bytes
        nothing = tables + _table_bytes(mr)
        runs = nothing + row
        window = (runs + TABLES * table_bytes(a) + 63) // 64 * 64
        columns_buffer = window + a.window_bytes
        gradient = columns_buffer + a.columns_bytes
        size = a.buffer_rows * a.buffer_columns * pixel
        for m in range(mr):
            put_word(tables + m * 8, m * row)
            put_word(tables + (mr + m) * 8, m * a.dc)
        zero(nothing, row)
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
            for pixels in range(first_block, last_block):
                n0, i0, j0 = corner(a, pixels)
                images, rows = min(a.task_n, a.N - n0), min(a.task_i, a.I - i0)
                columns = min(a.task_j, a.J - j0)
                left_operand, image_bytes, line, point = _left(
                    a, x, window, size, pixel, n0, i0, j0
                )
                row_bytes, step = a.row_advance * line, a.column_advance * point
                if a.n_terms > 0:
                    left_operand, step = columns_buffer, a.pixel_step
                    image_bytes = columns * step
                    row_bytes = images * image_bytes
                dy, dy_tile, dy_image, dy_row, dy_pixel = _right(
                    a, y, gradient, row, n0, i0, j0, images, rows, columns
                )
                list_lines(a, x, y, runs, images, rows, image_bytes, row_bytes, dy_image, dy_row)
                group, block, done, low, high = -1, -1, 0, 0, 0
                for unit in range(first_unit, last_unit):
                    k = unit % a.tiles_k
                    if unit == first_unit or k == 0:
                        block = unit // a.tiles_k % a.n_blocks
                        for n in range(0 if a.x_in_place else images):
                            pack_block(
                                like, x, itemsize, window + n * size, n0 + n,
                                unit // a.tiles_k // a.n_blocks, block,
                                x.row_first + i0 * a.row_stride, a.buffer_rows,
                                x.column_first + j0 * a.column_stride, a.buffer_columns,
                            )  # fmt: skip
                        if a.n_terms > 0:
                            _gather(
                                like, a, itemsize, vector, columns_buffer, window, images, rows,
                                columns, pixel,
                            )  # fmt: skip
                        clock = lap(a.profile, worker, INPUT, clock)
                    if unit // a.tiles_k // a.n_blocks != group:
                        group = unit // a.tiles_k // a.n_blocks
                        low, high = tiles_met(unit, last_unit, a.n_blocks, a.tiles_k)
                        if a.dy_in_place == 0:
                            _pack_gradient(
                                like, y, itemsize, gradient, dy_tile, group, low, high, n0, images,
                                i0, rows, j0, columns,
                            )  # fmt: skip
                        met = min(last_unit, (group + 1) * a.n_blocks * a.tiles_k) - unit
                        blocks = (k + met + a.tiles_k - 1) // a.tiles_k
                        ahead = share_out(
                            a, x, y, row, pixels + 1, last_block, group, block * x.block,
                            blocks * pixel, low * a.tile.nr, (high - low) * row,
                            met * products * a.tiles_m,
                        )  # fmt: skip
                        done = 0
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    target = sums + ((group * a.tiles_k + k) * a.n_blocks + block) * (
                        products * tap_bytes
                    )
                    of_x = left_operand + a.x_in_place * (group * x.xg + block * pixel)
                    of_dy = dy + a.dy_in_place * group * y.xg + min(k * dy_tile, a.dy_last)
                    for r in range(a.products_down):
                        top = max(0, get_word(a.row_reach + r * 16) - i0)
                        bottom = min(rows, get_word(a.row_reach + r * 16 + 8) - i0)
                        for s in range(a.products_across):
                            left = max(0, get_word(a.column_reach + s * 16) - j0)
                            right = min(columns, get_word(a.column_reach + s * 16 + 8) - j0)
                            source = of_x + left * step
                            source += r * a.row_spread * line + s * a.column_spread * point
                            _add_product(
                                a, x, y, itemsize, tables, group, block, k, source, line, step,
                                runs + top * images * RUN, max(0, bottom - top) * images,
                                max(0, right - left), of_dy + left * dy_pixel, dy_pixel, ahead,
                                done, target, pixels == first_block, pixels + 1 == last_block,
                            )  # fmt: skip
                            target += tap_bytes
                            done += a.tiles_m
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return weight
