"""The kernel of ``depthwise`` for short lines: a register tile holds the results of a line."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record, record_at
from fastconv.core.profile import MULTIPLY
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import lanes

LAYOUT = record(
    "counter profile tasks relu x xn xh xw y yn yh yw "
    # weights, bytes of a unit (a vector of channels)
    "w w_unit bias "
    # units: parts of them that have tasks of their own, and how many a line takes at once; the byte
    # at which one more begins that ends with the last channel (0 if there is none)
    "units splits at_once last height "
    # records of the lines: one for all of them, or one for those of each parity
    "lines n_lines"
)
LINES = record(
    # rows of outputs, and which of all they are; the first output of a row and the next
    "I row_start row_step column_start column_step "
    # their windows; where the weights are, and bytes of a row of taps; the tile of a single unit
    "row_first row_advance row_spread column_first window_rows w w_row multiply_one",
    tile=TILE,
)
LINES_BYTES = LINES.itemsize


@inner
def _sum_line(a, lines, multiply, x, rows, w, unit, bias, y):
    """A line of the units of a tile, from ``unit`` on."""
    call(
        multiply, x, lines.row_spread * a.xh, a.xw, rows, w + unit * a.w_unit, a.w_unit, bias,
        a.relu, y, lines.column_step * a.yw,
    )  # fmt: skip


@functools.cache
def depthwise_line_kernel(itemsize: int) -> Kernel:
    """A task is a part of the units of an image: some of them go through all lines together.

    The last tile of units begins a tile before their end, and computes some again; so does the
    last unit.
    """
    vector = lanes(itemsize)
    unit_bytes = vector * itemsize

    @kernel(LAYOUT)
    def depthwise_lines(worker, a):
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, n = task % a.splits, task // a.splits
            first, last = split * a.units // a.splits, (split + 1) * a.units // a.splits
            for group in range(first, last, a.at_once):
                end = min(last, group + a.at_once)
                for index in range(a.n_lines):
                    lines = record_at(a.lines + index * LINES_BYTES, LINES)
                    together = lines.tile.nr // vector
                    for i in range(lines.I):
                        h = lines.row_first + i * lines.row_advance
                        top = max(0, -(h // lines.row_spread))
                        bottom = (a.height - 1 - h) // lines.row_spread + 1
                        rows = max(0, min(lines.window_rows, bottom) - top)
                        h += top * lines.row_spread
                        x = a.x + n * a.xn + h * a.xh + lines.column_first * a.xw
                        y = a.y + n * a.yn + (lines.row_start + i * lines.row_step) * a.yh
                        y += lines.column_start * a.yw
                        w = a.w + lines.w + top * lines.w_row
                        for start in range(group, end, together):
                            unit = min(start, last - together)
                            at = unit * unit_bytes
                            _sum_line(
                                a, lines, lines.tile.multiply, x + at, rows, w, unit, a.bias + at,
                                y + at,
                            )  # fmt: skip
                        if a.last > 0 and end == a.units:
                            _sum_line(
                                a, lines, lines.multiply_one, x + a.last, rows, w, end,
                                a.bias + end * unit_bytes, y + a.last,
                            )  # fmt: skip
        lap(a.profile, worker, MULTIPLY, clock)

    return depthwise_lines
