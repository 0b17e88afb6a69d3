"""The kernels of ``depthwise``'s weight gradient: correlations of taps, and their sum."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.windows import WINDOW, element_at, pack_block
from fastconv.plans.sum_tasks import SUM_TASKS, add_copies, blocks_of, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import get_word, line_from, move, zero
from fastconv.simd.dealing import deal
from fastconv.simd.taps import PATCH, correlate_taps, put_sum
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element, lanes

from .plane_packing import PLANE_FIELDS, pack_planes

WEIGHT_LAYOUT = record(
    "profile scratch scratch_bytes "
    + PLANE_FIELDS
    # rows and columns of dy; bytes of a block of it; whether x and dy are read where they are, and
    # of how many units in a row
    + "I J dy_window gradient_bytes in_place dy_in_place at_once "
    # the sums of a copy, of a unit for a filter
    + "sums copy_bytes unit_bytes "
    # where the last unit of a pixel begins, or at most does
    "last "
    # tables: patches of the blocks, records of the patches
    "block_patches patches",
    shares=SUM_TASKS,
)
PATCH_BYTES = 8 * len(PATCH)


@functools.cache
def depthwise_weight_kernel(
    itemsize: int, runs: int, taps: int, outputs: int, advance: int, spread: int, together: int,
    fetches: int, channels: int, filters: int,
) -> Kernel:  # fmt: skip
    """Correlate x with dy, block by block: a few rows of an image.

    The numbers from ``runs`` to ``together``, which is of filters, are those of a
    :class:`TapTile`.  ``channels`` of a group may be dealt to its ``filters``.
    """

    @kernel(WEIGHT_LAYOUT)
    def depthwise_weight(worker, a):
        like = element(itemsize)
        x = record_at(a.x_window, WINDOW)
        y = record_at(a.dy_window, WINDOW)
        planes = line_from(a.scratch + worker * a.scratch_bytes)
        gradient = planes + a.planes_bytes
        size = a.filters * a.unit_bytes
        x_unit, y_unit = a.in_place * x.block * x.xc, a.dy_in_place * y.block * y.xc
        clock = started(a.profile)
        while True:
            task = next_task(a.shares.counter, worker, a.shares.tasks)
            if task >= a.shares.tasks:
                break
            first, last = units_of(a.shares, task)
            first_block, last_block = blocks_of(a.shares, task)
            sums = a.sums + task % a.shares.copies * a.copy_bytes
            zero(sums + first * size, (last - first) * size)
            for block in range(first_block, last_block):
                rows_of, n = block % a.tasks_i, block // a.tasks_i
                i0 = rows_of * a.task_i
                rows = min(a.task_i, a.I - i0)
                patches = a.block_patches + rows_of * 16
                for unit in range(first, last, a.at_once):
                    units = min(a.at_once, last - unit)
                    source = planes
                    if a.in_place:
                        source = x.x + n * x.xn + i0 * a.row_advance * x.xh
                    else:
                        pack_planes(like, a, x, itemsize, planes, n, unit, i0)
                        if a.dealt_bytes:
                            deal(like, channels, filters, planes, a.dealt_bytes)
                        clock = lap(a.profile, worker, INPUT, clock)
                    for f in range(0, a.filters, together):
                        at = gradient
                        if a.dy_in_place:
                            at = element_at(y, n, f, 0, i0, 0)
                        else:
                            for other in range(together):
                                pack_block(
                                    like, y, itemsize, gradient + other * a.gradient_bytes, n,
                                    f + other, unit, i0, rows, 0, a.J,
                                )  # fmt: skip
                            clock = lap(a.profile, worker, WEIGHT, clock)
                        for patch in range(get_word(patches), get_word(patches + 8)):
                            for u in range(unit, unit + units):
                                correlate_taps(
                                    like, runs, taps, outputs, advance, spread, together, fetches,
                                    a.patches + patch * PATCH_BYTES,
                                    source + min(u * x_unit, a.last),
                                    at + min(u * y_unit, a.last),
                                    sums + u * size + f * a.unit_bytes,
                                )  # fmt: skip
                        clock = lap(a.profile, worker, MULTIPLY, clock)

    return depthwise_weight


ADD_LAYOUT = record(
    # whether all lanes of a vector are one sum; copies of the sums, and those of a task
    "counter profile tasks splat sums copy_bytes copies unit_bytes "
    # dw, bytes from unit to unit and from filter to filter; filters of a unit, their taps
    "dw du dk filters taps "
    # lanes of a unit, of all units; where the last unit begins
    "unit_lanes all_lanes last"
)


@functools.cache
def depthwise_add_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write them as dw; a task is a unit × filter."""
    vector = lanes(itemsize)

    @kernel(ADD_LAYOUT)
    def depthwise_add(worker, a):
        like = element(itemsize)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.unit_bytes
            add_copies(like, sums, a.copies, a.copy_bytes, a.unit_bytes)
            unit, f = task // a.filters, task % a.filters
            target = a.dw + unit * a.du + f * a.taps * itemsize
            first = unit * a.unit_lanes
            again = first - min(first, a.last)  # lanes of the unit before
            for t in range(a.taps):
                source = sums + t * vector * itemsize
                if a.splat:
                    put_sum(like, target + t * itemsize, source)
                else:
                    for lane in range(min(vector, a.all_lanes - first)):
                        at = source + (again + lane) * itemsize
                        move(like, target + lane * a.dk + t * itemsize, at)
        lap(a.profile, worker, OUTPUT, clock)

    return depthwise_add
