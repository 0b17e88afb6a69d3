"""The kernel of ``depthwise`` for short lines: a register tile holds the results of a line."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record
from fastconv.core.profile import MULTIPLY
from fastconv.simd.phases import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import lanes

LAYOUT = record(
    "counter profile tasks relu x xn xh xw y yn yh yw "
    # weights, bytes of a unit (a vector of channels) and of a row of taps
    "w w_unit w_row bias "
    # units: parts of them that have tasks of their own, and how many a line takes at once
    "units splits at_once "
    # output rows, and their windows
    "I row_first row_advance row_spread column_first height window_rows",
    tile=TILE,
)


@functools.cache
def depthwise_line_kernel(itemsize: int) -> Kernel:
    """A task is a part of the units of an image: some of them go through all lines together.

    The last tile of units begins a tile before their end, and computes some again.
    """
    vector = lanes(itemsize)
    unit_bytes = vector * itemsize

    @kernel(LAYOUT)
    def depthwise_lines(worker, a):
        together = a.tile.nr // vector
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, n = task % a.splits, task // a.splits
            first, last = split * a.units // a.splits, (split + 1) * a.units // a.splits
            for group in range(first, last, a.at_once):
                for i in range(a.I):
                    h = a.row_first + i * a.row_advance
                    top = max(0, -(h // a.row_spread))
                    bottom = min(a.window_rows, (a.height - 1 - h) // a.row_spread + 1)
                    x = a.x + n * a.xn + (h + top * a.row_spread) * a.xh + a.column_first * a.xw
                    y = a.y + n * a.yn + i * a.yh
                    w = a.w + top * a.w_row
                    for start in range(group, min(last, group + a.at_once), together):
                        unit = min(start, last - together)
                        call(
                            a.tile.multiply, x + unit * unit_bytes, a.row_spread * a.xh, a.xw,
                            max(0, bottom - top), w + unit * a.w_unit, a.w_unit,
                            a.bias + unit * unit_bytes, a.relu, y + unit * unit_bytes, a.yw,
                        )  # fmt: skip
        lap(a.profile, worker, MULTIPLY, clock)

    return depthwise_lines
