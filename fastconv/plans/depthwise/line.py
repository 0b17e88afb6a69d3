"""``depthwise`` for short lines of channels-last pixels: a line's results stay in registers.

What one pixel reads its neighbours read too, so every vector of the input and every weight is
loaded once for a line; pixels beside the borders, whose windows are cut off, cost no more than
others.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import SCRATCH, Program, Programs, operands
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.plans.arrays import Setting
from fastconv.plans.correlation import Correlation, moved
from fastconv.simd.taps import FEWEST_SUMS
from fastconv.simd.tiles import TILE, tile_lanes
from fastconv.simd.vector import lanes

from .filters import DepthwiseFilters
from .line_kernel import LINES, depthwise_line_kernel
from .units import Units

_AT_ONCE = 16  # neighbouring vectors of channels, so that memory is read in order


def _together(c: Correlation) -> int:
    """Units summed side by side: enough for sums not to wait; 0 if the registers hold not one."""
    registers, line = machine().isa.registers, c.columns.outputs
    fitting = registers // (line + c.columns.window + 1)
    return min(fitting, -(-FEWEST_SUMS // line))


class DepthwiseLine:
    """``depthwise`` for correlations with disjoint outputs, of the same input.

    Their groups have one channel and one filter.
    """

    def __init__(self, parts: list[Correlation], itemsize: int, threads: int):
        self.parts = parts
        self.itemsize = itemsize
        self.units = Units(parts[0], "nhwc", itemsize, splat=False)
        self.units.end_together()
        self.together = [min(self.units.in_order, _together(c)) for c in parts]
        images = parts[0].N
        most = self.units.in_order // max(self.together)
        self.splits = max(1, min(most, -(-3 * threads // images)))
        self.tasks = images * self.splits
        self.workers = workers_for(self.flops, self.tasks, threads, moved(parts, itemsize))
        self.filters = DepthwiseFilters(parts, itemsize, self.units.last, threads)
        self.nbytes = self.filters.nbytes
        self._programs = Programs(self.nbytes)

    @staticmethod
    def applies(parts: list[Correlation], memory_format: str, itemsize: int) -> bool:
        """Whether this plan can run the correlations, and suits them.

        It can: a channel to a group, channels-last, a vector of them.  It suits: short lines.
        """
        return memory_format == "nhwc" and all(
            c.channels == c.filters == 1
            and c.groups >= lanes(itemsize)
            and 2 * c.columns.outputs <= machine().isa.registers
            and _together(c) > 0
            for c in parts
        )

    @made_once
    def _lines(self) -> np.ndarray:
        """The records of the lines of every part."""
        records, w = [], 0
        for c, together in zip(self.parts, self.together, strict=True):
            rows, columns = c.rows, c.columns
            reach = (columns.outputs - 1) * columns.advance + (columns.window - 1) * columns.spread
            inside = max(0, -columns.first), min(reach + 1, columns.inputs - columns.first)
            shape = (columns.window, columns.advance, columns.spread, inside)
            tile = tile_lanes(self.itemsize, columns.outputs, together, *shape)
            alone = together if self.units.whole else 1
            one = tile_lanes(self.itemsize, columns.outputs, alone, *shape)
            w_row = columns.window * self.units.nbytes
            records.append(
                (rows.outputs, rows.start, rows.step, columns.start, columns.step, rows.first,
                 rows.advance, rows.spread, columns.first, rows.window, w, w_row, one["multiply"],
                 tuple(tile[name] for name in TILE.names))
            )  # fmt: skip
            w += rows.window * w_row
        return np.array(records, LINES)

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        return Stage(
            depthwise_line_kernel(self.itemsize),
            self.workers,
            tasks=self.tasks,
            w_unit=self.filters.tile_bytes,
            units=self.units.in_order,
            splits=self.splits,
            at_once=_AT_ONCE,
            last=0 if self.units.whole else self.units.last * self.itemsize,
            height=self.parts[0].rows.inputs,
            lines=self._lines,
            n_lines=len(self.parts),
        )

    @property
    def flops(self) -> int:
        """Executed, or nearly: taps beyond the borders are not."""
        return sum(2 * c.groups * c.pixels * c.steps for c in self.parts)

    @property
    def outputs(self) -> int:
        """Outputs of one channel, over all images."""
        return sum(c.pixels for c in self.parts)

    def run(self, x, w, y, bias, relu: bool) -> None:
        w, w_strides, bias = self.filters.found(w, bias)
        s = Setting(x.strides, w_strides, y.strides, bias is not None, relu)
        self._programs.run(s, lambda: self._program(s), x, w, y, bias)

    def _program(self, s: Setting) -> Program:
        """What computes y, of arrays of such strides."""
        at = operands()
        (xn, _, xh, xw), (yn, _, yh, yw) = s.x, s.y
        filters = self.filters.prepare(SCRATCH, at, s)
        summing = self.stage.call(
            relu=s.relu, x=at.first, xn=xn, xh=xh, xw=xw, y=at.out, yn=yn, yh=yh, yw=yw,
            **filters.words,
        )  # fmt: skip
        return Program([*filters.calls, summing])
