"""The kernel of ``bf16x3``'s weight gradient: products of x and dy, summed over the pixels.

Pixels are the terms of the sums, and stand in *slots*, some of which, between two rows, are none.
The left operand, dy, has a plane for each channel, with 0 in those.  The right operand, x, has its
slots in pairs, as the unit wants it; a tap is an offset into it.  There are two copies, of the
pairs from even slots and of those from odd ones, so that every tap finds whole cache lines.  With a
single tap x may be the left one and dy the right one.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, WEIGHT
from fastconv.gemm.windows import WINDOW, element_at, pack_block
from fastconv.plans.pixel_tasks import corner
from fastconv.plans.sum_tasks import SUM_TASKS, blocks_of, tiles_met, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy, put_word, zero
from fastconv.simd.matrix import (
    DEPTH,
    LANES,
    TILE_BYTES,
    TILE_ROWS,
    add_up,
    configure,
    matrix_product,
    release,
    split_pairs,
    split_planes,
)
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element

OPERAND = record("row_stride column_stride in_place", window=WINDOW)
LAYOUT = record(
    "profile scratch scratch_bytes shape flags sums copy_bytes left_window right_window "
    # pixels: the grid, a block's share of it, and blocks along each axis
    "N I J task_n task_i task_j tasks_i tasks_j "
    # slots of a row of pixels, of an image of the right operand with its phases; steps of an image
    "slots image_slots image_steps phase_rows row_advance column_advance "
    # left: bytes of a plane, of a tile's planes.  right: of a tile, of all tiles, of all copies
    "pitch left_low tile_bytes right_low copies_low parities "
    # tables: where tiles of the right operand, and steps of their sums, begin
    "tiles n_tiles steps "
    # units: bytes of the sums of one, tiles of left channels, blocks of right ones
    "unit_bytes left_tiles n_blocks staged_bytes",
    shares=SUM_TASKS,
)  # fmt: skip


@inner
def _gather(staged, source, step, slots, row):
    """The last ``slots`` of an image in place, filled up with zeros."""
    for slot in range(slots):
        copy(staged + slot * row, source + slot * step, row)
    zero(staged + slots * row, (DEPTH + 1 - slots) * row)


@inner
def _at(w, image, group, block, i0, j0):
    """Where an image's block of channels begins, at output row ``i0`` and column ``j0``."""
    window = w.window
    row, column = window.row_first + i0 * w.row_stride, window.column_first + j0 * w.column_stride
    return element_at(window, image, group, block * window.block, row, column)


@inner
def _split_left(like, a, x, staged, planes, n0, images, group, tile, i0, rows, j0, columns):
    """A tile of channels, ``[half][channel][image][slot]``."""
    window = x.window
    row, pixel = window.block * 4, window.column_source * window.xw
    used = rows * a.slots
    for n in range(images):
        done = 0
        if x.in_place != 0:
            source = _at(x, n0 + n, group, tile, i0, j0)
            done = used // DEPTH
            _gather(staged, source + done * DEPTH * pixel, pixel, used - done * DEPTH, row)
            at = staged + (used - done * DEPTH) * row
        else:
            at = staged
            for i in range(i0, i0 + rows):
                pack_block(
                    like, window, 4, at, n0 + n, group, tile, window.row_first + i * x.row_stride,
                    1, window.column_first + j0 * x.column_stride, columns,
                )  # fmt: skip
                zero(at + columns * row, (a.slots - columns) * row)
                at += a.slots * row
            source = staged
        # The last rows of an image may be fewer, and pixels beyond them meet some of x.
        zero(at, max(0, a.image_steps * DEPTH - used) * row)
        for step in range(a.image_steps):
            at, between = staged + (step - done) * DEPTH * row, row
            if step < done:
                at, between = source + step * DEPTH * pixel, pixel
            for c in range(0, window.block, TILE_ROWS):
                split_planes(
                    like, planes + c * a.pitch + (n * a.image_steps + step) * DEPTH * 2, a.pitch,
                    a.left_low, at + c * 4, between,
                )  # fmt: skip


@inner
def _split_right(like, a, x, staged, pairs, n0, images, group, block, i0, rows, j0):
    """A block of channels, ``[half][copy][16 channels][image][phase][row][pair of slots]``."""
    window = x.window
    row, pixel = window.block * 4, window.column_source * window.xw
    for n in range(images):
        whole, slots = 0, a.image_slots
        source = staged
        if x.in_place != 0:
            source, slots = _at(x, n0 + n, group, block, i0, j0), rows * a.slots
            whole = slots // DEPTH * DEPTH
            _gather(staged, source + whole * pixel, pixel, slots - whole, row)
        else:
            at = staged
            for phase in range(a.row_advance * a.column_advance):
                down, across = phase // a.column_advance, phase % a.column_advance
                column = window.column_first + j0 * x.column_stride
                column += across * window.column_source // a.column_advance
                for r in range(a.phase_rows):
                    h = window.row_first + i0 * x.row_stride
                    h += (down + r * a.row_advance) * window.row_source
                    pack_block(like, window, 4, at, n0 + n, group, block, h, 1, column, a.slots)
                    at += a.slots * row
            zero(at, (DEPTH + 1) * row)
        for slot in range(0, slots, DEPTH):
            at, between = staged + (slot - whole) * row, row
            if slot < whole:
                at, between = source + slot * pixel, pixel
            to = pairs + (n * a.image_slots + slot) // 2 * 64
            for parity in range(a.parities):
                for c in range(0, window.block, LANES):
                    split_pairs(
                        like, 1, to + parity * a.copies_low + c // LANES * a.tile_bytes,
                        a.right_low, at + parity * between + c * 4, between,
                    )  # fmt: skip


@functools.cache
def split_weight_kernel(mt: int, nt: int) -> Kernel:
    """Sum products in ``mt`` × ``nt`` tiles of the matrix unit: filters × taps of channels."""
    vectors = mt * TILE_ROWS * nt

    @kernel(LAYOUT)
    def split_weight(worker, a):
        left = record_at(a.left_window, OPERAND)
        right = record_at(a.right_window, OPERAND)
        like = element(4)
        tile_rows = a.scratch + worker * a.scratch_bytes
        nothing = tile_rows + 64
        product = nothing + mt * nt * TILE_BYTES
        staged = product + mt * nt * TILE_BYTES
        pairs = staged + a.staged_bytes
        planes = pairs + 2 * a.right_low
        for i in range(mt):
            put_word(tile_rows + i * 8, i * TILE_ROWS * a.pitch)
        zero(nothing, mt * nt * TILE_BYTES)
        zero(pairs, 2 * a.right_low)
        configure(a.shape)
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
                group, block = -1, -1
                for unit in range(first_unit, last_unit):
                    k = unit % a.left_tiles
                    if unit == first_unit or k == 0:
                        block = unit // a.left_tiles % a.n_blocks
                        _split_right(
                            like, a, right, staged, pairs, n0, images,
                            unit // a.left_tiles // a.n_blocks, block, i0, rows, j0,
                        )  # fmt: skip
                        clock = lap(a.profile, worker, INPUT, clock)
                    if unit // a.left_tiles // a.n_blocks != group:
                        group = unit // a.left_tiles // a.n_blocks
                        low, high = tiles_met(unit, last_unit, a.n_blocks, a.left_tiles)
                        for tile in range(low, high):
                            _split_left(
                                like, a, left, staged, planes + tile * 2 * a.left_low, n0, images,
                                group, tile, i0, rows, j0, columns,
                            )  # fmt: skip
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    target = sums + ((group * a.left_tiles + k) * a.n_blocks + block) * a.unit_bytes
                    for tile in range(0, a.n_tiles, nt):
                        before = nothing if pixels == first_block else target
                        matrix_product(
                            like, mt, nt, planes + k * 2 * a.left_low, tile_rows, a.left_low,
                            a.pitch, pairs, a.tiles + tile * 8, a.right_low, a.steps,
                            images * a.image_steps, product, TILE_BYTES, mt * TILE_BYTES, LANES * 4,
                        )  # fmt: skip
                        add_up(like, target, before, product, vectors, a.flags)
                        target += mt * nt * TILE_BYTES
                    clock = lap(a.profile, worker, MULTIPLY, clock)
        release()

    return split_weight
