"""The kernel of ``im2col``'s weight gradient: outer products of columns and output gradients."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, as_pointer, kernel, record
from fastconv.gemm.columns import gather_rows
from fastconv.gemm.windows import pack_block
from fastconv.simd.copying import put_word, zero
from fastconv.simd.microkernel import tile_panel
from fastconv.simd.vector import element, lanes

from ._direct_weight_kernel import WINDOW, _pack_gradient

LAYOUT = record(
    "scratch scratch_bytes sums copy_bytes x_window dy_window "
    # workers: so many copies of the sums (each for a part of the pixels) × parts of the units
    "copies parts units "
    # pixels: the grid, a block's share of it, and blocks along each axis
    "N I J task_n task_i tasks_i blocks "
    # the window's buffer; the terms of a block of channels; bytes of a row of columns
    "row_advance column_advance buffer_rows buffer_columns runs n_runs run_length step "
    # tiles: terms of a block, lanes of filters
    "tiles_m tiles_k n_blocks"
)


@functools.cache
def im2col_weight_kernel(itemsize: int, mr: int, nv: int) -> Kernel:
    """Sum outer products in tiles of ``mr`` terms × ``nv`` vectors of filters."""
    vector = lanes(itemsize)
    width = nv * vector

    @kernel(LAYOUT)
    def im2col_weight(worker, args):
        a = numba.carray(args, 1)[0]
        x = numba.carray(as_pointer(a.x_window), 1, WINDOW)[0]
        y = numba.carray(as_pointer(a.dy_window), 1, WINDOW)[0]
        like = element(itemsize)
        row = width * itemsize
        pixel = x.block * itemsize
        relative = a.scratch + worker * a.scratch_bytes
        start = relative + mr * 8
        nothing = (start + 16 + 63) // 64 * 64
        window = nothing + row
        size = a.buffer_rows * a.buffer_columns * pixel
        panel = (window + a.task_n * size + vector * itemsize + 63) // 64 * 64
        gradient = panel + a.task_n * a.task_i * a.J * a.step + vector * itemsize
        gradient = (gradient + 63) // 64 * 64
        gradient_bytes = a.task_n * a.task_i * a.J * row
        for m in range(mr):
            put_word(relative + m * 8, m * row)
        put_word(start, 0)
        put_word(start + 8, 0)
        zero(nothing, row)
        part, share = worker // a.copies, worker % a.copies
        first_unit, last_unit = part * a.units // a.parts, (part + 1) * a.units // a.parts
        sums = a.sums + share * a.copy_bytes
        first_block = share * a.blocks // a.copies

        for pixels in range(first_block, (share + 1) * a.blocks // a.copies):
            n0, i0 = pixels // a.tasks_i * a.task_n, pixels % a.tasks_i * a.task_i
            images, rows = min(a.task_n, a.N - n0), min(a.task_i, a.I - i0)
            group, block = -1, -1
            for unit in range(first_unit, last_unit):
                k = unit % a.tiles_k
                if unit == first_unit or k == 0:
                    block = unit // a.tiles_k % a.n_blocks
                    for n in range(images):
                        pack_block(
                            like, x, itemsize, window + n * size, n0 + n,
                            unit // a.tiles_k // a.n_blocks, block,
                            x.row_first + i0 * a.row_advance * x.row_source, a.buffer_rows,
                            x.column_first, a.buffer_columns,
                        )  # fmt: skip
                    to = panel
                    for i in range(rows):
                        for n in range(images):
                            line = (n * a.buffer_rows + i * a.row_advance) * a.buffer_columns
                            gather_rows(
                                like, to, a.step, itemsize, vector, a.J, window + line * pixel,
                                a.column_advance * pixel, a.runs, a.n_runs, a.run_length,
                            )  # fmt: skip
                            to += a.J * a.step
                if unit // a.tiles_k // a.n_blocks != group:
                    group = unit // a.tiles_k // a.n_blocks
                    end = min(last_unit, (group + 1) * a.n_blocks * a.tiles_k)
                    low, high = 0, a.tiles_k
                    if (end - 1) // a.tiles_k == unit // a.tiles_k:
                        low, high = k, k + end - unit
                    _pack_gradient(
                        like, y, itemsize, gradient + low * gradient_bytes, group, low, high,
                        images, n0, i0, rows, a.J,
                    )  # fmt: skip
                target = sums + ((group * a.tiles_k + k) * a.n_blocks + block) * (
                    a.tiles_m * mr * row
                )
                for m in range(a.tiles_m):
                    init, pitch = target, row
                    if pixels == first_block:
                        init, pitch = nothing, 0
                    tile_panel(
                        like, mr, nv, panel + m * mr * itemsize, a.step, start, 1,
                        images * rows * a.J, gradient + k * gradient_bytes, row, init, pitch, 0,
                        relative, 8, target,
                    )  # fmt: skip
                    target += mr * row

    return im2col_weight
