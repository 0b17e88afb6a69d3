"""The kernels of ``direct``'s weight gradient: accumulate outer products, then add and reorder.

For one tap (r, s), dW[c, k] = Σ_pixels x[pixel + tap, c] · dy[pixel, k]: a matrix product that sums
over pixels, whose rows are neighbouring channels of the packed window and whose lanes are filters.
"""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, as_pointer, inner, kernel, record
from fastconv.gemm import windows
from fastconv.gemm.windows import pack_block
from fastconv.simd.copying import (
    accumulate,
    copy,
    get_word,
    next_task,
    put_word,
    transpose_tile,
    zero,
)
from fastconv.simd.microkernel import tile_panel
from fastconv.simd.vector import element, lanes

WINDOW = record(windows.FIELDS)
LAYOUT = record(
    "scratch scratch_bytes sums copy_bytes x_window dy_window "
    # workers: so many copies of the sums (each for a part of the pixels) × parts of the units
    "copies parts units "
    # pixels: the grid, a block's share of it, and blocks along each axis
    "N I J task_n task_i tasks_i blocks "
    # the window and its buffer; taps of a row may be joined into one long stretch of channels
    "window_rows window_columns joined row_advance column_advance row_spread column_spread "
    "buffer_rows buffer_columns row_reach column_reach "
    # tiles: channels of a block (or joined taps × channels), lanes of filters
    "extent tiles_m tiles_k n_blocks"
)


@inner
def _pack_gradient(like, y, item, panels, panel, group, first, last, images, n0, i0, rows, columns):
    """Pack dy as ``[tile of filters][row][image][column][lane]``, ``panel`` bytes to a tile."""
    size = columns * y.block * item
    for tile in range(first, last):
        target = panels + tile * panel
        for i in range(i0, i0 + rows):
            for n in range(n0, n0 + images):
                pack_block(like, y, item, target, n, group, tile, i, 1, 0, columns)
                target += size


@inner
def _list_runs(a, x, item, row, images, rows, runs):
    """One run for every output row of the block: its start in the window and in dy."""
    at = runs
    for i in range(rows):
        for n in range(images):
            line = (n * a.buffer_rows + i * a.row_advance) * a.buffer_columns
            put_word(at, line * x.block * item)
            put_word(at + 8, (i * images + n) * a.J * row)
            at += 16


@functools.cache
def weight_kernel(itemsize: int, mr: int, nv: int) -> Kernel:
    """Sum outer products in tiles of ``mr`` channels × ``nv`` vectors of filters."""
    width = nv * lanes(itemsize)

    @kernel(LAYOUT)
    def direct_weight(worker, args):
        a = numba.carray(args, 1)[0]
        x = numba.carray(as_pointer(a.x_window), 1, WINDOW)[0]
        y = numba.carray(as_pointer(a.dy_window), 1, WINDOW)[0]
        like = element(itemsize)
        row = width * itemsize
        pixel = x.block * itemsize
        relative = a.scratch + worker * a.scratch_bytes
        nothing = (relative + mr * 8 + 63) // 64 * 64
        runs = nothing + row
        window = (runs + a.task_n * a.task_i * 16 + 63) // 64 * 64
        gradient = window + a.task_n * a.buffer_rows * a.buffer_columns * pixel + mr * itemsize
        gradient = (gradient + 63) // 64 * 64
        panel = a.task_n * a.task_i * a.J * row
        for m in range(mr):
            put_word(relative + m * 8, m * row)
        zero(nothing, row)
        part, share = worker // a.copies, worker % a.copies
        first_unit, last_unit = part * a.units // a.parts, (part + 1) * a.units // a.parts
        sums = a.sums + share * a.copy_bytes
        first_block = share * a.blocks // a.copies
        across = 1 if a.joined else a.window_columns
        tap_bytes = a.tiles_m * mr * row

        for pixels in range(first_block, (share + 1) * a.blocks // a.copies):
            n0, i0 = pixels // a.tasks_i * a.task_n, pixels % a.tasks_i * a.task_i
            images, rows = min(a.task_n, a.N - n0), min(a.task_i, a.I - i0)
            _list_runs(a, x, itemsize, row, images, rows, runs)
            group, block = -1, -1
            for unit in range(first_unit, last_unit):
                k = unit % a.tiles_k
                if unit == first_unit or k == 0:
                    block = unit // a.tiles_k % a.n_blocks
                    size = a.buffer_rows * a.buffer_columns * pixel
                    for n in range(images):
                        pack_block(
                            like, x, itemsize, window + n * size, n0 + n,
                            unit // a.tiles_k // a.n_blocks, block,
                            x.row_first + i0 * a.row_advance * x.row_source, a.buffer_rows,
                            x.column_first, a.buffer_columns,
                        )  # fmt: skip
                if unit // a.tiles_k // a.n_blocks != group:
                    group = unit // a.tiles_k // a.n_blocks
                    end = min(last_unit, (group + 1) * a.n_blocks * a.tiles_k)
                    low, high = 0, a.tiles_k
                    if (end - 1) // a.tiles_k == unit // a.tiles_k:
                        low, high = k, k + end - unit
                    _pack_gradient(
                        like, y, itemsize, gradient, panel, group, low, high, images, n0, i0, rows,
                        a.J,
                    )  # fmt: skip
                target = sums + ((group * a.tiles_k + k) * a.n_blocks + block) * (
                    a.window_rows * across * tap_bytes
                )
                for r in range(a.window_rows):
                    top = max(0, get_word(a.row_reach + r * 16) - i0)
                    bottom = min(rows, get_word(a.row_reach + r * 16 + 8) - i0)
                    for s in range(across):
                        left, right = 0, a.J
                        if not a.joined:
                            left = get_word(a.column_reach + s * 16)
                            right = get_word(a.column_reach + s * 16 + 8)
                        source = r * a.row_spread * a.buffer_columns + s * a.column_spread
                        source = window + (source + left * a.column_advance) * pixel
                        for m in range(a.tiles_m):
                            init, pitch = target, row
                            if pixels == first_block:
                                init, pitch = nothing, 0
                            tile_panel(
                                like, mr, nv, source + m * mr * itemsize,
                                a.column_advance * pixel, runs + top * images * 16,
                                max(0, bottom - top) * images, max(0, right - left),
                                gradient + k * panel + left * row, row, init, pitch, 0,
                                relative, 8, target,
                            )  # fmt: skip
                            target += mr * row

    return direct_weight


SUM_LAYOUT = record(
    "counter tasks scratch scratch_bytes sums copy_bytes copies "
    "dw dk dc taps across joined block_bytes tap_bytes tile tiles_k n_blocks block channels filters"
)


@functools.cache
def weight_sum_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write them as dw[k, c, r, s]; a task is a tile × block."""
    vector = lanes(itemsize)

    @kernel(SUM_LAYOUT)
    def direct_weight_sum(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        row = a.tile * itemsize
        staged = a.scratch + worker * a.scratch_bytes
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.block_bytes
            for other in range(1, a.copies):
                accumulate(like, sums, sums + other * a.copy_bytes, a.block_bytes)
            block = task % a.n_blocks
            tile = task // a.n_blocks % a.tiles_k
            group = task // a.n_blocks // a.tiles_k
            n_lanes = min(a.tile, a.filters - tile * a.tile)
            valid = min(a.block, a.channels - block * a.block)
            target = a.dw + (group * a.filters + tile * a.tile) * a.dk + block * a.block * a.dc
            if a.taps == 1:
                for lane in range(0, n_lanes, vector):
                    for c in range(0, valid, vector):
                        transpose_tile(
                            like, target + lane * a.dk + c * itemsize, a.dk,
                            sums + c * row + lane * itemsize, row,
                            min(vector, valid - c), min(vector, n_lanes - lane),
                        )  # fmt: skip
                continue
            for c in range(valid):
                for t in range(a.taps):
                    source = sums + c * row
                    if a.joined:
                        source += t // a.across * a.tap_bytes + t % a.across * a.block * row
                    else:
                        source += t * a.tap_bytes
                    copy(staged + t * row, source, row)
                for lane in range(0, n_lanes, vector):
                    for t in range(0, a.taps, vector):
                        transpose_tile(
                            like, target + lane * a.dk + c * a.dc + t * itemsize, a.dk,
                            staged + t * row + lane * itemsize, row,
                            min(vector, a.taps - t), min(vector, n_lanes - lane),
                        )  # fmt: skip

    return direct_weight_sum
