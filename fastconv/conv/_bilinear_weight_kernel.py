"""The kernels of a bilinear weight gradient: dU = Σ_tiles (I x)ᵀ (Oᵀ dy) by component, dw = Wᵀ dU.

Of each component's sums rows are channels and lanes are filters: ``[unit][component][c][lane]``,
where a unit is a tile of filters of a group.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.simd.copying import accumulate, next_task, put_word, zero
from fastconv.simd.phases import lap, started
from fastconv.simd.tiles import TILE
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

from ._bilinear_tiles import PHASES, TILING, spread_tiles

_AHEAD = 8  # tiles whose components are asked for before they are multiplied

LAYOUT = record(
    "profile scratch scratch_bytes room_bytes sums copy_bytes x_window dy_window "
    # workers: so many copies of the sums (each for a part of the tiles) × parts of the units
    "copies parts units stretches "
    # components of x (v) and of dy (m): bytes of a tile, of all tiles; of sums
    "v_row v_component m_row m_component u_component u_unit tiles_m tiles_k input_map gradient_map",
    tile=TILE,
    tiling=TILING,
)
SUM_LAYOUT = record(
    "counter profile tasks scratch scratch_bytes sums copy_bytes copies u_component u_unit flag "
    "weight_map components dw dk dc "
    # taps in the staging buffer: all, in a row; channels that are mapped together; lines that are
    # consecutive there and in dw
    "row_advance column_advance row_phases column_phases staged_taps staged_columns together "
    "lines line_taps block n_blocks tiles_k width channels filters"
)


@functools.cache
def bilinear_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of components in tiles of channels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def bilinear_weight(worker, a):
        x = record_at(a.x_window, PHASES)
        y = record_at(a.dy_window, PHASES)
        tiling, like = a.tiling, element(itemsize)
        multiply, mr, row = a.tile.multiply, a.tile.mr, a.tile.nr * itemsize
        nv = a.tile.nr // vector
        rows_at = a.scratch + worker * a.scratch_bytes  # table of the rows of a register tile
        run = rows_at + mr * 8
        nothing = (run + 16 + 63) // 64 * 64
        room = nothing + row
        v = room + a.room_bytes
        m = v + tiling.components * a.v_component
        for i in range(mr):
            put_word(rows_at + i * 8, i * row)
        put_word(run, 0)
        put_word(run + 8, 0)
        zero(nothing, row)
        part, share = worker // a.copies, worker % a.copies
        first_unit, last_unit = part * a.units // a.parts, (part + 1) * a.units // a.parts
        first_stretch = share * a.stretches // a.copies
        sums = a.sums + share * a.copy_bytes
        clock = started(a.profile)
        for stretch in range(first_stretch, (share + 1) * a.stretches // a.copies):
            first = stretch * tiling.share
            count = min(tiling.share, tiling.all_tiles - first)
            unit = first_unit
            while unit < last_unit:
                group, k0 = unit // a.tiles_k, unit % a.tiles_k
                k_end = min(a.tiles_k, k0 + last_unit - unit)
                spread_tiles(
                    like, tiling, x, itemsize, a.input_map, tiling.tile_rows, tiling.tile_columns,
                    group, 0, x.window.n_blocks, first, count, v, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                spread_tiles(
                    like, tiling, y, itemsize, a.gradient_map, tiling.m_rows, tiling.m_columns,
                    group, k0 * nv, min(y.window.n_blocks, k_end * nv), first, count, m, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, WEIGHT, clock)
                for e in range(tiling.components):
                    for k in range(k0, k_end):
                        target = sums + (group * a.tiles_k + k) * a.u_unit + e * a.u_component
                        for c in range(a.tiles_m):
                            init, pitch = target, row
                            if stretch == first_stretch:
                                init, pitch = nothing, 0
                            call(
                                multiply, v + e * a.v_component + c * mr * itemsize, 0,
                                a.v_row, run, 1, count,
                                m + e * a.m_component + (k - k0) * row, a.m_row, _AHEAD * a.m_row,
                                init, pitch, 0, rows_at, 8, target,
                            )  # fmt: skip
                            target += mr * row
                clock = lap(a.profile, worker, MULTIPLY, clock)
                unit += k_end - k0

    return bilinear_weight


@functools.cache
def bilinear_sum_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write dw; a task is some channels of one tile of filters."""
    vector = lanes(itemsize)

    @kernel(SUM_LAYOUT)
    def bilinear_sum(worker, a):
        like = element(itemsize)
        row = a.width * itemsize
        pixel = vector * itemsize
        nothing = a.scratch + worker * a.scratch_bytes
        staged = nothing + pixel
        temp = staged + a.together * a.staged_taps * pixel
        zero(nothing, pixel)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            unit, c0 = task // a.n_blocks, task % a.n_blocks * a.block
            c_end = min(a.channels, c0 + a.block)
            group, k0 = unit // a.tiles_k, unit % a.tiles_k * a.width
            sums = a.sums + unit * a.u_unit
            phases = a.row_phases * a.column_phases
            for other in range(1, a.copies):
                for at in range(a.components * phases):
                    start = at // phases * a.u_component + (at % phases * a.channels + c0) * row
                    start += sums
                    accumulate(like, start, start + other * a.copy_bytes, (c_end - c0) * row)
            n_lanes = min(a.width, a.filters - k0)
            for c in range(c0, c_end, a.together):
                together = min(a.together, c_end - c)
                for lane in range(0, n_lanes, vector):
                    for at in range(together * phases):
                        # The taps of a phase stand a stride apart.
                        i, phase = at // phases, at % phases
                        r, s = phase // a.column_phases, phase % a.column_phases
                        source = sums + (phase * a.channels + c + i) * row + lane * itemsize
                        call(
                            a.weight_map, 1, source, 0, a.u_component,
                            staged + (i * a.staged_taps + r * a.staged_columns + s) * pixel, 0,
                            a.row_advance * a.staged_columns * pixel, a.column_advance * pixel,
                            temp, nothing, 0, 0, a.flag,
                        )  # fmt: skip
                    k = group * a.filters + k0 + lane
                    count = together * a.line_taps
                    for line in range(a.lines):
                        target = a.dw + k * a.dk + c * a.dc + line * a.line_taps * itemsize
                        for t in range(0, count, vector):
                            transpose_tile(
                                like, target + t * itemsize, a.dk,
                                staged + (line * a.staged_columns + t) * pixel, pixel,
                                min(vector, count - t), min(vector, n_lanes - lane),
                            )  # fmt: skip
        lap(a.profile, worker, OUTPUT, clock)

    return bilinear_sum
