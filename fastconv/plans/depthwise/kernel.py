"""The kernel of ``depthwise`` for results and input gradients: sums of taps."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm.windows import WINDOW
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy, get_word, line_from, move
from fastconv.simd.dealing import deal
from fastconv.simd.strided import put_even
from fastconv.simd.taps import GROUP_WORDS, put_splat, sum_strips
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

from .plane_packing import PLANE_FIELDS, pack_planes

SUM_LAYOUT = record(
    "counter profile tasks scratch scratch_bytes floor "
    + PLANE_FIELDS
    # units: how many of them begin where others end, and the first lane of the last one
    + "units in_order last w w_bytes bias unit_lanes all_lanes at_once "
    "y yn yu yk yh yw y_set in_place straight splits parts n_parts "
    # tables: groups of the blocks, records of the groups, sizes of their strips
    "block_groups groups sizes"
)
# One of the disjoint sets of outputs that a kernel sums, some ``rows`` for each row of a task;
# ``sums`` is where, if not in y itself.
PART = record("I J rows row_first row_step column_first column_step sums line")
PART_BYTES = PART.itemsize


@inner
def _unpack_row(like, item, vector, target, step, source, count, splat, lanes_left, yk):
    """Write one output row of a unit that was summed in scratch."""
    if splat and step == item:
        copy(target, source, count * item)
    elif splat and step == 2 * item and count >= vector:
        put_even(like, target, source, count)
    elif splat:
        for j in range(count):
            move(like, target + j * step, source + j * item)
    elif step == item:
        for j in range(0, count, vector):
            transpose_tile(
                like, target + j * item, yk, source + j * vector * item, vector * item,
                min(vector, count - j), min(vector, lanes_left),
            )  # fmt: skip
    else:
        for j in range(count):
            for lane in range(min(vector, lanes_left)):
                move(like, target + j * step + lane * yk, source + (j * vector + lane) * item)


@inner
def _unpack(like, a, item, vector, y, sums, i0, splat, lanes_left):
    """Write the output rows of a unit from ``i0`` on, which were summed in scratch."""
    for p in range(a.n_parts):
        part = record_at(a.parts + p * PART_BYTES, PART)
        step, line = part.column_step * a.yw, part.row_step * a.yh
        row = i0 * part.rows
        lines, count = min(a.task_i * part.rows, part.I - row), part.J
        if line == count * step and part.line == count * a.unit_lanes * item:
            lines, count = 1, lines * count  # they follow one another
        for i in range(lines):
            to = y + (part.row_first + (row + i) * part.row_step) * a.yh + part.column_first * a.yw
            at = sums + part.sums + i * part.line
            _unpack_row(like, item, vector, to, step, at, count, splat, lanes_left, a.yk)


@functools.cache
def depthwise_kernel(
    itemsize: int, mr: int, narrow: int, splat: int, fetches: int, channels: int, filters: int
) -> Kernel:
    """Sums of taps by strips of ``mr``, ``narrow`` or 1 vectors; a task is some rows of units.

    Strips may fetch what the next one needs; ``channels`` of a group may be dealt to its
    ``filters``.
    """
    vector = lanes(itemsize)

    @kernel(SUM_LAYOUT)
    def depthwise(worker, a):
        like = element(itemsize)
        x = record_at(a.x_window, WINDOW)
        start = line_from(a.scratch + worker * a.scratch_bytes)
        planes = start + vector * itemsize
        sums = planes + a.planes_bytes
        unit_bytes = a.unit_lanes * itemsize
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split = task % a.splits
            block = task // a.splits % a.tasks_i
            n = task // a.splits // a.tasks_i
            i0 = block * a.task_i
            first, last = split * a.units // a.splits, (split + 1) * a.units // a.splits
            rows = x.x + n * x.xn + i0 * a.row_advance * x.xh
            unit = first
            while unit < last:
                units = min(a.at_once, max(1, min(last, a.in_order) - unit))
                lane = min(unit * a.unit_lanes, a.last)
                source = planes
                if a.in_place:
                    source = rows + lane * itemsize
                else:
                    pack_planes(like, a, x, itemsize, planes, n, unit, i0)
                    if a.dealt_bytes:
                        deal(like, channels, filters, planes, a.dealt_bytes)
                    clock = lap(a.profile, worker, INPUT, clock)
                for f in range(a.filters):
                    index = unit * a.filters + f
                    init = a.bias + index * unit_bytes
                    if splat:
                        put_splat(like, start, init)
                        init = start
                    w = a.w + index * a.w_bytes
                    y = a.y + n * a.yn + lane * a.yk + f * a.y_set
                    target = sums
                    if a.straight:
                        part = record_at(a.parts, PART)
                        target = y + i0 * part.rows * part.row_step * a.yh
                    groups = a.block_groups + block * 16
                    for group in range(get_word(groups), get_word(groups + 8)):
                        strips = a.groups + group * (GROUP_WORDS * 8)
                        size = get_word(a.sizes + group * 8)
                        if size == mr:
                            sum_strips(
                                like, mr, splat, fetches, strips, source, w, init, a.floor,
                                target, units, a.w_bytes, a.yu,
                            )  # fmt: skip
                        elif size == narrow:
                            sum_strips(
                                like, narrow, splat, fetches, strips, source, w, init, a.floor,
                                target, units, a.w_bytes, a.yu,
                            )  # fmt: skip
                        else:
                            sum_strips(
                                like, 1, splat, fetches, strips, source, w, init, a.floor,
                                target, units, a.w_bytes, a.yu,
                            )  # fmt: skip
                    clock = lap(a.profile, worker, MULTIPLY, clock)
                    if not a.straight:
                        _unpack(like, a, itemsize, vector, y, sums, i0, splat, a.all_lanes - lane)
                        clock = lap(a.profile, worker, OUTPUT, clock)
                unit += units

    return depthwise
