"""The kernel of a bilinear weight gradient of few tiles: from components to dw in one go.

Those of x are there in chunks of channels (v), those of dy in tiles of filters (m).  A task has
some tiles of filters and some chunks: it sums a chunk's products over all tiles and maps the sums
to dw before it goes on to the next.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record
from fastconv.core.profile import MULTIPLY, OUTPUT
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .taps import TAPS, fetch_taps, gather_taps
from .weight_kernel import TILES_AHEAD, list_rows

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes "
    # components of x, in chunks of so many channels, and of dy, in tiles of filters: so many of
    # either in a group, bytes from one to the next
    "v m chunk n_chunks v_chunk tiles_k m_unit "
    # tiles of filters of a task, tasks of a group that have others, that have the same
    "joined strips cuts "
    # components of x and of dy: bytes of a tile, of all tiles; of sums; all components
    "v_row v_component m_row m_component u_component u_bytes components all_tiles",
    tile=TILE,
    taps=TAPS,
)


@functools.cache
def few_tiles_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of components in tiles of channels × vectors of filters.

    Meanwhile the lines of dw are fetched that the sums will go to.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def few_tiles_weight(worker, a):
        taps, like = a.taps, element(itemsize)
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
            k_end = min(a.tiles_k, k0 + a.joined)
            for chunk in range(part * a.n_chunks // a.cuts, (part + 1) * a.n_chunks // a.cuts):
                v = a.v + (group * a.n_chunks + chunk) * a.v_chunk
                c0 = chunk * a.chunk
                c_end = min(taps.channels, c0 + a.chunk)
                for k in range(k0, k_end):
                    m = a.m + (group * a.tiles_k + k) * a.m_unit
                    for e in range(a.components):
                        fetch_taps(taps, group, k * taps.width, c0, c_end, e, a.components)
                        of_dy = m + e * a.m_component
                        for c in range(0, c_end - c0, mr):
                            call(
                                multiply, v + e * a.v_component + c * itemsize, 0, a.v_row, run, 1,
                                a.all_tiles, of_dy, a.m_row, of_dy + TILES_AHEAD * a.m_row, a.m_row,
                                nothing, 0, 0, rows_at, 8, u + e * a.u_component + c * row,
                            )  # fmt: skip
                    clock = lap(a.profile, worker, MULTIPLY, clock)
                    gather_taps(
                        like, taps, itemsize, vector, u - c0 * row, a.u_component, group,
                        k * taps.width, c0, c_end, taps_room,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, OUTPUT, clock)

    return few_tiles_weight
