"""``depthwise`` for short lines of channels-last pixels: a line's results stay in registers.

What one pixel reads its neighbours read too, so every vector of the input and every weight is
loaded once for a line; pixels beside the borders, whose windows are cut off, cost no more than
others.
"""

from __future__ import annotations

import functools

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import Scratch
from fastconv.gemm.sharing import workers_for
from fastconv.plans.correlation import Correlation
from fastconv.simd.taps import FEWEST_SUMS
from fastconv.simd.tiles import tile_lanes
from fastconv.simd.vector import lanes

from .filters import DepthwiseFilters
from .line_kernel import depthwise_line_kernel
from .units import Units

_AT_ONCE = 8  # neighbouring vectors of channels, so that memory is read in order


def _together(c: Correlation) -> int:
    """Units summed side by side: enough for sums not to wait; 0 if the registers hold not one."""
    registers, line = machine().isa.registers, c.columns.outputs
    fitting = registers // (line + c.columns.window + 1)
    return min(fitting, -(-FEWEST_SUMS // line))


class DepthwiseLine:
    """``depthwise`` for a correlation whose groups have one channel and one filter."""

    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.units = Units(c, "nhwc", itemsize, splat=False)
        self.together = min(self.units.count, _together(c))
        self.splits = max(1, min(self.units.count // self.together, -(-3 * threads // c.N)))
        self.tasks = c.N * self.splits
        self.workers = workers_for(self.flops, self.tasks, threads, c.moved(itemsize))
        self.filters = DepthwiseFilters([c], itemsize, threads)
        self.nbytes = self.filters.nbytes

    @staticmethod
    def applies(parts: list[Correlation], memory_format: str, itemsize: int) -> bool:
        """Whether this plan can run the correlations, and suits them.

        It can: one, a channel to a group, channels-last, whole vectors.  It suits: short lines.
        """
        c = parts[0]
        return (
            len(parts) == 1
            and memory_format == "nhwc"
            and c.channels == c.filters == c.rows.step == c.columns.step == 1
            and c.groups % lanes(itemsize) == 0
            and 2 * c.columns.outputs <= machine().isa.registers
            and _together(c) > 0
        )

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        rows, columns = self.c.rows, self.c.columns
        reach = (columns.outputs - 1) * columns.advance + (columns.window - 1) * columns.spread
        inside = max(0, -columns.first), min(reach + 1, columns.inputs - columns.first)
        return Stage(
            depthwise_line_kernel(self.itemsize),
            self.workers,
            **tile_lanes(
                self.itemsize, columns.outputs, self.together, columns.window, columns.advance,
                columns.spread, inside,
            ),
            tasks=self.tasks,
            w_unit=self.filters.tile_bytes,
            units=self.units.count,
            splits=self.splits,
            at_once=_AT_ONCE,
            I=rows.outputs,
            row_first=rows.first,
            row_advance=rows.advance,
            row_spread=rows.spread,
            column_first=columns.first,
            height=rows.inputs,
            window_rows=rows.window,
            w_row=columns.window * self.units.nbytes,
        )  # fmt: skip

    @property
    def flops(self) -> int:
        """Executed, or nearly: taps beyond the borders are not."""
        return 2 * self.c.groups * self.c.pixels * self.c.steps

    @property
    def outputs(self) -> int:
        """Outputs of one channel, over all images."""
        return self.c.pixels

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        (xn, _, xh, xw), (yn, _, yh, yw) = x.strides, y.strides
        with Scratch(self.nbytes) as base:
            packed, biases = self.filters.pack(w, True, bias, base)
            self.stage.run(
                relu=relu,
                x=address(x),
                xn=xn,
                xh=xh,
                xw=xw,
                y=address(y),
                yn=yn,
                yh=yh,
                yw=yw,
                w=packed,
                bias=biases,
            )
