"""``direct`` for a few channels: lines of channels-last pixels, evenly apart.

The terms of a sum are short runs here, one for each row of the window, and a table of pixels costs
more than a run.  In a padded copy of the input the pixels of a line stand an even number of bytes
apart, so that a register tile finds them without.
"""

from __future__ import annotations

import functools

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import choose_tile, even_split, round_up, workers_for
from fastconv.simd.tiles import tile_pitched
from fastconv.simd.vector import lanes

from ._correlation_plan import PackedFilters
from ._line_kernel import line_kernel
from ._unfolded import UnfoldedCorrelation
from .correlation import Correlation

_MOST_TERMS = 512  # of a sum
_LONGEST = 1.15  # times the pixels of a line: what tiles may compute


class LineCorrelation(UnfoldedCorrelation):
    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.mr, self.nv = choose_tile(c.columns.outputs, c.filters, self.vector)
        self.width = self.nv * self.vector
        self.filters = PackedFilters(c, itemsize, self.width, c.channels, threads)
        self.columns = (c.columns.outputs - 1) * c.columns.advance + c.columns.window
        line = self.columns * c.channels * itemsize
        most = max(1, machine().l1 // 2 // (line * c.rows.advance))
        self.rows = even_split(
            c.rows.outputs, min(most, max(1, c.N * c.rows.outputs // (4 * threads)))
        )
        self.buffer_rows = (self.rows - 1) * c.rows.advance + c.rows.window
        self.tasks_i = -(-c.rows.outputs // self.rows)
        tile = self.mr * self.width * itemsize
        self.worker_bytes = aligned(tile + self.buffer_rows * line)
        self.tasks = c.N * c.groups * self.tasks_i
        self.workers = workers_for(self.flops, self.tasks, threads)
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    @staticmethod
    def applies(c: Correlation, itemsize: int, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it: few channels, tiles that fill the lines."""
        mr, _ = choose_tile(c.columns.outputs, c.filters, lanes(itemsize))
        line = c.columns.outputs
        return (
            y_format == "nhwc"
            and not c.folded
            and c.channels < lanes(itemsize)
            and c.rows.window > 1
            and c.steps <= _MOST_TERMS
            and all((a.spread, a.step, a.start) == (1, 1, 0) for a in (c.rows, c.columns))
            and line >= mr
            and round_up(line, mr) <= _LONGEST * line
        )

    @functools.cached_property
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        return Stage(
            line_kernel(self.itemsize),
            self.workers,
            **tile_pitched(self.itemsize, self.mr, self.nv),
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            I=c.rows.outputs,
            J=c.columns.outputs,
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            filters=c.filters,
            groups=c.groups,
            window_rows=c.rows.window,
            terms=c.columns.window * c.channels,
            row_advance=c.rows.advance,
            column_advance=c.columns.advance,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            buffer_rows=self.buffer_rows,
            buffer_columns=self.columns,
            height=c.rows.inputs,
            width=c.columns.inputs,
            row_first=c.rows.first,
            row_source=1,
            column_first=c.columns.first,
            column_source=1,
            channels=c.channels,
            block=c.channels,
            n_blocks=1,
            vector=self.vector,
        )

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        c = self.c
        base = scratch(self.nbytes)
        packed, biases = self.filters.pack(w, forward, bias, base)
        (xn, xc, xh, xw), (yn, yk, yh, yw) = x.strides, y.strides
        self.stage.run(
            scratch=base + self.filters.nbytes,
            relu=relu,
            x=address(x),
            xn=xn,
            xg=xc * c.channels,
            xc=xc,
            xh=xh,
            xw=xw,
            y=address(y),
            yn=yn,
            yg=yk * c.filters,
            yh=yh,
            yw=yw,
            w=packed,
            bias=biases,
        )
