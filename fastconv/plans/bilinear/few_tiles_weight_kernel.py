"""The kernel of a bilinear weight gradient of few tiles: from components to dw in one go.

A worker has some tiles of filters: it spreads dy for as many as the cache holds, and for a chunk of
channels after the other spreads x, sums over all tiles and maps the sums to dw.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.simd.phases import lap, started
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .phases import PHASES
from .taps import TAPS, gather_taps
from .tiles import TILING, spread_tiles
from .weight_kernel import AHEAD, list_rows

LAYOUT = record(
    "profile scratch scratch_bytes room_bytes v_bytes m_bytes u_bytes x_window dy_window "
    # workers; tiles of filters: all, those of a group, those spread in one go; channels of a chunk
    "parts units tiles_k joined chunk "
    # components of x (v) and of dy (m): bytes of a tile, of all tiles; of sums
    "v_row v_component m_row m_component u_component input_map gradient_map",
    tile=TILE,
    tiling=TILING,
    taps=TAPS,
)


@functools.cache
def few_tiles_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of components in tiles of channels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def few_tiles_weight(worker, a):
        x = record_at(a.x_window, PHASES)
        y = record_at(a.dy_window, PHASES)
        tiling, taps, like = a.tiling, a.taps, element(itemsize)
        multiply, mr, row = a.tile.multiply, a.tile.mr, a.tile.nr * itemsize
        nv, tiles = a.tile.nr // vector, tiling.all_tiles
        rows_at = a.scratch + worker * a.scratch_bytes
        run, nothing, room = list_rows(rows_at, mr, row)
        v = room + a.room_bytes
        m = v + a.v_bytes
        u = m + a.m_bytes
        taps_room = u + a.u_bytes
        unit, last_unit = worker * a.units // a.parts, (worker + 1) * a.units // a.parts
        clock = started(a.profile)
        while unit < last_unit:
            group, k0 = unit // a.tiles_k, unit % a.tiles_k
            k_end = min(a.tiles_k, k0 + min(a.joined, last_unit - unit))
            spread_tiles(
                like, tiling, y, itemsize, None, a.gradient_map, tiling.m_rows, tiling.m_columns,
                group, k0 * nv, min(y.window.n_blocks, k_end * nv), 0, tiles, m, room,
            )  # fmt: skip
            clock = lap(a.profile, worker, WEIGHT, clock)
            for c0 in range(0, taps.channels, a.chunk):
                c_end = min(taps.channels, c0 + a.chunk)
                spread_tiles(
                    like, tiling, x, itemsize, None, a.input_map, tiling.tile_rows,
                    tiling.tile_columns, group, c0 // vector, -(-c_end // vector), 0, tiles, v,
                    room,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                for k in range(k0, k_end):
                    for e in range(tiling.components):
                        for c in range(0, c_end - c0, mr):
                            of_dy = m + e * a.m_component + (k - k0) * row
                            call(
                                multiply, v + e * a.v_component + c * itemsize, 0, a.v_row, run, 1,
                                tiles, of_dy, a.m_row, of_dy + AHEAD * a.m_row, a.m_row, nothing, 0,
                                0, rows_at, 8, u + e * a.u_component + c * row,
                            )  # fmt: skip
                    clock = lap(a.profile, worker, MULTIPLY, clock)
                    gather_taps(
                        like, taps, itemsize, vector, u - c0 * row, a.u_component, group,
                        k * taps.width, c0, c_end, taps_room,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, OUTPUT, clock)
            unit += k_end - k0

    return few_tiles_weight
