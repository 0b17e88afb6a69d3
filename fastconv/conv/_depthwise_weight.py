"""``depthwise``'s weight gradient: each tap correlates the planes of x with dy, lane by lane."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import workers_for
from fastconv.gemm.windows import window_record
from fastconv.simd.vector import lanes

from ._depthwise_kernel import WINDOW_BYTES, depthwise_add_kernel, depthwise_weight_kernel
from ._depthwise_sum import Units, rows_in_cache
from ._planes import Planes
from .correlation import unfolded


def _taps_to_a_tile(taps: int) -> int:
    """Accumulators that fit the number of taps; one more load a step is shared by all of them."""
    isa = machine().isa
    sizes = [mr for mr, nv in isa.tiles if nv == 1 and mr <= isa.registers // 2]
    return max(sizes, key=lambda mr: taps / (-(-taps // mr) * mr) * mr / (mr + 1))


class DepthwiseWeight:
    """``depthwise`` for one weight gradient."""

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = itemsize = problem.itemsize
        self.threads = threads
        # Both operands must be cut up alike; where they differ, x decides and dy is reordered.
        self.units = units = Units(c.groups, problem.x_format, itemsize)
        width = lanes(itemsize)
        vector_bytes = width * itemsize
        self.rows = rows_in_cache(c, units, vector_bytes)
        self.tasks_i = -(-c.rows.outputs // self.rows)
        self.planes = Planes([c], self.rows, units.nbytes, vector_bytes)
        offsets = self.planes.tap_offsets().reshape(-1)
        self.mr = _taps_to_a_tile(len(offsets))
        self.tiles = -(-len(offsets) // self.mr)
        self.taps = np.zeros(self.tiles * self.mr, np.int64)
        self.taps[: len(offsets)] = offsets
        self.unit_bytes = self.tiles * self.mr * vector_bytes
        self.sums = units.count * c.filters
        self.copy_bytes = self.sums * self.unit_bytes
        workers = workers_for(self.flops, units.count * c.N * self.tasks_i, threads)
        self.parts = min(workers, units.count)
        self.copies = max(1, min(workers // self.parts, c.N * self.tasks_i))
        gradient = self.rows * c.columns.outputs * units.nbytes + vector_bytes
        planes_bytes = aligned(self.planes.nbytes)
        self.worker_bytes = aligned(2 * WINDOW_BYTES + 64 + planes_bytes + gradient)
        self.nbytes = self.copies * (self.copy_bytes + self.parts * self.worker_bytes)
        self.x_window = window_record(
            units.channels, units.lanes, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), (c.rows.advance, c.columns.advance), width,
        )  # fmt: skip
        self.dy_window = window_record(
            units.channels, units.lanes, (c.rows.outputs, c.columns.outputs), (0, 0), (1, 1), width
        )

    @functools.cached_property
    def multiply(self) -> Stage:
        """The sums of products; compiled when first asked for."""
        c, units, planes = self.c, self.units, self.planes
        return Stage(
            depthwise_weight_kernel(self.itemsize, self.mr),
            self.copies * self.parts,
            scratch_bytes=self.worker_bytes,
            splat=units.splat,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            units=units.count,
            channels=1,
            filters=c.filters,
            row_advance=c.rows.advance,
            row_phases=planes.phases[0],
            column_phases=planes.phases[1],
            plane_rows=planes.shape[0],
            plane_columns=planes.shape[1],
            planes_bytes=aligned(planes.nbytes),
            taps=address(self.taps),
            copies=self.copies,
            parts=self.parts,
            copy_bytes=self.copy_bytes,
            tiles=self.tiles,
            tail=c.columns.outputs % lanes(self.itemsize) if units.splat else 0,
        )

    @functools.cached_property
    def add(self) -> Stage:
        """Adding up the copies and writing dw."""
        units = self.units
        return Stage(
            depthwise_add_kernel(self.itemsize),
            workers_for(8 * self.copy_bytes, self.sums, self.threads),
            tasks=self.sums,
            splat=units.splat,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            unit_bytes=self.unit_bytes,
            filters=self.c.filters,
            taps=self.c.steps,
            unit_lanes=units.lanes,
            all_lanes=units.channels,
        )

    @property
    def flops(self) -> int:
        """Executed, vectors and tiles filled up with zeros."""
        per_unit = 2 * self.c.pixels * len(self.taps) * self.c.filters
        return per_unit * self.units.count * self.units.lanes

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
        c = self.c
        sums = scratch(self.nbytes)
        x_window, dy_window = self.x_window.copy(), self.dy_window.copy()
        xn, xc, xh, xw = x.strides
        x_window[:6] = (address(x), xn, 0, xc, xh, xw)
        yn, yk, yh, yw = dy.strides
        dy_window[:6] = (address(dy), yn, 0, yk * c.filters, yh, yw)
        # Where a vector of dy is contiguous it need not be copied; strided ones only pay once.
        if self.units.splat:
            in_place = yw == dy.itemsize
        else:
            in_place = c.groups % self.units.lanes == 0 and yk * c.filters == dy.itemsize
            in_place = in_place and self.tiles == 1
        self.multiply.run(
            scratch=sums + self.copies * self.copy_bytes,
            sums=sums,
            x_window=address(x_window),
            dy_window=address(dy_window),
            dy_set=yk,
            dy_in_place=in_place,
        )
        lane = c.filters * dw.strides[0]
        self.add.run(sums=sums, dw=address(dw), du=lane * self.units.lanes, dk=lane)
