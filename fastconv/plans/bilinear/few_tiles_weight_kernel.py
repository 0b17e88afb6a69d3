"""The kernels of a bilinear weight gradient of few tiles: from components to dw in one go.

The first spreads x in chunks of channels (v) and dy in tiles of filters (m), once for all workers.
A task of the second has some tiles of filters and some chunks: it sums a chunk's products over all
tiles and maps the sums to dw before it goes on to the next.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.plans.ahead import fetch_part
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .phases import PHASES
from .taps import TAPS, gather_taps
from .tiles import TILING, spread_tiles
from .weight_kernel import AHEAD, list_rows

# Components of x, in chunks of so many channels, and of dy, in tiles of filters: so many of either
# in a group, bytes from one to the next.
OPERANDS = record("v m chunk n_chunks v_chunk tiles_k m_unit")
SPREAD_LAYOUT = record(
    "counter profile tasks scratch scratch_bytes x_window dy_window "
    # tasks that spread x, before those that spread dy; vectors of a tile of filters
    "chunks vectors",
    operands=OPERANDS,
    tiling=TILING,
)
LAYOUT = record(
    "counter profile tasks scratch scratch_bytes "
    # tiles of filters of a task, tasks of a group that have others, that have the same
    "joined strips cuts "
    # components of x and of dy: bytes of a tile, of all tiles; of sums; all components
    "v_row v_component m_row m_component u_component u_bytes components all_tiles",
    operands=OPERANDS,
    tile=TILE,
    taps=TAPS,
)


@functools.cache
def spread_operands_kernel(itemsize: int) -> Kernel:
    """Spread a chunk of channels of x, or a tile of filters of dy."""
    vector = lanes(itemsize)

    @kernel(SPREAD_LAYOUT)
    def spread_operands(worker, a):
        x = record_at(a.x_window, PHASES)
        y = record_at(a.dy_window, PHASES)
        tiling, to, like = a.tiling, a.operands, element(itemsize)
        room = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            if task < a.chunks:
                c0 = task % to.n_chunks * to.chunk
                c_end = min(x.window.channels, c0 + to.chunk)
                spread_tiles(
                    like, tiling, x, itemsize, None, task // to.n_chunks, c0 // vector,
                    -(-c_end // vector), 0, tiling.all_tiles, to.v + task * to.v_chunk, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
            else:
                unit = task - a.chunks
                block = unit % to.tiles_k * a.vectors
                spread_tiles(
                    like, tiling, y, itemsize, None, unit // to.tiles_k, block,
                    min(y.window.n_blocks, block + a.vectors), 0, tiling.all_tiles,
                    to.m + unit * to.m_unit, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, WEIGHT, clock)

    return spread_operands


@functools.cache
def few_tiles_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of components in tiles of channels × vectors of filters.

    Meanwhile the chunk that comes next is fetched.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def few_tiles_weight(worker, a):
        of, taps, like = a.operands, a.taps, element(itemsize)
        multiply, mr, row = a.tile.multiply, a.tile.mr, a.tile.nr * itemsize
        rows_at = a.scratch + worker * a.scratch_bytes
        run, nothing, u = list_rows(rows_at, mr, row)
        taps_room = u + a.u_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            part, strip = task % a.cuts, task // a.cuts
            group, k0 = strip // a.strips, strip % a.strips * a.joined
            k_end = min(of.tiles_k, k0 + a.joined)
            for chunk in range(part * of.n_chunks // a.cuts, (part + 1) * of.n_chunks // a.cuts):
                v = of.v + (group * of.n_chunks + chunk) * of.v_chunk
                c0 = chunk * of.chunk
                c_end = min(taps.channels, c0 + of.chunk)
                for k in range(k0, k_end):
                    m = of.m + (group * of.tiles_k + k) * of.m_unit
                    for e in range(a.components):
                        if k + 1 == k_end and chunk + 1 < of.n_chunks:
                            fetch_part(v + of.v_chunk, of.v_chunk, e, a.components)
                        of_dy = m + e * a.m_component
                        for c in range(0, c_end - c0, mr):
                            call(
                                multiply, v + e * a.v_component + c * itemsize, 0, a.v_row, run, 1,
                                a.all_tiles, of_dy, a.m_row, of_dy + AHEAD * a.m_row, a.m_row,
                                nothing, 0, 0, rows_at, 8, u + e * a.u_component + c * row,
                            )  # fmt: skip
                    clock = lap(a.profile, worker, MULTIPLY, clock)
                    gather_taps(
                        like, taps, itemsize, vector, u - c0 * row, a.u_component, group,
                        k * taps.width, c0, c_end, taps_room,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, OUTPUT, clock)

    return few_tiles_weight
