"""The kernel of ``bf16x3``'s weight gradient: products of x and dy, summed over the pixels.

For every tap, 16 channels of x and the filters of dy: pixels are the terms of the sum, so x is
transposed into a plane for each channel.  A tap is an offset into the planes.  As in
:mod:`._split_kernel` pixels stand in *slots*, some of which, between rows, are none; there dy is 0.
"""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, as_pointer, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, WEIGHT
from fastconv.gemm import windows
from fastconv.gemm.windows import pack_block
from fastconv.simd.copying import copy, zero
from fastconv.simd.matrix import (
    DEPTH,
    LANES,
    ROWS,
    TILE_BYTES,
    add_up,
    configure,
    matrix_product,
    release,
    split_pairs,
    split_planes,
)
from fastconv.simd.phases import lap, started
from fastconv.simd.vector import element

WINDOW = record(windows.FIELDS)
LAYOUT = record(
    "profile scratch scratch_bytes shape flag sums copy_bytes "
    "x_window dy_window x_in_place dy_in_place "
    # workers: so many copies of the sums (each for a part of the pixels) × parts of the units
    "copies parts units "
    # pixels: the grid, a block's share of it, and blocks along each axis
    "N I J task_n task_i task_j tasks_i tasks_j blocks "
    # slots of a row, of an image and of that before it is filled up; steps of an image
    "slots image_slots image_steps "
    # planes: bytes of one and of a half of all; rows in a phase; steps between positions
    "pitch low phase_rows row_advance column_advance row_stride column_stride "
    # tables: where tiles of x, and steps of their sums, begin; bytes of a panel of dy
    "tiles n_tiles steps panel "
    # units: bytes of the sums of one, tiles of filters, blocks of channels
    "unit_bytes tiles_k n_blocks staged_bytes"
)  # fmt: skip


@inner
def _planes(like, a, x, planes, source, step, slot):
    """32 slots of a block of channels, ``step`` bytes apart, into the planes."""
    for c in range(0, x.block, LANES):
        to = planes + c * a.pitch + slot * 2
        split_planes(like, to, a.pitch, a.low, source + c * 4, step)


@inner
def _split_input(like, a, x, staged, planes, n0, images, group, block, i0, rows, j0):
    """The planes of a block of channels, ``[half][channel][image][phase][row][slot]``."""
    row, pixel = x.block * 4, x.column_source * x.xw
    top = x.row_first + i0 * a.row_stride
    left = x.column_first + j0 * a.column_stride
    for n in range(images):
        first = n * a.image_slots
        if a.x_in_place != 0:
            used = rows * a.slots
            source = x.x + (n0 + n) * x.xn + group * x.xg + block * x.block * 4 + top * x.xh
            whole = used // DEPTH * DEPTH
            for slot in range(0, whole, DEPTH):
                _planes(like, a, x, planes, source + slot * pixel, pixel, first + slot)
            if whole < used:
                for slot in range(whole, used):
                    copy(staged + (slot - whole) * row, source + slot * pixel, row)
                zero(staged + (used - whole) * row, (DEPTH - used + whole) * row)
                _planes(like, a, x, planes, staged, row, first + whole)
            continue
        at = staged
        for phase in range(a.row_advance * a.column_advance):
            down, across = phase // a.column_advance, phase % a.column_advance
            column = left + across * x.column_source // a.column_advance
            for r in range(a.phase_rows):
                h = top + (down + r * a.row_advance) * x.row_source
                pack_block(like, x, 4, at, n0 + n, group, block, h, 1, column, a.slots)
                at += a.slots * row
        zero(at, DEPTH * row)
        for slot in range(0, a.image_slots, DEPTH):
            _planes(like, a, x, planes, staged + slot * row, row, first + slot)


@inner
def _split_gradient(like, a, nt, y, staged, panel, n0, images, group, k, i0, rows, j0, columns):
    """The panel of a tile of filters, ``[image][step]`` as right operands."""
    row = nt * LANES * 4
    used = rows * a.slots
    for n in range(images):
        done = 0
        if a.dy_in_place != 0:
            source = y.x + (n0 + n) * y.xn + group * y.xg + k * row + i0 * y.xh
            done = used // DEPTH
            for step in range(done):
                to = panel + step * 2 * nt * TILE_BYTES
                split_pairs(like, nt, to, source + step * DEPTH * y.xw, y.xw)
            for slot in range(done * DEPTH, used):
                copy(staged + slot * row, source + slot * y.xw, row)
        else:
            at = staged
            for i in range(i0, i0 + rows):
                pack_block(like, y, 4, at, n0 + n, group, k, i, 1, j0, columns)
                zero(at + columns * row, (a.slots - columns) * row)
                at += a.slots * row
        zero(staged + used * row, max(0, a.image_steps * DEPTH - used) * row)
        for step in range(done, a.image_steps):
            to = panel + step * 2 * nt * TILE_BYTES
            split_pairs(like, nt, to, staged + step * DEPTH * row, row)
        panel += a.image_steps * 2 * nt * TILE_BYTES


@functools.cache
def split_weight_kernel(mt: int, nt: int) -> Kernel:
    """Sum products in ``mt`` × ``nt`` tiles of the matrix unit: channels × filters."""
    row = nt * LANES * 4
    vectors = mt * ROWS * nt

    @kernel(LAYOUT)
    def split_weight(worker, args):
        a = numba.carray(args, 1)[0]
        x = numba.carray(as_pointer(a.x_window), 1, WINDOW)[0]
        y = numba.carray(as_pointer(a.dy_window), 1, WINDOW)[0]
        like = element(4)
        nothing = a.scratch + worker * a.scratch_bytes
        product = nothing + mt * nt * TILE_BYTES
        staged = product + mt * nt * TILE_BYTES
        planes = staged + a.staged_bytes
        panels = planes + 2 * a.low
        zero(nothing, mt * nt * TILE_BYTES)
        zero(planes, 2 * a.low)
        part, share = worker // a.copies, worker % a.copies
        first_unit, last_unit = part * a.units // a.parts, (part + 1) * a.units // a.parts
        sums = a.sums + share * a.copy_bytes
        first_block = share * a.blocks // a.copies
        configure(a.shape)
        clock = started(a.profile)
        for pixels in range(first_block, (share + 1) * a.blocks // a.copies):
            j0 = pixels % a.tasks_j * a.task_j
            i0 = pixels // a.tasks_j % a.tasks_i * a.task_i
            n0 = pixels // a.tasks_j // a.tasks_i * a.task_n
            images, rows = min(a.task_n, a.N - n0), min(a.task_i, a.I - i0)
            columns = min(a.task_j, a.J - j0)
            group, block = -1, -1
            for unit in range(first_unit, last_unit):
                k = unit % a.tiles_k
                if unit == first_unit or k == 0:
                    block = unit // a.tiles_k % a.n_blocks
                    _split_input(
                        like, a, x, staged, planes, n0, images, unit // a.tiles_k // a.n_blocks,
                        block, i0, rows, j0,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, INPUT, clock)
                if unit // a.tiles_k // a.n_blocks != group:
                    group = unit // a.tiles_k // a.n_blocks
                    end = min(last_unit, (group + 1) * a.n_blocks * a.tiles_k)
                    low, high = 0, a.tiles_k
                    if (end - 1) // a.tiles_k == unit // a.tiles_k:
                        low, high = k, k + end - unit
                    for tile in range(low, high):
                        _split_gradient(
                            like, a, nt, y, staged, panels + tile * a.panel, n0, images, group,
                            tile, i0, rows, j0, columns,
                        )  # fmt: skip
                    clock = lap(a.profile, worker, WEIGHT, clock)
                target = sums + ((group * a.tiles_k + k) * a.n_blocks + block) * a.unit_bytes
                for tile in range(0, a.n_tiles, mt):
                    before = nothing if pixels == first_block else target
                    matrix_product(
                        like, mt, nt, planes, a.tiles + tile * 8, a.low, a.pitch, a.steps,
                        images * a.image_steps, panels + k * a.panel, product, ROWS * row, 64, row,
                    )  # fmt: skip
                    add_up(like, target, before, product, vectors, a.flag)
                    target += mt * ROWS * row
                clock = lap(a.profile, worker, MULTIPLY, clock)
        release()

    return split_weight
