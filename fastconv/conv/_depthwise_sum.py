"""``depthwise`` for a correlation: every output vector sums its taps over planes of the input."""

from __future__ import annotations

import functools
import os

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import even_split, round_up, workers_for
from fastconv.gemm.windows import window_record
from fastconv.simd.vector import lanes

from ._depthwise_kernel import PART, WINDOW_BYTES, depthwise_kernel
from ._planes import Planes
from ._strips import Strips
from .correlation import Correlation

_FEWEST_ROWS = 4
_NARROW = 4  # vectors of the strips that cover what the long ones leave
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
    one, two = (Planes([c], rows, units.nbytes, vector_bytes) for rows in (1, 2))
    row = two.nbytes - one.nbytes + c.columns.outputs * units.nbytes
    halo = one.nbytes
    if not units.splat:
        pixels = c.rows.advance * c.columns.inputs * units.count * units.nbytes
        row, halo = max(row, pixels), max(halo, c.rows.window * pixels // c.rows.advance)
    return even_split(c.rows.outputs, max(_FEWEST_ROWS, (machine().l2 // 2 - halo) // row))


class DepthwiseSum:
    """``depthwise`` for correlations with disjoint outputs, of the same input.

    Their groups have one input or one output channel.
    """

    def __init__(self, parts: list[Correlation], itemsize: int, memory_format: str, threads: int):
        self.parts = parts
        self.c = c = max(parts, key=lambda c: c.rows.outputs)
        self.units = units = Units(c.groups, memory_format, itemsize)
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        vector_bytes = self.vector * itemsize
        whole = units.channels % units.lanes == 0
        self.rows = rows_in_cache(c, units, vector_bytes)
        import os
        if os.environ.get("ROWS") and not units.splat: self.rows = int(os.environ["ROWS"])
        self.planes = Planes(parts, self.rows, units.nbytes, vector_bytes)
        self._cut(whole and not units.splat and c.channels == 1)
        self.tasks_i = -(-c.rows.outputs // self.rows)
        blocks = c.N * self.tasks_i
        self.splits = min(units.count, -(-3 * threads // max(1, blocks)))
        self.tasks = blocks * self.splits
        # Summed in y itself if its vectors are contiguous.
        self.straight = whole and c.filters == 1
        if units.splat:
            contiguous = all(c.columns.step == 1 for c in parts)
            self.straight = contiguous and min(c.columns.outputs for c in parts) >= self.vector
        sums = self._layout_of_parts(vector_bytes)
        planes_bytes = aligned(self.planes.nbytes)
        self.worker_bytes = aligned(WINDOW_BYTES + vector_bytes + 64 + planes_bytes + sums)
        self.workers = workers_for(self.flops, self.tasks, threads)
        self.nbytes = self.workers * self.worker_bytes
        self.window = window_record(
            units.channels, units.lanes, (c.rows.inputs, c.columns.inputs), self.planes.first,
            (c.rows.advance, c.columns.advance), self.vector,
        )  # fmt: skip
        self._tables: dict[tuple[int, ...], tuple] = {}

    def _cut(self, possible: bool) -> None:
        """Strips with the fewest products; in place, where that is possible and few more."""
        half = machine().isa.registers // 2
        step = self.vector if self.units.splat else 1

        def fewest(*exact: str) -> Strips:
            return min(
                (
                    Strips(self.parts, self.rows, step, (mr, _NARROW, 1), axes)
                    for axes in exact
                    for mr in (half, half - half // 8)
                ),
                key=lambda strips: strips.time,
            )

        self.strips, self.in_place = fewest("", "rows"), False
        if possible:
            strips = fewest("rows columns")
            if strips.time <= _SPARE_PRODUCTS * self.strips.time:
                self.strips, self.in_place = strips, True
        self.block_groups = np.array(self.strips.block_groups, np.int64)
        self.sizes = np.array([group.size for group in self.strips.groups], np.int64)
        self.lines = np.zeros(len(self.block_groups), np.int64)
        import os
        c = self.c
        self.ahead = 0
        self.lines_y = self.lines.copy()
        if self.in_place and os.environ.get("PF"):
            row = c.columns.inputs * self.units.count * self.units.nbytes
            need = self.rows * c.rows.advance * row // 64
            for b in range(len(self.block_groups) - 1):
                first, last = self.block_groups[b : b + 2]
                n = sum(len(g.corners) for g in self.strips.groups[first:last])
                self.lines[b] = -(-need // (n * self.units.count))
                row_y = sum(c.columns.outputs for c in self.parts) * self.units.count * self.units.nbytes
                need_y = self.rows * row_y // 64
                if os.environ.get("PFY"): self.lines_y[b] = -(-need_y // (n * self.units.count))
            self.ahead = int(os.environ["PF"])

    def _layout_of_parts(self, vector_bytes: int) -> int:
        """Fill the records of the parts; the bytes of the sums that are not made in y."""
        self.records = np.zeros((len(self.parts), len(PART.names)), np.int64)
        sums = 0
        for record, c in zip(self.records, self.parts, strict=True):
            # Rows of whole vectors: the last one of a row may hold more than is left of it.
            line = round_up(c.columns.outputs * self.units.nbytes, vector_bytes)
            record[:] = (
                c.rows.outputs, c.columns.outputs, c.rows.start, c.rows.step,
                c.columns.start, c.columns.step, sums, line,
            )  # fmt: skip
            sums += self.rows * line
        return sums

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        c, units, planes = self.c, self.units, self.planes
        return Stage(
            depthwise_kernel(self.itemsize, self.strips.sizes[0], _NARROW, units.splat),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            splits=self.splits,
            units=units.count,
            channels=c.channels,
            filters=c.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=aligned(planes.nbytes),
            w_bytes=self._weight_bytes,
            unit_lanes=units.lanes,
            all_lanes=units.channels,
            parts=address(self.records),
            n_parts=len(self.parts),
            block_groups=address(self.block_groups),
            sizes=address(self.sizes),
            lines=address(self.lines),lines_y=address(self.lines_y),
            in_place=self.in_place,
            ahead=self.ahead,
        )

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        per_unit = 2 * self.c.N * self.strips.products * self.c.channels * self.c.filters
        return per_unit * self.units.count * self.vector

    @property
    def outputs(self) -> int:
        """Outputs of one channel, over all images."""
        return sum(c.pixels for c in self.parts)

    @property
    def _weight_bytes(self) -> int:
        """The weights of one output of a unit: those of all parts, one after the other."""
        return sum(c.steps for c in self.parts) * self.units.nbytes

    def _weights(self, w: np.ndarray) -> np.ndarray:
        """``w`` as [unit, output, (part, input, r, s), lane]."""
        c = self.c
        w = w.reshape(c.groups, c.filters, c.channels, *w.shape[2:])
        parts = [
            w[..., np.array(c.rows.taps[0])[:, None], np.array(c.columns.taps[0])].reshape(
                c.groups, c.filters, c.steps
            )
            for c in self.parts
        ]
        return self.units.arranged(np.concatenate(parts, axis=-1))

    def _tables_for(self, x_strides, y_strides, straight: bool) -> tuple[np.ndarray, list[np.ndarray]]:
        """The records of the groups, for arrays with these strides."""
        key = (*x_strides, *y_strides)
        if key not in self._tables:
            unit = self.units.nbytes
            pixel = self.itemsize if self.units.splat else unit
            per_part: list[list] = []
            w_first = 0
            for p, c in enumerate(self.parts):
                axes = (c.rows, c.columns)
                if self.in_place:
                    strides = np.array(x_strides[2:])
                    origin = np.array([axis.first for axis in axes]) @ strides
                    x_step = strides * [axis.advance for axis in axes]
                    down, across = (
                        np.arange(axis.window) * axis.spread * stride
                        for axis, stride in zip(axes, strides, strict=True)
                    )
                    taps = (down[:, None] + across)[None]
                else:
                    origin, x_step = 0, np.array([self.planes.shape[1] * unit, pixel])
                    taps = self.planes.tap_offsets(p)
                if straight:
                    strides = np.array(y_strides[2:])
                    y_first = np.array([axis.start for axis in axes]) @ strides
                    y_step = strides * [axis.step for axis in axes]
                else:
                    sums, line = self.records[p, -2:]
                    y_first, y_step = sums, np.array([line, pixel])
                per_part.append([origin, x_step, taps, w_first, y_first, y_step])
                w_first += c.steps * unit
            origins, x_steps, x_taps, w_firsts, y_firsts, y_steps = zip(*per_part, strict=True)
            self._tables[key] = self.strips.tables(
                origins, x_steps, x_taps, w_firsts, unit, y_firsts, y_steps
            )
        return self._tables[key]

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        c = self.c
        weights = self._weights(w)
        start = np.zeros((c.groups, c.filters), x.dtype)
        if bias is not None:
            start += bias.reshape(start.shape)
        start = self.units.arranged(start)
        floor = np.full(self.vector, 0 if relu else -np.inf, x.dtype)
        xn, xc, xh, xw = x.strides
        yn, yk, yh, yw = y.strides
        straight = self.straight and x.itemsize == (yw if self.units.splat else yk)
        records, _ = self._tables_for(x.strides, y.strides, straight)
        window = self.window.copy()
        window[:6] = (address(x), xn, 0, xc * c.channels, xh, xw)
        if self.ahead: self.stage._template[self.stage._index["ahead"]] = self.rows*c.rows.advance*xh+(c.rows.window-1)*c.rows.spread*xh+c.rows.first*xh
        if self.ahead: self.stage._template[self.stage._index["ahead_y"]] = int(os.environ.get("PFYD","1"))*self.rows*c.rows.step*yh
        self.stage.run(
            scratch=scratch(self.nbytes),
            floor=address(floor),
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
            groups=address(records),
            straight=straight,
        )
