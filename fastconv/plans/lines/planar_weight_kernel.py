"""The kernels of a weight gradient on planes: dot products of rows of dy with shifted rows of x."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT, WEIGHT
from fastconv.gemm.windows import WINDOW
from fastconv.plans.depthwise.plane_packing import PLANE_FIELDS, pack_planes
from fastconv.plans.sum_tasks import SUM_TASKS, add_copies, blocks_of, units_of
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy, line_from, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element

from .apart import APART, WINDOW_BYTES, make_planes, window_at

LAYOUT = record(
    "profile scratch scratch_bytes "
    + PLANE_FIELDS
    + APART
    # the function that separates the planes of dy (0: they are apart), its images and rows, and
    # where its planes are in scratch
    + "separate_dy dy_n dy_h dy_pixel gradient "
    # dy and its strides, or those of its planes; its images, rows and columns; images of a block;
    # whether the rows of one follow one another, and the bytes of a row in the planes
    + "dy yn yg yk yh N I J task_n flat row_bytes "
    # taps, in tiles; rows of dy that a tile fetches, and calls that fetch all of a tile
    "taps tap_tiles fetched fetches "
    # the sums of a copy, of a group, of a tile
    "sums copy_bytes unit_bytes tile_bytes",
    shares=SUM_TASKS,
    tile=TILE,
)


@inner
def _gradient(a, block, group):
    """Where the first row of dy of a block is."""
    i0, n0 = block % a.tasks_i * a.task_i, block // a.tasks_i * a.task_n
    return a.dy + n0 * a.yn + group * a.yg + i0 * a.yh


@inner
def _separate_gradient(a, item, target, n0, images, i0, rows):
    """Make planes of the rows of dy of a block."""
    for n in range(images):
        source = a.dy + (n0 + n) * a.dy_n + i0 * a.dy_h
        for i in range(rows):
            to = target + n * a.yn + i * a.J * item
            call(a.separate_dy, to, a.yk, source + i * a.dy_h, a.dy_pixel, a.J)


@functools.cache
def planar_weight_kernel(itemsize: int) -> Kernel:
    """Sum the products of all filters of a group with all taps, block by block.

    A block is some rows of an image, or some images.  The last filters of a group are summed
    twice if they do not fill a tile.
    """

    @kernel(LAYOUT)
    def planar_weight(worker, a):
        like = element(itemsize)
        room = a.scratch + worker * a.scratch_bytes
        x = record_at(window_at(a, room), WINDOW)
        planes = line_from(room + WINDOW_BYTES)
        mr, tap_tile = a.tile.mr, a.tile.nr * 8  # its columns are taps
        gradient = room + a.gradient
        clock = started(a.profile)
        while True:
            task = next_task(a.shares.counter, worker, a.shares.tasks)
            if task >= a.shares.tasks:
                break
            first, last = units_of(a.shares, task)
            first_block, last_block = blocks_of(a.shares, task)
            sums = a.sums + task % a.shares.copies * a.copy_bytes
            zero(sums + first * a.unit_bytes, (last - first) * a.unit_bytes)
            for block in range(first_block, last_block):
                i0, n0 = block % a.tasks_i * a.task_i, block // a.tasks_i * a.task_n
                rows, images = min(a.task_i, a.I - i0), min(a.task_n, a.N - n0)
                stretches, length, dy_row, x_row = rows, a.J, a.yh, a.row_bytes
                if a.flat:
                    stretches, length, dy_row, x_row = images, rows * a.J, a.yn, a.planes_bytes
                if a.separate_dy != 0:
                    _separate_gradient(a, itemsize, gradient, n0, images, i0, rows)
                    clock = lap(a.profile, worker, WEIGHT, clock)
                for group in range(first, last):
                    for n in range(images):
                        # Into planes of all groups, once; if these are several, of one image.
                        if a.separate != 0 and group == first:
                            make_planes(a, x, room, n0 + n, i0)
                        pack_planes(
                            like, a, x, itemsize, planes + n * a.planes_bytes, n0 + n, group, i0
                        )
                    clock = lap(a.profile, worker, INPUT, clock)
                    if a.separate_dy != 0:
                        row = following = gradient + group * a.yg
                    else:
                        row = _gradient(a, block, group)
                        following = _gradient(a, min(block + 1, last_block - 1), first)
                    if group + 1 < last:
                        following = row + a.yg
                    target = sums + group * a.unit_bytes
                    for k in range(mr, a.filters + mr, mr):
                        # What the next tile reads of dy is fetched a few rows with every call.
                        coming = following
                        if k < a.filters:
                            coming = row + min(mr, a.filters - k) * a.yk
                        for t in range(a.tap_tiles):
                            call(
                                a.tile.multiply, row, a.yk, dy_row, planes, x_row,
                                a.taps + t * tap_tile, stretches, length,
                                coming + t % a.fetches * a.fetched * a.yk, target,
                            )  # fmt: skip
                            target += a.tile_bytes
                        row = coming
                    clock = lap(a.profile, worker, MULTIPLY, clock)

    return planar_weight


ADD_LAYOUT = record(
    # copies of the sums, and those of a group, of a tile of filters × taps; tiles of all taps
    "counter profile tasks sums copy_bytes copies unit_bytes tile_bytes mr nt tap_tiles "
    # dw, bytes from filter to filter; filters of a group, their taps
    "dw dk filters n_taps"
)


@functools.cache
def planar_add_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write them as dw; a task is a group."""

    @kernel(ADD_LAYOUT)
    def planar_add(worker, a):
        like = element(itemsize)
        clock = started(a.profile)
        while True:
            group = next_task(a.counter, worker, a.tasks)
            if group >= a.tasks:
                break
            sums = a.sums + group * a.unit_bytes
            add_copies(like, sums, a.copies, a.copy_bytes, a.unit_bytes)
            for k in range(a.filters):
                # The last tile begins a tile before the end.
                tile = k // a.mr
                row = k - min(tile * a.mr, a.filters - a.mr)
                source = sums + tile * a.tap_tiles * a.tile_bytes + row * a.nt * itemsize
                target = a.dw + (group * a.filters + k) * a.dk
                for t in range(0, a.n_taps, a.nt):
                    copy(target + t * itemsize, source, min(a.nt, a.n_taps - t) * itemsize)
                    source += a.tile_bytes
        lap(a.profile, worker, OUTPUT, clock)

    return planar_add
