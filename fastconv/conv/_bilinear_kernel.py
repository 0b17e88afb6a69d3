"""The kernel of a bilinear correlation: spread the input, multiply component by component, gather.

A task is a stretch of tiles of outputs; its components stay in the cache between the three steps.
"""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm import results
from fastconv.gemm.results import ROWS, store_rows
from fastconv.simd.copying import next_task, zero
from fastconv.simd.microkernel import tile_pitched
from fastconv.simd.phases import lap, started
from fastconv.simd.vector import element, lanes

from . import _bilinear_tiles
from ._bilinear_tiles import WINDOW_FIELDS, locate_tile, outputs_left, spread_tiles

_TERMS = 128  # of a sum in one go: sums of equal terms stray the further the longer they are

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes room_bytes relu flag input_map output_map "
    # the output: strides in bytes; output row i stands at row y_row_first + i·y_row_step
    "y yn yg yh yw y_row_first y_row_step y_column_first y_column_step y_rows y_columns I J "
    # filters as components: bytes of a tile of lanes, of one of its components; tiles multiplied
    # between two gatherings
    "w bias w_group w_tile w_component tiles tile_lanes all_lanes splits groups joined depth "
    # bytes of the components of the input (v) and of the output (m): of a tile, of one component
    "v_row v_component v_bytes m_row m_component "
    + " ".join((_bilinear_tiles.FIELDS, WINDOW_FIELDS, results.FIELDS))
)  # fmt: skip


@inner
def _gather_output(like, a, group, first, count, lane0, lane_end, m, room):
    """The outputs of ``count`` tiles in lanes ``lane0`` … ``lane_end``, from their components."""
    item, vector = a.item_bytes, a.vector
    pixel = vector * item
    temp, buffer = room, room + a.temp_bytes
    bias = a.bias + group * a.tiles * a.tile_lanes * item
    row_step = a.lattice_rows * a.y_row_step * a.yh
    step = a.lattice_columns * a.y_column_step * a.yw
    t = 0
    while t < count:
        image, i0, j0, column = locate_tile(a, first + t)
        length = min(count - t, a.grid_columns - column, a.segment)
        across = length * a.m_columns
        y_row = a.y_row_first + i0 * a.y_row_step
        y_column = a.y_column_first + j0 * a.y_column_step
        y = a.y + image * a.yn + group * a.yg + y_row * a.yh + y_column * a.yw
        down = min(a.m_rows, outputs_left(i0, a.I, a.lattice_rows))
        left = min(across, outputs_left(j0, a.J, a.lattice_columns))
        source = m + t * a.m_row
        # Whole tiles of whole vectors go straight to memory.
        straight = 0
        if a.store == ROWS and down == a.m_rows:
            straight = left // a.m_columns
        for k in range(straight):
            call(
                a.output_map, (lane_end - lane0) // vector, source + k * a.m_row, pixel,
                a.m_component, y + lane0 * item + k * a.m_columns * step, pixel, row_step, step,
                temp, bias + lane0 * item, pixel, a.relu, a.flag,
            )  # fmt: skip
        for lane in range(lane0, lane_end, vector):
            n_lanes = min(vector, lane_end - lane)
            whole = straight if n_lanes == vector else 0
            done = whole * a.m_columns
            if done < left:
                call(
                    a.output_map, length - whole, source + whole * a.m_row + (lane - lane0) * item,
                    a.m_row, a.m_component, buffer + done * pixel, a.m_columns * pixel,
                    across * pixel, pixel, temp, bias + lane * item, 0, a.relu, a.flag,
                )  # fmt: skip
                store_rows(
                    like, a, item, vector, buffer + done * pixel, across * pixel, y + done * step,
                    row_step, step, down, left - done, a.lattice_rows * a.y_row_step,
                    a.lattice_columns * a.y_column_step, a.y_rows - y_row,
                    a.y_columns - y_column - done * a.lattice_columns * a.y_column_step, lane,
                    n_lanes,
                )  # fmt: skip
        t += length


@inner
def _multiply(like, a, mr, nv, v, w, following, count, nothing, m):
    """One component of ``count`` tiles by one tile of filters, whose successor is ``following``.

    That is fetched meanwhile, a share with every register tile: filters' components are often too
    many for the cache, and the next level is too slow to be waited for.
    """
    row = nv * a.vector * a.item_bytes
    step = row // -(-count // mr)
    for i in range(0, count, mr):
        target = m + i * a.m_row
        init, pitch = nothing, 0
        for c in range(0, a.depth, _TERMS):
            terms, at = min(_TERMS, a.depth - c), w + c * row
            tile_pitched(
                like, mr, nv, v + i * a.v_row + c * a.item_bytes, a.v_row, terms, at,
                at + following + i // mr * terms * step, step, init, pitch, 0, target,
                a.m_row,
            )  # fmt: skip
            init, pitch = target, a.m_row


@functools.cache
def bilinear_kernel(itemsize: int, mr: int, nv: int) -> Kernel:
    """Products in register tiles of ``mr`` tiles of pixels × ``nv`` vectors of filters."""
    width = nv * lanes(itemsize)

    @kernel(LAYOUT)
    def bilinear(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        row = width * itemsize
        nothing = a.scratch + worker * a.scratch_bytes
        room = nothing + row
        v = room + a.room_bytes
        m = v + a.v_bytes
        zero(nothing, row)
        split_tiles = -(-a.tiles // a.splits)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            split, rest = task % a.splits, task // a.splits
            group, first = rest % a.groups, rest // a.groups * a.share
            count = min(a.share, a.all_tiles - first)
            tile0 = split * split_tiles
            tile_end = min(a.tiles, tile0 + split_tiles)
            spread_tiles(
                like, a, a, a.input_map, a.tile_rows, a.tile_columns, group, 0, a.n_blocks, first,
                count, v, a.v_row, a.v_component, room,
            )  # fmt: skip
            clock = lap(a.profile, worker, INPUT, clock)
            for tile_group in range(tile0, tile_end, a.joined):
                group_end = min(tile_end, tile_group + a.joined)
                for e in range(a.components):
                    for tile in range(tile_group, group_end):
                        w = a.w + group * a.w_group + e * a.w_component + tile * a.w_tile
                        following = a.w_tile
                        if tile + 1 == group_end:
                            following = a.w_component - (tile - tile_group) * a.w_tile
                        _multiply(
                            like, a, mr, nv, v + e * a.v_component, w, following, count, nothing,
                            m + e * a.m_component + (tile - tile_group) * row,
                        )  # fmt: skip
                clock = lap(a.profile, worker, MULTIPLY, clock)
                _gather_output(
                    like, a, group, first, count, tile_group * width,
                    min(a.all_lanes, group_end * width), m, room,
                )  # fmt: skip
                clock = lap(a.profile, worker, OUTPUT, clock)

    return bilinear
