"""The kernel of ``depthwise`` for channels-last lines of few channels: several lines at a time."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_lines
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu y yn yh "
    # weights, where those of the last vector of a period are; what sums begin with
    "w last_w bias "
    # the window: input rows from output to output; bytes of its lines, and from tap to tap
    "row_advance line tap "
    # output rows of all, and of a block, which is a task; blocks of an image; the buffer of their
    # window
    "I block_i blocks_i buffer_rows buffer_columns "
    # elements of a line of outputs, and vectors of them
    "elements vectors",
    tile=TILE,
    input=WINDOW,
)


@functools.cache
def flat_kernel(itemsize: int) -> Kernel:
    """The last tile of a task begins so many lines before its end, and computes some again.

    So does the last task of an image: two workers may store the same values there.
    """

    @kernel(LAYOUT)
    def flat(worker, a):
        like = element(itemsize)
        window = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            image, i0 = task // a.blocks_i, task % a.blocks_i * a.block_i
            i0 = min(i0, a.I - a.block_i)
            pack_lines(like, a, itemsize, window, image, 0, i0)
            clock = lap(a.profile, worker, INPUT, clock)
            for start in range(0, a.block_i, a.tile.mr):
                i = min(start, a.block_i - a.tile.mr)
                call(
                    a.tile.multiply, window + i * a.row_advance * a.line, a.line, a.tap, a.vectors,
                    a.w, a.w + a.last_w, a.bias, a.relu, a.y + image * a.yn + (i0 + i) * a.yh, a.yh,
                    a.elements,
                )  # fmt: skip
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return flat
