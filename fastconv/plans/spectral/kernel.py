"""The kernels of depthwise correlations by spectra.

A task is a stretch of tiles of one vector of channels, whose filters' spectrum stays in the cache.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, address_of, call, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.results import RESULT
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.plans.bilinear.tiles import TILING, locate_tile, outputs_left
from fastconv.plans.sum_tasks import add_copies
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import zero
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes relu "
    # where to tell that a result is not finite
    "flag "
    # channels, and the stretches of tiles, each a task for a vector of them
    "x_window channels splits "
    # the functions that transform filters, that correlate a tile of such an input, that store it
    "filter_map tile_map tile_rows tile_columns store_rows "
    # filters, bytes of those of a vector of channels; columns of one
    "w w_unit tap_columns bias "
    # y, its strides and its rows and columns
    "y yn yh yw I J",
    tiling=TILING,
    output=RESULT,
)
WEIGHT_LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes x_window dy_window "
    # stretches of tiles, each a task for a vector of channels, which has sums of its own
    "splits sums "
    # the function that adds the products of the spectra of a tile of such an input
    "tile_map tile_rows tile_columns",
    tiling=TILING,
)
SUM_LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes "
    # the sums of a stretch, so many for a vector of channels; what makes filters of them
    "sums sum_bytes splits filter_map flag "
    # taps of a filter, columns of one; dw and the bytes from filter to filter
    "taps tap_columns channels dw dk"
)


@functools.cache
def spectral_kernel(itemsize: int) -> Kernel:
    """Transform the filters of a vector of channels, then correlate a stretch of tiles."""
    vector = lanes(itemsize)
    pixel = vector * itemsize

    @kernel(LAYOUT)
    def spectral(worker, a):
        x = record_at(a.x_window, WINDOW)
        tiling, like = a.tiling, element(itemsize)
        spectrum = a.scratch + worker * a.scratch_bytes
        buffer = spectrum + tiling.components * pixel
        temp = buffer + a.room_bytes
        row_step, step = tiling.lattice_rows * a.yh, tiling.lattice_columns * a.yw
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            unit, first = task // a.splits, task % a.splits * tiling.share
            lane = unit * vector
            n_lanes = min(vector, a.channels - lane)
            call(
                a.filter_map, a.w + unit * a.w_unit, a.tap_columns * pixel, pixel, spectrum, temp
            )  # fmt: skip
            clock = lap(a.profile, worker, WEIGHT, clock)
            for tile in range(first, min(tiling.all_tiles, first + tiling.share)):
                image, i0, j0, _ = locate_tile(tiling, tile)
                pack_block(
                    like, x, itemsize, buffer, image, 0, unit, x.row_first + i0, a.tile_rows,
                    x.column_first + j0, a.tile_columns,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                down = min(tiling.m_rows, outputs_left(i0, a.I, tiling.lattice_rows))
                across = min(tiling.m_columns, outputs_left(j0, a.J, tiling.lattice_columns))
                y = a.y + image * a.yn + i0 * a.yh + j0 * a.yw
                call(
                    a.tile_map, buffer, a.tile_columns * pixel, pixel, spectrum, buffer,
                    tiling.m_columns * pixel, pixel, temp, a.bias + unit * pixel, a.relu, a.flag,
                )  # fmt: skip
                clock = lap(a.profile, worker, MULTIPLY, clock)
                # Column by column the tile would touch too many pages of a channels-last output.
                call(
                    a.store_rows, address_of(a.output), buffer, tiling.m_columns * pixel, y,
                    row_step, step, down, across, 0, 0, 1, 1, lane, n_lanes,
                )  # fmt: skip
                clock = lap(a.profile, worker, OUTPUT, clock)

    return spectral


@functools.cache
def spectral_weight_kernel(itemsize: int) -> Kernel:
    """Sum the spectra of the weight gradient over a stretch of tiles."""
    pixel = lanes(itemsize) * itemsize

    @kernel(WEIGHT_LAYOUT)
    def spectral_weight(worker, a):
        x = record_at(a.x_window, WINDOW)
        dy = record_at(a.dy_window, WINDOW)
        tiling, like = a.tiling, element(itemsize)
        inputs = a.scratch + worker * a.scratch_bytes
        gradients = inputs + a.tile_rows * a.tile_columns * pixel
        temp = inputs + a.room_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            unit, first = task // a.splits, task % a.splits * tiling.share
            total = a.sums + task * tiling.components * pixel
            zero(total, tiling.components * pixel)
            for tile in range(first, min(tiling.all_tiles, first + tiling.share)):
                image, i0, j0, _ = locate_tile(tiling, tile)
                pack_block(
                    like, x, itemsize, inputs, image, 0, unit, x.row_first + i0, a.tile_rows,
                    x.column_first + j0, a.tile_columns,
                )  # fmt: skip
                pack_block(
                    like, dy, itemsize, gradients, image, 0, unit, i0, tiling.m_rows, j0,
                    tiling.m_columns,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                call(
                    a.tile_map, inputs, a.tile_columns * pixel, pixel, gradients,
                    tiling.m_columns * pixel, pixel, total, temp,
                )  # fmt: skip
                clock = lap(a.profile, worker, MULTIPLY, clock)

    return spectral_weight


@functools.cache
def spectral_sum_kernel(itemsize: int) -> Kernel:
    """Add the sums of the stretches and write dw; a task is one vector of channels."""
    vector = lanes(itemsize)
    pixel = vector * itemsize

    @kernel(SUM_LAYOUT)
    def spectral_sum(worker, a):
        like = element(itemsize)
        staged = a.scratch + worker * a.scratch_bytes
        temp = staged + a.room_bytes
        clock = started(a.profile)
        while True:
            unit = next_task(a.counter, worker, a.tasks)
            if unit >= a.tasks:
                break
            total = a.sums + unit * a.splits * a.sum_bytes
            add_copies(like, total, a.splits, a.sum_bytes, a.sum_bytes)
            call(a.filter_map, total, staged, a.tap_columns * pixel, pixel, temp, a.flag)
            lane = unit * vector
            for t in range(0, a.taps, vector):
                transpose_tile(
                    like, a.dw + lane * a.dk + t * itemsize, a.dk, staged + t * pixel, pixel,
                    min(vector, a.taps - t), min(vector, a.channels - lane),
                )  # fmt: skip
        lap(a.profile, worker, OUTPUT, clock)

    return spectral_sum
