"""The kernel of ``direct`` for planes of few channels: tiles of filters × vectors of pixels."""

from __future__ import annotations

import functools

import numba

from fastconv.core.jit import Kernel, as_pointer, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW
from fastconv.simd.copying import copy, get_word, next_task
from fastconv.simd.phases import lap, started
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

from ._depthwise_kernel import PLANES, WINDOW_BYTES, pack_planes

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu y yn yg yk yh I groups "
    + PLANES
    # packed filters, bytes of a tile of them
    + "w bias w_tile tiles group_filters "
    # offsets in the planes and in y of the vectors of a task, and in a tile by itself; the taps
    "places targets n_places alone taps n_taps",
    tile=TILE,
)


@inner
def _multiply(a, item, vector, planes, y, first, index, t, spare):
    """The vectors from ``first`` on by tile ``t`` of the filters, which may be the last few."""
    mr, row = a.tile.mr, a.tile.nr * item
    left = a.group_filters - t * mr
    y += t * mr * a.yk
    targets = a.targets + first * 8
    to, pitch, offsets = y, a.yk, targets
    if left < mr:
        to, pitch, offsets = spare, row, a.alone
    call(
        a.tile.multiply, a.w + index * a.w_tile, planes, a.places + first * 8, a.taps, a.n_taps,
        a.bias + index * mr * item, a.relu, to, pitch, offsets,
    )  # fmt: skip
    if left < mr:
        width = vector * item
        for k in range(left):
            for j in range(a.tile.nr // vector):
                copy(y + k * a.yk + get_word(targets + j * 8), spare + k * row + j * width, width)


@functools.cache
def planar_kernel(itemsize: int) -> Kernel:
    """All filters of a group for some rows of an image.

    The last rows of an image, and the last vectors of a task, overlap those before.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def planar(worker, args):
        a = numba.carray(args, 1)[0]
        like = element(itemsize)
        window = a.scratch + worker * a.scratch_bytes
        # A copy of the window's record: a worker moves it from channel to channel.
        copy(window, a.x_window, WINDOW_BYTES)
        x = numba.carray(as_pointer(window), 1, WINDOW)[0]
        spare = (window + WINDOW_BYTES + 63) // 64 * 64
        planes = spare + a.tile.mr * a.tile.nr * itemsize
        at_once = a.tile.nr // vector
        clock = started(a.profile)
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            group, rest = task % a.groups, task // a.groups
            image, i0 = rest // a.tasks_i, min(rest % a.tasks_i * a.task_i, a.I - a.task_i)
            pack_planes(like, a, x, itemsize, planes, image, group, i0)
            clock = lap(a.profile, worker, INPUT, clock)
            y = a.y + image * a.yn + group * a.yg + i0 * a.yh
            for start in range(0, a.n_places, at_once):
                first = min(start, a.n_places - at_once)
                for t in range(a.tiles):
                    index = group * a.tiles + t
                    _multiply(a, itemsize, vector, planes, y, first, index, t, spare)
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return planar
