"""The kernel of ``depthwise`` weight gradients of few channels-last channels: lane by lane."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.simd.copying import zero
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes dy yn yh "
    # sums of each task: bytes of all, and of one vector of a period
    "sums copy_bytes unit_bytes period "
    # the window: input rows from output to output; bytes of its lines, and from tap to tap
    "row_advance line tap "
    # output rows of all, and of a block; blocks of an image, and all; the buffer of their window
    "I task_i tasks_i blocks buffer_rows buffer_columns "
    # elements of a line of dy
    "elements "
    # the tile of a single line
    "multiply_one",
    tile=TILE,
    input=WINDOW,
)


@functools.cache
def flat_weight_kernel(itemsize: int) -> Kernel:
    """A task is some blocks, a few rows of an image each, and has sums of its own."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def flat_weight(worker, a):
        like = element(itemsize)
        window = a.scratch + worker * a.scratch_bytes
        whole, rest = a.elements // vector, a.elements % vector
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.copy_bytes
            zero(sums, a.copy_bytes)
            for block in range(task * a.blocks // a.tasks, (task + 1) * a.blocks // a.tasks):
                image, i0 = block // a.tasks_i, block % a.tasks_i * a.task_i
                pack_block(
                    like, a.input, itemsize, window, image, 0, 0,
                    a.input.row_first + i0 * a.row_advance, a.buffer_rows, a.input.column_first,
                    a.buffer_columns,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                rows, i = min(a.task_i, a.I - i0), 0
                while i < rows:
                    multiply, step = a.multiply_one, 1
                    if i + a.tile.mr <= rows:
                        multiply, step = a.tile.multiply, a.tile.mr
                    for u in range(a.period):
                        at = u * vector * itemsize
                        call(
                            multiply, window + i * a.row_advance * a.line + at, a.line, a.tap,
                            (whole - u + a.period - 1) // a.period, a.period * vector * itemsize,
                            a.dy + image * a.yn + (i0 + i) * a.yh + at, a.yh,
                            rest if whole % a.period == u else 0, sums + u * a.unit_bytes,
                        )  # fmt: skip
                    i += step
                clock = lap(a.profile, worker, MULTIPLY, clock)

    return flat_weight
