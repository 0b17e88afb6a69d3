"""The kernel of a bilinear correlation: spread the input, multiply component by component, gather.

A task is a stretch of tiles of outputs; its components stay in the cache between the three steps.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm.results import RESULT
from fastconv.simd.copying import next_task, zero
from fastconv.simd.microkernel import UNROLL
from fastconv.simd.phases import lap, started
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from . import _bilinear_output
from ._bilinear_output import gather_output
from ._bilinear_tiles import PHASES, TILING, in_bundles, spread_tiles

TERMS = 128  # of a sum in one go: sums of equal terms stray the further the longer they are

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes input_map "
    # filters as components: bytes of a tile of lanes, of one of its components; tiles multiplied
    # between two gatherings
    "w w_group w_tile w_component splits groups joined "
    # stretches of channels that a sum consists of, of so many each; those summed in one go
    "runs run_channels runs_joined "
    # bytes behind the last lane of components of the output that are read with the last fold
    "m_beyond "
    # bytes of all components of the input
    "v_bytes " + _bilinear_output.FIELDS,
    tile=TILE,
    tiling=TILING,
    input=PHASES,
    output=RESULT,
)


@inner
def _multiply(a, vector, row, v, w, following, bundles, m):
    """One component of all tiles by one tile of filters, whose successor is ``following``.

    That is fetched meanwhile, a share with every bundle: filters' components are often too many for
    the cache, and the next level is too slow to be waited for.
    """
    step = UNROLL * row * vector // (a.tile.nr * bundles)
    ahead = w + following
    more = 0
    for run in range(0, a.runs, a.runs_joined):
        for c in range(0, a.run_channels, TERMS):
            terms = min(TERMS, a.run_channels - c)
            call(
                a.tile.multiply, bundles, v + run * a.input.v_phase + c // vector * a.input.v_block,
                a.input.v_bundle, a.runs_joined, terms // vector, terms % vector, w, ahead, step,
                more, m, a.m_row, a.m_bundle,
            )  # fmt: skip
            w += a.runs_joined * terms * row
            ahead += a.runs_joined * terms * row
            more = 1


@functools.cache
def bilinear_kernel(itemsize: int) -> Kernel:
    """Products in register tiles of tiles of pixels × vectors of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def bilinear(worker, a):
        tiling, like = a.tiling, element(itemsize)
        width = a.tile.nr
        row = width * itemsize
        room = a.scratch + worker * a.scratch_bytes
        v = room + a.room_bytes
        m = v + a.v_bytes
        split_tiles = -(-a.tiles // a.splits)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            split, rest = task % a.splits, task // a.splits
            group, first = rest % a.groups, rest // a.groups * tiling.share
            count = min(tiling.share, tiling.all_tiles - first)
            bundles = -(-count // tiling.bundle)
            tile0 = split * split_tiles
            tile_end = min(a.tiles, tile0 + split_tiles)
            spread_tiles(
                like, tiling, a.input, itemsize, a.input_map, tiling.tile_rows,
                tiling.tile_columns, group, 0, a.input.window.n_blocks, first, count, v, room,
            )  # fmt: skip
            clock = lap(a.profile, worker, INPUT, clock)
            for tile_group in range(tile0, tile_end, a.joined):
                group_end = min(tile_end, tile_group + a.joined)
                for e in range(tiling.components):
                    for tile in range(tile_group, group_end):
                        w = a.w + group * a.w_group + e * a.w_component + tile * a.w_tile
                        following = a.w_tile
                        if tile + 1 == group_end:
                            following = a.w_component - (tile - tile_group) * a.w_tile
                        _multiply(
                            a, vector, row, v + e * a.input.v_component, w, following, bundles,
                            m + e * a.m_component + (tile - tile_group) * row,
                        )  # fmt: skip
                for i in range(count if a.m_beyond > 0 else 0):
                    beyond = m + in_bundles(tiling, i, a.m_bundle, a.m_row)
                    beyond += (group_end - tile_group) * row
                    for e in range(tiling.components):
                        zero(beyond + e * a.m_component, a.m_beyond)
                clock = lap(a.profile, worker, MULTIPLY, clock)
                gather_output(
                    like, a, itemsize, vector, group, first, count, tile_group * width,
                    min(a.all_lanes, group_end * width), m, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, OUTPUT, clock)

    return bilinear
