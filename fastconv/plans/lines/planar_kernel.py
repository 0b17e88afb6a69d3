"""The kernel of ``direct`` for planes of few channels: tiles of filters × vectors of pixels."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import INPUT, MULTIPLY, OUTPUT
from fastconv.gemm.windows import WINDOW
from fastconv.plans.depthwise.plane_packing import PLANE_FIELDS, pack_planes
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy, get_word, line_from
from fastconv.simd.taps import put_splat
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from .apart import APART, WINDOW_BYTES, make_planes, window_at

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu y yn yg yk yh I groups "
    + APART
    # the function that joins results to pixels, if they are, J to a row; where they stand before
    + "join y_pixel results J "
    + PLANE_FIELDS
    # packed filters, bytes of a tile of them
    + "w bias w_tile tiles "
    # offsets in the planes and in y of the vectors of a task, and in a tile by itself; the taps,
    # and how many of them make one sum
    "places targets n_places alone zeros taps n_taps stretch",
    tile=TILE,
)


@inner
def _multiply(a, item, width, planes, y, first, index, t, splats, spare):
    """Tiles of vectors from ``first`` on by tile ``t`` of the filters, which may be the last few.

    As many as there are, if they make their sums in one go and results go to y; how many.
    """
    mr, row = a.tile.mr, a.tile.nr * item
    left = a.filters - t * mr
    count = 1
    if a.n_taps <= a.stretch and left >= mr:
        count = (a.n_places - first) // (row // width)
    y += t * mr * a.yk
    init, init_pitch, starts = splats + t * mr * width, width, a.zeros
    for tap in range(0, a.n_taps, a.stretch):
        # What is not a result yet stays out of y, where other vectors overlap.
        relu, to, pitch, targets = 0, spare, row, a.alone
        if tap + a.stretch >= a.n_taps:
            relu = a.relu
            if left >= mr:
                to, pitch, targets = y, a.yk, a.targets + first * 8
        call(
            a.tile.multiply, count, a.w + index * a.w_tile + tap * mr * item, planes,
            a.places + first * 8, a.taps + tap * 8, min(a.stretch, a.n_taps - tap), init,
            init_pitch, starts, relu, to, pitch, targets,
        )  # fmt: skip
        init, init_pitch, starts = spare, row, a.alone
    if left < mr:
        for k in range(left):
            for j in range(row // width):
                at = get_word(a.targets + (first + j) * 8)
                copy(y + k * a.yk + at, spare + k * row + j * width, width)
    return count


@functools.cache
def planar_kernel(itemsize: int) -> Kernel:
    """All filters of a group for some rows of an image.

    The last rows of an image, and the last vectors of a task, overlap those before.
    """
    vector = lanes(itemsize)
    width = vector * itemsize

    @kernel(LAYOUT)
    def planar(worker, a):
        like = element(itemsize)
        room = a.scratch + worker * a.scratch_bytes
        x = record_at(window_at(a, room), WINDOW)
        splats = line_from(room + WINDOW_BYTES)
        spare = splats + a.tiles * a.tile.mr * width
        planes = spare + a.tile.mr * a.tile.nr * itemsize
        at_once = a.tile.nr // vector
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            group, rest = task % a.groups, task // a.groups
            image, i0 = rest // a.tasks_i, min(rest % a.tasks_i * a.task_i, a.I - a.task_i)
            if a.separate != 0:
                make_planes(a, x, room, image, i0)
            pack_planes(like, a, x, itemsize, planes, image, group, i0)
            clock = lap(a.profile, worker, INPUT, clock)
            for k in range(a.tiles * a.tile.mr):
                bias = a.bias + (group * a.tiles * a.tile.mr + k) * itemsize
                put_splat(like, splats + k * width, bias)
            result = a.y + image * a.yn + group * a.yg + i0 * a.yh
            y = result
            if a.join != 0:
                y = room + a.results
            # A few planes of y at a time: memory is fast only in order.
            for t in range(a.tiles):
                index = group * a.tiles + t
                start = 0
                while start < a.n_places:
                    first = min(start, a.n_places - at_once)
                    start += at_once * _multiply(
                        a, itemsize, width, planes, y, first, index, t, splats, spare
                    )
            clock = lap(a.profile, worker, MULTIPLY, clock)
            if a.join != 0:
                for i in range(a.task_i):
                    call(a.join, result + i * a.yh, a.y_pixel, y + i * a.J * itemsize, a.yk, a.J)
                clock = lap(a.profile, worker, OUTPUT, clock)

    return planar
