"""``direct`` for a correlation: implicit GEMM over padded rows, or over the input in place.

Per block of output pixels the input window is copied once into channel-blocked rows
(:mod:`fastconv.gemm.windows`); then every tile of filters runs over every tile of pixels, whose
addresses serve as the rows of the left operand.  Vector lanes run over the output channels.
1×1 filters on channels-last data need no window: the pixels are rows as they stand.
"""

from __future__ import annotations

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import channel_block, choose_tile, even_split, workers_for
from fastconv.simd.vector import lanes

from . import correlation
from ._correlation_plan import PackedFilters, lane_table, output_order
from ._direct_kernel import direct_kernel
from ._pixels import PixelTables
from .correlation import Correlation

_TILES_PER_TASK = 24  # pixel tiles that share one trip of the filters through the cache
_PANEL_BYTES = 128 << 10  # filters of one tile between two spills of the accumulators


def _runs_in_place(c: Correlation, x_format: str) -> bool:
    """Whether the pixels can be addressed where they are: 1×1, channels-last, no padding."""
    return (
        x_format == "nhwc"
        and c.rows.window * c.columns.window == 1
        and all(
            axis.first >= 0 and axis.first + (axis.outputs - 1) * axis.advance < axis.inputs
            for axis in (c.rows, c.columns)
        )
    )


class Buffer:
    """Geometry of the padded rows along one axis: source step, advance, spread, reach."""

    def __init__(self, axis: correlation.Axis):
        single = axis.window == 1  # then only the positions that are read are copied
        self.source = axis.advance if single else 1
        self.advance = 1 if single else axis.advance
        self.spread = axis.spread
        self.reach = (axis.window - 1) * axis.spread + 1

    def extent(self, outputs: int) -> int:
        return (outputs - 1) * self.advance + self.reach


class DirectCorrelation:
    """``direct`` for one correlation: sizes, tables and the two stages (pack, multiply)."""

    def __init__(self, c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        vector = lanes(itemsize)
        self.in_place = _runs_in_place(c, x_format)
        self.mr, self.nv = choose_tile(c.pixels, c.lanes, vector)
        self.width = self.nv * vector
        self.block = c.channels if self.in_place else channel_block(c.channels, vector)
        self.filters = PackedFilters(c, itemsize, self.width, self.block, threads)
        self.rows, self.columns = Buffer(c.rows), Buffer(c.columns)
        self._share(threads)
        self.chunk = max(1, min(self.filters.n_blocks, _PANEL_BYTES // self.filters.block_bytes))
        self.store = output_order(c, y_format)
        self.pixels = PixelTables(c, self.share, self.mr)
        self.worker_bytes = self._worker_bytes()
        self.workers = workers_for(2 * c.executed(vector), self.tasks, threads)
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes
        self._tables: dict[tuple[int, ...], tuple] = {}

    @property
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        if not hasattr(self, "_stage"):
            self._stage = self._make_stage()
        return self._stage

    def _window_bytes(self, n: int, i: int, j: int) -> int:
        if self.in_place:
            return 0
        pixels = n * self.rows.extent(i) * self.columns.extent(j)
        return pixels * self.filters.n_blocks * self.block * self.itemsize

    def _share(self, threads: int) -> None:
        """One task's share of the pixels: enough to reuse the filters, its window within L2."""
        c = self.c
        goal = _TILES_PER_TASK * self.mr
        budget = machine().l2 // 2
        n, i, j = 1, c.rows.outputs, c.columns.outputs
        if i * j <= goal:
            n = max(1, min(goal // (i * j), -(-c.N // (2 * threads))))
        else:
            j = even_split(j, goal)
            i = even_split(i, max(1, goal // j))
        while self._window_bytes(n, i, j) > budget and n * i * j > self.mr:
            if n > 1:
                n = -(-n // 2)
            elif i > 1:
                i = even_split(i, i // 2)
            else:
                j = even_split(j, -(-j // 2))
        self.share = (n, i, j)
        blocks = -(-c.N // n) * -(-c.rows.outputs // i) * -(-c.columns.outputs // j) * c.groups
        wanted = -(-3 * threads // max(1, blocks)) if threads > 1 else 1
        self.splits = max(1, min(self.filters.tiles, wanted))
        self.tasks = blocks * self.splits

    def _worker_bytes(self) -> int:
        row = self.width * self.itemsize
        partial = self.pixels.most * row if self.chunk < self.filters.n_blocks else 0
        runs = 16 * self.filters.n_blocks * self.c.rows.window * self.c.columns.window
        tiles = self.mr * row + partial
        return aligned(8 * self.mr + runs + 64 + tiles + self._window_bytes(*self.share))

    def _make_stage(self) -> Stage:
        c = self.c
        n, i, j = self.share
        return Stage(
            direct_kernel(self.itemsize, self.mr, self.nv),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            y_row_first=c.rows.start,
            y_row_step=c.rows.block * c.rows.step,
            y_column_first=c.columns.start,
            y_column_step=c.columns.block * c.columns.step,
            y_rows=c.rows.size,
            y_columns=c.columns.size,
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            all_lanes=c.lanes,
            window_rows=c.rows.window,
            window_columns=c.columns.window,
            row_spread=c.rows.spread,
            column_spread=c.columns.spread,
            joined=c.columns.spread == 1,
            chunk=self.chunk,
            in_place=self.in_place,
            windows=address(self.pixels.windows),
            most=self.pixels.most,
            row_stride=c.rows.advance,
            column_stride=c.columns.advance,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            buffer_rows=self.rows.extent(i),
            buffer_columns=self.columns.extent(j),
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_n=n,
            task_i=i,
            task_j=j,
            tasks_i=-(-c.rows.outputs // i),
            tasks_j=-(-c.columns.outputs // j),
            groups=c.groups,
            splits=self.splits,
            height=c.rows.inputs,
            width=c.columns.inputs,
            row_first=c.rows.first,
            row_source=self.rows.source,
            column_first=c.columns.first,
            column_source=self.columns.source,
            channels=c.channels,
            block=self.block,
            n_blocks=self.filters.n_blocks,
            vector=lanes(self.itemsize),
            store=self.store,
        )

    def _tables_for(self, x_strides, y_strides) -> tuple:
        """Where pixels read and write and where lanes go, for arrays with these strides.

        The tables and their addresses.
        """
        key = (*x_strides, *y_strides)
        if key not in self._tables:
            c = self.c
            xn, _, xh, xw = x_strides
            yn, yk, yh, yw = y_strides
            if self.in_place:
                reading = self.pixels.reading(xn, c.rows.advance * xh, c.columns.advance * xw)
            else:
                pixel = self.block * self.itemsize
                columns = self.columns.extent(self.share[2])
                image = self.filters.n_blocks * self.rows.extent(self.share[1]) * columns
                reading = self.pixels.reading(
                    image * pixel, self.rows.advance * columns * pixel, self.columns.advance * pixel
                )
            steps = (c.rows.block * c.rows.step, c.columns.block * c.columns.step)
            writing = self.pixels.writing(yn, yh, yw, steps)
            tables = (reading, writing, lane_table(c, yk, yh, yw))
            self._tables[key] = (tables, *map(address, tables))
        return self._tables[key]

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        base = scratch(self.nbytes)
        packed, biases = self.filters.pack(w, forward, bias, base)
        _, reading, writing, lanes_at = self._tables_for(x.strides, y.strides)
        xn, xc, xh, xw = x.strides
        yn, yk, yh, yw = y.strides
        self.stage.run(
            scratch=base + self.filters.nbytes,
            relu=relu,
            x=address(x),
            xn=xn,
            xg=xc * self.c.channels,
            xc=xc,
            xh=xh,
            xw=xw,
            y=address(y),
            yn=yn,
            yg=yk * self.c.filters,
            yh=yh,
            yw=yw,
            lane_step=yk,
            lane_table=lanes_at,
            reading=reading,
            writing=writing,
            w=packed,
            bias=biases,
        )
