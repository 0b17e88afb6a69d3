"""The kernel of a bilinear weight gradient: dU = Σ_tiles (I x)ᵀ (Oᵀ dy) by component.

Of each component's sums rows are channels and lanes are filters: ``[unit][component][c][lane]``,
where a unit is a tile of filters of a group.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, WEIGHT
from fastconv.plans.ahead import fetch_part
from fastconv.plans.sum_tasks import SUM_TASKS, blocks_of, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import line_from, put_word, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .phases import PHASES
from .tiles import TILING, input_at, spread_tiles

TILES_AHEAD = 8  # tiles whose components are asked for before they are multiplied

LAYOUT = record(
    "profile scratch scratch_bytes room_bytes sums copy_bytes x_window dy_window "
    # components of x (v) and of dy (m): bytes of a tile, of all tiles; of sums
    "v_row v_component m_row m_component u_component u_unit tiles_m tiles_k "
    # bytes of x and of dy that a stretch reads, if those of the next one are fetched meanwhile
    "x_ahead dy_ahead",
    shares=SUM_TASKS,
    tile=TILE,
    tiling=TILING,
)


def table_bytes(mr: int, row: int) -> int:
    """What :func:`list_rows` fills, at any address."""
    return 8 * mr + 24 + 64 + row


@inner
def list_rows(at, mr, row):
    """The tables of a tile whose rows follow one another, for one run that begins at its operands.

    Those of its rows are at ``at``; where those of the run and of zeros are, and what is behind.
    """
    run = at + mr * 8
    nothing = line_from(run + 24)
    for i in range(mr):
        put_word(at + i * 8, i * row)
    zero(run, 24)
    zero(nothing, row)
    return run, nothing, nothing + row


@functools.cache
def bilinear_weight_kernel(itemsize: int, joined: bool) -> Kernel:
    """Sum the products of components in tiles of channels × vectors of filters.

    Phases of x may be ``joined`` in vectors.
    """
    vector = lanes(itemsize)
    # Numba leaves out the branches of what is None, but not of what is False.
    joined = joined or None

    @kernel(LAYOUT)
    def bilinear_weight(worker, a):
        x = record_at(a.x_window, PHASES)
        y = record_at(a.dy_window, PHASES)
        tiling, like = a.tiling, element(itemsize)
        multiply, mr, row = a.tile.multiply, a.tile.mr, a.tile.nr * itemsize
        nv = a.tile.nr // vector
        rows_at = a.scratch + worker * a.scratch_bytes
        run, nothing, room = list_rows(rows_at, mr, row)
        v = room + a.room_bytes
        m = v + tiling.components * a.v_component
        clock = started(a.profile)
        while True:
            task = next_task(a.shares.counter, worker, a.shares.tasks)
            if task >= a.shares.tasks:
                break
            first_unit, last_unit = units_of(a.shares, task)
            first_stretch, last_stretch = blocks_of(a.shares, task)
            sums = a.sums + task % a.shares.copies * a.copy_bytes
            for stretch in range(first_stretch, last_stretch):
                first = stretch * tiling.share
                of_next = min(stretch + 1, last_stretch - 1) * tiling.share
                x_next = input_at(tiling, x, 0, of_next)
                dy_next = input_at(tiling, y, 0, of_next)
                count = min(tiling.share, tiling.all_tiles - first)
                unit = first_unit
                while unit < last_unit:
                    group, k0 = unit // a.tiles_k, unit % a.tiles_k
                    k_end = min(a.tiles_k, k0 + last_unit - unit)
                    spread_tiles(
                        like, tiling, x, itemsize, joined, group, 0, x.window.n_blocks, first,
                        count, v, room,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, INPUT, clock)
                    spread_tiles(
                        like, tiling, y, itemsize, None, group, k0 * nv,
                        min(y.window.n_blocks, k_end * nv), first, count, m, room,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, WEIGHT, clock)
                    for e in range(tiling.components):
                        fetch_part(x_next, a.x_ahead, e, tiling.components)
                        fetch_part(dy_next, a.dy_ahead, e, tiling.components)
                        for k in range(k0, k_end):
                            target = sums + (group * a.tiles_k + k) * a.u_unit + e * a.u_component
                            for c in range(a.tiles_m):
                                init, pitch = target, row
                                if stretch == first_stretch:
                                    init, pitch = nothing, 0
                                of_dy = m + e * a.m_component + (k - k0) * row
                                ahead, step = of_dy + TILES_AHEAD * a.m_row, a.m_row
                                if c > 0:  # then they are near, and the next sums may not be
                                    ahead, step = target + mr * row, mr * row // count
                                call(
                                    multiply, v + e * a.v_component + c * mr * itemsize, 0,
                                    a.v_row, run, 1, count, of_dy, a.m_row, ahead, step, init,
                                    pitch, 0, rows_at, 8, target,
                                )  # fmt: skip
                                target += mr * row
                    clock = lap(a.profile, worker, MULTIPLY, clock)
                    unit += k_end - k0

    return bilinear_weight
