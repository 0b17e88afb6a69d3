"""``depthwise`` for a correlation: every output vector sums its taps over planes of the input."""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import even_split, workers_for
from fastconv.gemm.windows import window_record
from fastconv.simd.vector import lanes

from ._depthwise_kernel import WINDOW_BYTES, depthwise_kernel
from ._planes import Planes
from .correlation import Correlation


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


def rows_in_cache(c: Correlation, row_bytes: int, halo_bytes: int) -> int:
    """Output rows to a task: as many as leave planes and sums in half the second-level cache."""
    return even_split(c.rows.outputs, max(1, (machine().l2 // 2 - halo_bytes) // row_bytes))


class DepthwiseSum:
    """``depthwise`` for one correlation whose groups have one input or one output channel."""

    def __init__(self, c: Correlation, itemsize: int, memory_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.units = units = Units(c.groups, memory_format, itemsize)
        vector_bytes = lanes(itemsize) * itemsize
        mr = machine().isa.registers // 2
        one, two = (Planes(c, rows, units.nbytes, vector_bytes) for rows in (1, 2))
        row_bytes = two.nbytes - one.nbytes + c.columns.outputs * units.nbytes
        rows = rows_in_cache(c, row_bytes, one.nbytes)
        rows = even_split(rows, max(1, c.N * units.count * rows // (3 * threads)))
        planes = Planes(c, rows, units.nbytes, vector_bytes)
        offsets = planes.tap_offsets()
        self.taps = offsets.reshape(-1)
        tasks_i = -(-c.rows.outputs // rows)
        tasks = c.N * units.count * tasks_i
        sums = rows * planes.shape[1] * units.nbytes + (mr + 1) * vector_bytes
        planes_bytes = aligned(planes.nbytes)
        self.worker_bytes = aligned(WINDOW_BYTES + vector_bytes + 64 + planes_bytes + sums)
        self.workers = workers_for(self.flops, tasks, threads)
        self.nbytes = self.workers * self.worker_bytes
        self.window = window_record(
            units.channels, units.lanes, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), (c.rows.advance, c.columns.advance), lanes(itemsize),
        )  # fmt: skip
        self.stage = Stage(
            depthwise_kernel(itemsize, mr, units.splat),
            self.workers,
            tasks=tasks,
            scratch_bytes=self.worker_bytes,
            splat=units.splat,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_i=rows,
            tasks_i=tasks_i,
            units=units.count,
            channels=c.channels,
            filters=c.filters,
            row_advance=c.rows.advance,
            column_advance=c.columns.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=planes_bytes,
            taps=address(self.taps),
            n_taps=len(self.taps),
            unit_lanes=units.lanes,
            all_lanes=units.channels,
            y_row_first=c.rows.start,
            y_row_step=c.rows.step,
            y_column_first=c.columns.start,
            y_column_step=c.columns.step,
        )

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        per_unit = 2 * self.c.pixels * len(self.taps) * self.c.filters
        return per_unit * self.units.count * self.units.lanes

    def _weights(self, w: np.ndarray) -> np.ndarray:
        """``w`` as [unit, output, (input, r, s), lane]."""
        c = self.c
        w = w.reshape(c.groups, c.filters, c.channels, *w.shape[2:])
        w = w[..., np.array(c.rows.taps[0])[:, None], np.array(c.columns.taps[0])]
        return self.units.arranged(w.reshape(c.groups, c.filters, len(self.taps)))

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> None:
        c = self.c
        weights = self._weights(w)
        start = np.zeros((c.groups, c.filters), x.dtype)
        if bias is not None:
            start += bias.reshape(start.shape)
        start = self.units.arranged(start)
        xn, xc, xh, xw = x.strides
        yn, yk, yh, yw = y.strides
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
        )
