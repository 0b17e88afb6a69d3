"""``depthwise`` for a correlation: every output vector sums its taps over planes of the input."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import even_split, round_up, workers_for
from fastconv.gemm.windows import window_record
from fastconv.simd.vector import lanes

from ._depthwise_kernel import WINDOW_BYTES, depthwise_kernel
from ._planes import Planes, TapTables
from .correlation import Correlation

_FEWEST_ROWS = 4
_SPARE_PRODUCTS = 1.2  # in place, so many more products cost less than copying the input


class Units:
    """What runs in the lanes: vectors of channels (channels-last), or rows of single channels."""

    def __init__(self, channels: int, memory_format: str, itemsize: int):
        self.splat = memory_format == "nchw"
        self.lanes = 1 if self.splat else lanes(itemsize)
        self.count = -(-channels // self.lanes)
        self.channels = channels
        self.nbytes = self.lanes * itemsize

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """``values[channel, ...]`` as ``[unit, ..., lane]``, filled up with zeros."""
        if self.splat:
            return np.ascontiguousarray(values)
        padded = np.zeros((self.count * self.lanes, *values.shape[1:]), values.dtype)
        padded[: self.channels] = values
        return np.ascontiguousarray(
            np.moveaxis(padded.reshape(self.count, self.lanes, *values.shape[1:]), 1, -1)
        )


def rows_in_cache(c: Correlation, units: Units, vector_bytes: int) -> int:
    """Output rows to a task: their planes and sums, or all their pixels, fit half the L2 cache.

    The units of a channels-last pixel lie side by side, so a task takes one after the other while
    the rows are in the cache.
    """
    one, two = (Planes(c, rows, units.nbytes, vector_bytes) for rows in (1, 2))
    row = two.nbytes - one.nbytes + c.columns.outputs * units.nbytes
    halo = one.nbytes
    if not units.splat:
        pixels = c.rows.advance * c.columns.inputs * units.count * units.nbytes
        row, halo = max(row, pixels), max(halo, c.rows.window * pixels // c.rows.advance)
    return even_split(c.rows.outputs, max(_FEWEST_ROWS, (machine().l2 // 2 - halo) // row))


class DepthwiseSum:
    """``depthwise`` for one correlation whose groups have one input or one output channel."""

    def __init__(self, c: Correlation, itemsize: int, memory_format: str, threads: int):
        self.c = c
        self.units = units = Units(c.groups, memory_format, itemsize)
        self.whole = not units.splat and units.channels % units.lanes == 0
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        vector_bytes = self.vector * itemsize
        self.rows = rows_in_cache(c, units, vector_bytes)
        self.planes = Planes(c, self.rows, units.nbytes, vector_bytes)
        self._group_vectors()
        self.tasks_i = -(-c.rows.outputs // self.rows)
        blocks = c.N * self.tasks_i
        self.splits = min(units.count, -(-3 * threads // max(1, blocks)))
        self.tasks = blocks * self.splits
        planes_bytes = aligned(self.planes.nbytes)
        # Rows of whole vectors, since the last one of a row may hold more than is left of it.
        self.sum_line = round_up(c.columns.outputs * units.nbytes, vector_bytes)
        sums = self.rows * self.sum_line
        self.worker_bytes = aligned(WINDOW_BYTES + vector_bytes + 64 + planes_bytes + sums)
        self.workers = workers_for(self.flops, self.tasks, threads)
        self.nbytes = self.workers * self.worker_bytes
        self.window = window_record(
            units.channels, units.lanes, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), (c.rows.advance, c.columns.advance), self.vector,
        )  # fmt: skip
        self._tables: dict[tuple[int, ...], tuple[np.ndarray, ...]] = {}

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        c, units = self.c, self.units
        return Stage(
            depthwise_kernel(self.itemsize, self.mr, units.splat),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            splat=units.splat,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            splits=self.splits,
            sum_line=self.sum_line,
            units=units.count,
            channels=c.channels,
            filters=c.filters,
            row_advance=c.rows.advance,
            row_phases=self.planes.phases[0],
            column_phases=self.planes.phases[1],
            plane_rows=self.planes.shape[0],
            plane_columns=self.planes.shape[1],
            planes_bytes=aligned(self.planes.nbytes),
            w_bytes=c.steps * units.nbytes,
            unit_lanes=units.lanes,
            all_lanes=units.channels,
            y_row_first=c.rows.start,
            y_row_step=c.rows.step,
            y_column_first=c.columns.start,
            y_column_step=c.columns.step,
            group_tiles=address(self.tiles.group_tiles),
            block_groups=address(self.tiles.block_groups),
            in_place=self.in_place,
        )

    def _group_vectors(self) -> None:
        """The tiles with the fewest products; in place, where that is possible and few more."""
        c, units = self.c, self.units
        columns = np.arange(0, c.columns.outputs, self.vector if units.splat else 1)
        half = machine().isa.registers // 2

        def fewest(*exact: str) -> TapTables:
            tables = [
                TapTables(c, self.rows, columns, mr, axes)
                for axes in exact
                for mr in (half, half - half // 8)
            ]
            return min(tables, key=lambda t: t.products)

        self.tiles, self.in_place = fewest("", "rows"), False
        if self.whole and c.channels == 1:
            tables = fewest("rows columns")
            if tables.products <= _SPARE_PRODUCTS * self.tiles.products:
                self.tiles, self.in_place = tables, True
        self.mr = self.tiles.mr

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        per_unit = 2 * self.c.N * self.tiles.products * self.c.channels * self.c.filters
        return per_unit * self.units.count * self.vector

    def _weights(self, w: np.ndarray) -> np.ndarray:
        """``w`` as [unit, output, (input, r, s), lane]."""
        c = self.c
        w = w.reshape(c.groups, c.filters, c.channels, *w.shape[2:])
        w = w[..., np.array(c.rows.taps[0])[:, None], np.array(c.columns.taps[0])]
        return self.units.arranged(w.reshape(c.groups, c.filters, c.steps))

    def _tables_for(self, x_strides, y_strides, straight: bool) -> tuple[np.ndarray, ...]:
        """Where vectors are read and written and the taps, for arrays with these strides."""
        key = (*x_strides, *y_strides, straight)
        if key not in self._tables:
            c, unit = self.c, self.units.nbytes
            pixel = self.itemsize if self.units.splat else unit
            reading = self.tiles.offsets(self.planes.shape[1] * unit, pixel)
            writing = self.tiles.offsets(self.sum_line, pixel)
            taps = self.planes.tap_offsets()
            if self.in_place:
                _, _, xh, xw = x_strides
                reading = self.tiles.offsets(c.rows.advance * xh, c.columns.advance * xw)
                down = np.arange(c.rows.window)[:, None] * c.rows.spread * xh
                taps = (down + np.arange(c.columns.window) * c.columns.spread * xw)[None]
            if straight:
                _, _, yh, yw = y_strides
                writing = self.tiles.offsets(c.rows.step * yh, c.columns.step * yw)
            self._tables[key] = (reading, writing, *self.tiles.taps(taps, unit))
        return self._tables[key]

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        c = self.c
        weights = self._weights(w)
        start = np.zeros((c.groups, c.filters), x.dtype)
        if bias is not None:
            start += bias.reshape(start.shape)
        start = self.units.arranged(start)
        xn, xc, xh, xw = x.strides
        yn, yk, yh, yw = y.strides
        straight = self.whole and c.filters == 1 and yk == x.itemsize
        reading, writing, taps, group_taps = self._tables_for(x.strides, y.strides, straight)
        window = self.window.copy()
        window[:6] = (address(x), xn, 0, xc * c.channels, xh, xw)
        self.stage.run(
            scratch=scratch(self.nbytes),
            relu=relu,
            x_window=address(window),
            x_set=xc,
            w=address(weights),
            bias=address(start),
            y=address(y),
            yn=yn,
            yu=yk * c.filters * self.units.lanes,
            yk=yk * c.filters,
            yh=yh,
            yw=yw,
            y_set=yk,
            reading=address(reading),
            writing=address(writing),
            taps=address(taps),
            group_taps=address(group_taps),
            straight=straight,
        )
