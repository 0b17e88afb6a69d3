"""The kernel of weight gradients along lines: dU = Σ_tiles (I x)ᵀ (Oᵀ dy), by component.

Of each component's sums rows are the terms of a window and lanes are filters:
``[unit][component][row][term][lane]``, where a unit is a vector of filters of a group.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, WEIGHT
from fastconv.gemm.windows import WINDOW, element_at, pack_block
from fastconv.plans.ahead import fetch_part
from fastconv.plans.lines.line_kernel import behind_window
from fastconv.plans.sum_tasks import SUM_TASKS, blocks_of, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import fetch, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

from .line_window import LINE_WINDOW, spread_lines

LAYOUT = record(
    "profile scratch scratch_bytes sums copy_bytes dy_window I J tiles_k tasks_i "
    # lines that are summed together, and room for a vector of filters of their dy
    "lines room_bytes "
    # the function that sums, and of how many terms; the rows of a window; sums
    "sum sum_terms u_component u_unit",
    shares=SUM_TASKS,
    window=LINE_WINDOW,
)


@inner
def _from_planes(like, dy, item, vector, room, planes, source, n_lines, columns):
    """The pixels of some lines of so many planes; those of the next lines are fetched meanwhile."""
    pixel, line = vector * item, columns * item
    after = n_lines * dy.xh
    if planes < vector:
        zero(room, n_lines * columns * pixel)
    if dy.xh == line:  # one long line
        n_lines, columns = 1, n_lines * columns
    for i in range(n_lines):
        for j in range(0, columns, vector):
            at = source + i * dy.xh + j * item
            transpose_tile(
                like, room + (i * columns + j) * pixel, pixel, at, dy.xc, planes,
                min(vector, columns - j),
            )  # fmt: skip
            fetch(at + after, planes, dy.xc)


@inner
def _lines_of(like, a, dy, item, vector, image, group, tile, i, n_lines, room):
    """A vector of filters of some lines of dy: where, bytes from line to line, from pixel to pixel.

    They are copied to ``room`` if they are planes, or less than a vector.
    """
    pixel, first = vector * item, tile * vector
    filters = min(vector, dy.channels - first)
    source = element_at(dy, image, group, first, i, 0)
    if dy.xc == item and filters == vector:
        return source, dy.xh, dy.xw
    if dy.xw == item:
        _from_planes(like, dy, item, vector, room, filters, source, n_lines, a.J)
    else:
        pack_block(like, dy, item, room, image, group, tile, i, n_lines, 0, a.J)
    return room, a.J * pixel, pixel


@inner
def _sum(a, item, pixel, n_lines, x, dy, line, pitch, fetches, nothing, sums):
    """Add the products of some lines, of which ``dy`` is a vector of filters."""
    window = a.window
    tiles = window.pitch * item
    of_term = window.components * window.component
    for t in range(0, window.terms, a.sum_terms):
        call(
            a.sum, n_lines, window.across, x + t * of_term, window.row_advance * tiles,
            window.row_spread * tiles, of_term, window.component, dy, line, pitch, a.J, nothing,
            fetches and t == 0, sums + t * pixel, a.u_component, window.terms * pixel, pixel,
        )  # fmt: skip


@functools.cache
def line_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of components, whose maps' results stay in registers."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def line_weight(worker, a):
        like, window, dy = element(itemsize), a.window, record_at(a.dy_window, WINDOW)
        pixel = vector * itemsize
        step = window.row_advance * window.pitch * itemsize
        nothing = a.scratch + worker * a.scratch_bytes
        room = nothing + pixel
        zero(nothing, pixel)
        clock = started(a.profile)
        while True:
            task = next_task(a.shares.counter, worker, a.shares.tasks)
            if task >= a.shares.tasks:
                break
            first_unit, last_unit = units_of(a.shares, task)
            first_block, last_block = blocks_of(a.shares, task)
            sums = a.sums + task % a.shares.copies * a.copy_bytes
            zero(sums + first_unit * a.u_unit, (last_unit - first_unit) * a.u_unit)
            for block in range(first_block, last_block):
                image, i0 = block // a.tasks_i, block % a.tasks_i * window.task_i
                rows = min(window.task_i, a.I - i0)
                behind, nbytes = behind_window(window, image, i0)
                unit = first_unit
                while unit < last_unit:
                    group, k0 = unit // a.tiles_k, unit % a.tiles_k
                    k_end = min(a.tiles_k, k0 + last_unit - unit)
                    x = spread_lines(
                        like, window, itemsize, vector, image, group, i0, room + a.room_bytes
                    )
                    clock = lap(a.profile, worker, INPUT, clock)
                    for i in range(0, rows, a.lines):
                        n_lines = min(a.lines, rows - i)
                        fetch_part(behind, nbytes, i // a.lines, -(-rows // a.lines))
                        for k in range(k0, k_end):
                            of_dy, line, pitch = _lines_of(
                                like, a, dy, itemsize, vector, image, group, k, i0 + i, n_lines,
                                room,
                            )  # fmt: skip
                            clock = lap(a.profile, worker, WEIGHT, clock)
                            _sum(
                                a, itemsize, pixel, n_lines, x + i * step, of_dy, line, pitch,
                                of_dy != room, nothing, sums + (group * a.tiles_k + k) * a.u_unit,
                            )  # fmt: skip
                            clock = lap(a.profile, worker, MULTIPLY, clock)
                    unit += k_end - k0

    return line_weight
