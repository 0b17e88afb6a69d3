"""The kernel of few 1×1 filters on channels-last pixels: dot products along the channels."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record
from fastconv.core.profile import MULTIPLY
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE

LAYOUT = record(
    "counter profile tasks relu "
    # the arrays: bytes between images, pixels; pixels of an image, of a task; tasks of an image
    "x xn xw y yn yw length span spans "
    # filters as they stand, bytes from one to the next; what results begin with, for a tile
    "w w_pitch bias channels",
    tile=TILE,
)


@functools.cache
def dot_kernel() -> Kernel:
    """Multiply tiles of pixels by all filters.

    The last tile of an image begins a tile before its end, and computes some pixels again.
    """

    @kernel(LAYOUT)
    def dots(worker, a):
        mr = a.tile.mr
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            image, first = task // a.spans, task % a.spans * a.span
            x, y = a.x + image * a.xn, a.y + image * a.yn
            for start in range(first, min(first + a.span, a.length), mr):
                p = min(start, a.length - mr)
                call(
                    a.tile.multiply, x + p * a.xw, a.xw, a.channels, a.w, a.w_pitch, a.bias,
                    a.relu, y + p * a.yw,
                )  # fmt: skip
        lap(a.profile, worker, MULTIPLY, clock)

    return dots
