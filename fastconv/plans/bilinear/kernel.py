"""The kernel of a bilinear correlation: spread the input, multiply component by component, gather.

A task is a stretch of tiles of outputs; its components stay in the cache between the three steps,
unless those of the input are there before any task begins.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.results import RESULT
from fastconv.plans.ahead import AHEAD, STREAM, STREAM_BYTES, begin, turn
from fastconv.plans.target import TARGET, output_at
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import zero
from fastconv.simd.microkernel import UNROLL
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .output import FIELDS as OUTPUT_FIELDS
from .output import gather_output
from .phases import PHASES
from .tiles import TILING, in_bundles, input_at, locate_tile, spread_tiles

STREAMS_BYTES = 3 * STREAM_BYTES  # that tell a register tile what to fetch
SHORT_SUM = 128  # terms in one go: fewer than without maps, which enlarge errors

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes "
    # filters as components: bytes of a tile of lanes, of one of its components; else how a task
    # maps them, a block of channels of a tile at a time
    "w w_group w_tile w_component splits groups pack packing u_component u_bytes w_blocks w_block "
    # stretches of channels that a sum consists of, of so many each; those summed in one go, the
    # channels that are spread in one go
    "runs run_channels runs_joined chunk "
    # whether components of the input outlive the task
    "keeps "
    # bytes behind the last lane of components of the output that are read with the last fold
    "m_beyond "
    # cache lines of filters that a register tile fetches with a few steps
    "fetched "
    # components of the input spread before, in chunks of channels of so many bytes, or 0
    "shared shared_chunk "
    # bytes of all components of the input, of the output
    "v_bytes m_bytes " + OUTPUT_FIELDS,
    tile=TILE,
    tiling=TILING,
    ahead=AHEAD,
    input=PHASES,
    target=TARGET,
    output=RESULT,
)


class _Room(NamedTuple):
    """A worker's scratch, by address."""

    maps: int  # scratch of the maps
    streams: int  # records of what register tiles fetch
    v: int  # components of the input
    m: int  # components of the output
    u: int  # components of a tile of filters that the task maps
    packed: int  # what they are mapped from


class _Filters(NamedTuple):
    """Components of some tiles of filters: the first, bytes of a component and of a tile."""

    at: int
    component: int
    tile: int
    tiles: int


class _Ahead(NamedTuple):
    """What is fetched beside the filters: what the task writes, and what the next one reads."""

    near: int
    coming: int


@inner
def _room_of(a, worker):
    maps = a.scratch + worker * a.scratch_bytes
    v = maps + a.room_bytes
    m = v + a.v_bytes
    u = m + a.m_bytes
    return _Room(maps, v - STREAMS_BYTES, v, m, u, u + a.u_bytes)


@inner
def _begin_streams(a, vector, row, terms, bundles, calls, streams, ahead):
    """What register tiles fetch in so many calls: filters, results and the next task's input."""
    slots = terms // vector * max(1, vector // UNROLL)
    filters = record_at(streams, STREAM)
    begin(filters, 0, 1, 0, terms * row, 1, bundles, slots * a.fetched)
    begin(
        record_at(streams + STREAM_BYTES, STREAM), ahead.near, a.ahead.y_segments, a.ahead.y_pitch,
        a.ahead.y_bytes, calls, bundles, slots,
    )  # fmt: skip
    begin(
        record_at(streams + 2 * STREAM_BYTES, STREAM), ahead.coming, a.ahead.x_segments,
        a.ahead.x_pitch, a.ahead.x_bytes, calls, bundles, slots,
    )  # fmt: skip


@inner
def _multiply_components(a, vector, row, channels, v, w, bundles, m, more, streams, ahead):
    """Every component of all tiles by some tiles of filters, ``w``.

    Meanwhile the filters that come next are fetched, for their components are often too many for
    the cache, and the next level is too slow to be waited for; and what is ``ahead``.
    """
    components = a.tiling.components
    calls = a.runs // a.runs_joined * ((channels + SHORT_SUM - 1) // SHORT_SUM) * w.tiles
    _begin_streams(
        a, vector, row, a.runs_joined * min(SHORT_SUM, channels), bundles, components * calls,
        streams, ahead,
    )  # fmt: skip
    filters = record_at(streams, STREAM)
    y, x = record_at(streams + STREAM_BYTES, STREAM), record_at(streams + 2 * STREAM_BYTES, STREAM)
    for e in range(components):
        turn(y, e, components, calls)
        turn(x, e, components, calls)
        for tile in range(w.tiles):
            b = w.at + e * w.component + tile * w.tile
            following = w.tile if tile + 1 < w.tiles else w.component - tile * w.tile
            add = more
            for run in range(0, a.runs, a.runs_joined):
                for c in range(0, channels, SHORT_SUM):
                    terms = min(SHORT_SUM, channels - c)
                    together = a.runs_joined * terms * row
                    filters.at, filters.tile = b + following, together // bundles
                    call(
                        a.tile.multiply, bundles,
                        v + e * a.input.v_component + run * a.input.v_phase
                        + c // vector * a.input.v_block,
                        a.input.v_bundle, a.runs_joined, terms // vector, terms % vector, b,
                        streams, add, m + e * a.m_component + tile * row, a.m_row, a.m_bundle,
                    )  # fmt: skip
                    y.at += y.call
                    x.at += x.call
                    b += together
                    add = 1


@inner
def _map_filters(a, row, group, tile, c0, channels, room):
    """Components of a tile of filters, a block of channels at a time."""
    index = (group * a.tiles + tile) * a.w_blocks + c0 // a.w_block
    for c in range(0, channels, a.w_block):
        call(
            a.pack, a.packing, index + c // a.w_block, room.u + c * row, a.u_component, room.packed
        )


@inner
def _locate(a, task):
    """Part of the filters, group and first tile of a task."""
    split, rest = task % a.splits, task // a.splits
    return split, rest % a.groups, rest // a.groups * a.tiling.share


@inner
def _output_of(a, task, width):
    """Where the first result of a task goes."""
    split, group, first = _locate(a, task)
    image, i0, j0, _ = locate_tile(a.tiling, first)
    y, _, _ = output_at(a.target, image, group, i0, j0)
    return y + split * -(-a.tiles // a.splits) * width * a.output.lane_step


@inner
def _input_of(a, task):
    """Where what a task reads begins."""
    _, group, first = _locate(a, task)
    return input_at(a.tiling, a.input, group, first)


@inner
def _clear_beyond(a, count, m):
    """What is read of components of ``count`` tiles behind the last lane of the last fold."""
    for i in range(count):
        beyond = m + in_bundles(a.tiling, i, a.m_bundle, a.m_row)
        for e in range(a.tiling.components):
            zero(beyond + e * a.m_component, a.m_beyond)


@functools.cache
def bilinear_kernel(itemsize: int, joined: bool, interleaved: bool) -> Kernel:
    """Products in register tiles of tiles of pixels × vectors of filters.

    Phases of the input may be ``joined`` in vectors, folds of the output ``interleaved`` in planes.
    """
    vector = lanes(itemsize)
    # Numba leaves out the branches of what is None, but not of what is False.
    joined, interleaved = joined or None, interleaved or None

    @kernel(LAYOUT)
    def bilinear(worker, a):
        tiling, like = a.tiling, element(itemsize)
        width = a.tile.nr
        row = width * itemsize
        room = _room_of(a, worker)
        split_tiles = -(-a.tiles // a.splits)
        n_chunks = -(-a.run_channels // a.chunk)
        held = -1  # the stretch whose components of the input are still there
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, group, first = _locate(a, task)
            ahead = _Ahead(_output_of(a, task, width), _input_of(a, min(task + 1, a.tasks - 1)))
            count = min(tiling.share, tiling.all_tiles - first)
            bundles = -(-count // tiling.bundle)
            tile0 = split * split_tiles
            tile_end = min(a.tiles, tile0 + split_tiles)
            for chunk in range(n_chunks):
                c0 = chunk * a.chunk
                channels = min(a.chunk, a.run_channels - c0)
                v = room.v
                if a.shared != 0:
                    v = a.shared + (group * n_chunks + chunk) * a.shared_chunk
                elif task // a.splits != held:
                    spread_tiles(
                        like, tiling, a.input, itemsize, joined, group, c0 // vector,
                        -(-(c0 + channels) // vector), first, count, v, room.maps,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, INPUT, clock)
                at_once = tile_end - tile0 if a.pack == 0 else 1
                for tile in range(tile0, tile_end, at_once):
                    w = a.w + group * a.w_group + tile * a.w_tile + c0 * row
                    filters = _Filters(w, a.w_component, a.w_tile, at_once)
                    if a.pack != 0:
                        _map_filters(a, row, group, tile, c0, channels, room)
                        filters = _Filters(room.u, a.u_component, 0, 1)
                        clock = lap(a.profile, worker, WEIGHT, clock)
                    _multiply_components(
                        a, vector, row, channels, v, filters, bundles,
                        room.m + (tile - tile0) * row, chunk > 0, room.streams, ahead,
                    )  # fmt: skip
                    clock = lap(a.profile, worker, MULTIPLY, clock)
            held = task // a.splits if a.keeps != 0 else -1
            if a.m_beyond > 0:
                _clear_beyond(a, count, room.m + (tile_end - tile0) * row)
            gather_output(
                a, itemsize, vector, interleaved, group, first, count, tile0 * width,
                min(a.all_lanes, tile_end * width), room.m, room.maps,
            )  # fmt: skip
            clock = lap(a.profile, worker, OUTPUT, clock)

    return bilinear
