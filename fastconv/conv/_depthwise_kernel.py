"""The kernels of ``depthwise``: sums of taps for results, correlations of planes for gradients."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, as_pointer, inner, kernel, record
from fastconv.gemm import windows
from fastconv.gemm.windows import pack_block
from fastconv.simd.copying import accumulate, copy, get_word, move, next_task, zero
from fastconv.simd.strided import put_even
from fastconv.simd.taps import GROUP_WORDS, PATCH, correlate_taps, put_splat, put_sum, sum_strips
from fastconv.simd.vector import element, lanes

WINDOW = record(windows.FIELDS)
WINDOW_BYTES = WINDOW.itemsize

# Geometry of the planes and the loops over them, shared by both kernels.
_PLANES = (
    "x_window splat N I J task_i tasks_i units channels filters x_set "
    "row_advance row_phases column_phases plane_rows plane_columns planes_bytes "
    "taps "
)


@inner
def _pack_planes(like, a, x, item, target, image, unit, i0):
    """All planes of a unit for the output rows from ``i0`` on."""
    size = a.plane_rows * a.plane_columns * x.block * item
    origin = x.x
    for channel in range(a.channels):
        x.x = origin + channel * a.x_set
        for row in range(a.row_phases):
            for column in range(a.column_phases):
                pack_block(
                    like, x, item, target, image, 0, unit,
                    x.row_first + i0 * a.row_advance + row, a.plane_rows,
                    x.column_first + column, a.plane_columns,
                )  # fmt: skip
                target += size
    x.x = origin


SUM_LAYOUT = record(
    "counter tasks scratch scratch_bytes floor " + _PLANES + "w w_bytes bias unit_lanes all_lanes "
    "y yn yu yk yh yw y_set in_place straight splits parts n_parts "
    # tables: groups of the blocks, records of the groups, sizes of their strips
    "block_groups groups sizes"
)
# One of the disjoint sets of outputs that a kernel sums; ``sums`` is where, if not in y itself.
PART = record("I J row_first row_step column_first column_step sums line")


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
    else:
        for j in range(count):
            for lane in range(min(vector, lanes_left)):
                move(like, target + j * step + lane * yk, source + (j * vector + lane) * item)


@functools.cache
def depthwise_kernel(itemsize: int, mr: int, narrow: int, splat: int) -> Kernel:
    """Sums of taps by strips of ``mr``, ``narrow`` or 1 vectors; a task is some rows of units."""
    vector = lanes(itemsize)

    @kernel(SUM_LAYOUT)
    def depthwise(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        window = a.scratch + worker * a.scratch_bytes
        # A copy of the window's record: a worker moves it from channel to channel.
        copy(window, a.x_window, WINDOW_BYTES)
        x = numba.carray(as_pointer(window), 1, WINDOW)[0]
        parts = numba.carray(as_pointer(a.parts), 8, PART)
        start = (window + WINDOW_BYTES + 63) // 64 * 64
        planes = start + vector * itemsize
        sums = planes + a.planes_bytes
        unit_bytes = x.block * itemsize
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            split = task % a.splits
            block = task // a.splits % a.tasks_i
            n = task // a.splits // a.tasks_i
            i0 = block * a.task_i
            first, last = split * a.units // a.splits, (split + 1) * a.units // a.splits
            rows = x.x + n * x.xn + i0 * a.row_advance * x.xh
            units = last - first if a.in_place and a.straight else 1  # at once
            for unit in range(first, last, units):
                source = planes
                if a.in_place:
                    source = rows + unit * unit_bytes
                else:
                    _pack_planes(like, a, x, itemsize, planes, n, unit, i0)
                for f in range(a.filters):
                    index = unit * a.filters + f
                    init = a.bias + index * unit_bytes
                    if splat:
                        put_splat(like, start, init)
                        init = start
                    w = a.w + index * a.w_bytes
                    y = a.y + n * a.yn + unit * a.yu + f * a.y_set
                    target = y + i0 * parts[0].row_step * a.yh if a.straight else sums
                    groups = a.block_groups + block * 8
                    for group in range(get_word(groups), get_word(groups + 8)):
                        record = a.groups + group * (GROUP_WORDS * 8)
                        size = get_word(a.sizes + group * 8)
                        if size == mr:
                            sum_strips(
                                like, mr, splat, record, source, w, init, a.floor, target,
                                units, a.w_bytes, a.yu,
                            )  # fmt: skip
                        elif size == narrow:
                            sum_strips(
                                like, narrow, splat, record, source, w, init, a.floor, target,
                                units, a.w_bytes, a.yu,
                            )  # fmt: skip
                        else:
                            sum_strips(
                                like, 1, splat, record, source, w, init, a.floor, target,
                                units, a.w_bytes, a.yu,
                            )  # fmt: skip
                    if not a.straight:
                        left = a.all_lanes - unit * a.unit_lanes
                        for p in range(a.n_parts):
                            part = parts[p]
                            for i in range(min(a.task_i, part.I - i0)):
                                to = y + (part.row_first + (i0 + i) * part.row_step) * a.yh
                                to += part.column_first * a.yw
                                step = part.column_step * a.yw
                                at = sums + part.sums + i * part.line
                                _unpack_row(
                                    like, itemsize, vector, to, step, at, part.J, splat, left, a.yk
                                )

    return depthwise


WEIGHT_LAYOUT = record(
    "scratch scratch_bytes "
    + _PLANES
    + "dy_window dy_set in_place dy_in_place copies parts sums copy_bytes unit_bytes "
    # tables: patches of the blocks, records of the patches
    "block_patches patches"
)
PATCH_BYTES = 8 * len(PATCH)


@functools.cache
def depthwise_weight_kernel(itemsize: int, mr: int) -> Kernel:
    """Correlate x with dy, ``mr`` taps at a time.

    Workers are copies × parts: each part has its own units, each copy its own part of the tasks
    of a unit and sums of its own.
    """

    @kernel(WEIGHT_LAYOUT)
    def depthwise_weight(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        records = a.scratch + worker * a.scratch_bytes
        copy(records, a.x_window, WINDOW_BYTES)
        copy(records + WINDOW_BYTES, a.dy_window, WINDOW_BYTES)
        x = numba.carray(as_pointer(records), 1, WINDOW)[0]
        y = numba.carray(as_pointer(records + WINDOW_BYTES), 1, WINDOW)[0]
        planes = (records + 2 * WINDOW_BYTES + 63) // 64 * 64
        gradient = planes + a.planes_bytes
        part, share = worker // a.copies, worker % a.copies
        tasks = a.N * a.tasks_i
        dy = y.x
        first = part * a.units // a.parts
        last = (part + 1) * a.units // a.parts
        sums = a.sums + share * a.copy_bytes
        size = a.filters * a.unit_bytes
        zero(sums + first * size, (last - first) * size)
        for task in range(share * tasks // a.copies, (share + 1) * tasks // a.copies):
            block, n = task % a.tasks_i, task // a.tasks_i
            i0 = block * a.task_i
            rows = min(a.task_i, a.I - i0)
            patches = a.block_patches + block * 8
            for unit in range(first, last):
                source = planes
                if a.in_place:
                    source = x.x + n * x.xn + unit * x.block * x.xc + i0 * a.row_advance * x.xh
                else:
                    _pack_planes(like, a, x, itemsize, planes, n, unit, i0)
                for f in range(a.filters):
                    y.x = dy + f * a.dy_set
                    at = gradient
                    if a.dy_in_place:
                        at = y.x + n * y.xn + unit * y.block * y.xc + i0 * y.xh
                    else:
                        pack_block(like, y, itemsize, gradient, n, 0, unit, i0, rows, 0, a.J)
                    target = sums + (unit * a.filters + f) * a.unit_bytes
                    for patch in range(get_word(patches), get_word(patches + 8)):
                        correlate_taps(
                            like, mr, a.patches + patch * PATCH_BYTES, source, at, target
                        )

    return depthwise_weight


ADD_LAYOUT = record(
    "counter tasks splat sums copy_bytes copies unit_bytes dw du dk filters taps "
    "unit_lanes all_lanes"
)


@functools.cache
def depthwise_add_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write them as dw; a task is a unit × filter."""
    vector = lanes(itemsize)

    @kernel(ADD_LAYOUT)
    def depthwise_add(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.unit_bytes
            for other in range(1, a.copies):
                accumulate(like, sums, sums + other * a.copy_bytes, a.unit_bytes)
            unit, f = task // a.filters, task % a.filters
            target = a.dw + unit * a.du + f * a.taps * itemsize
            for t in range(a.taps):
                source = sums + t * vector * itemsize
                if a.splat:
                    put_sum(like, target + t * itemsize, source)
                else:
                    for lane in range(min(vector, a.all_lanes - unit * a.unit_lanes)):
                        move(like, target + lane * a.dk + t * itemsize, source + lane * itemsize)

    return depthwise_add
