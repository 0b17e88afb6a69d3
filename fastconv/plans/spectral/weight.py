"""The weight gradient of a depthwise convolution by spectra: block sizes, and a call's stages.

Every task sums the spectra of a stretch of tiles of one vector of channels; then these sums are
added and transformed to taps.  Results repeat bit by bit: stretches depend on the threads alone.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import no_flags
from fastconv.plans.correlation import unfolded
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.vector import lanes
from fastconv.transforms.spectral import add_gradient, filter_gradient, temp_vectors

from .correlation import input_window, plane_window
from .grid import SpectralGrid
from .kernel import spectral_sum_kernel, spectral_weight_kernel


class SpectralWeight(WeightGradient):
    """One weight gradient of a plan."""

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        self.vector = lanes(self.itemsize)
        self.pixel = self.vector * self.itemsize
        self.grid = grid = SpectralGrid(c)
        self.units = -(-c.groups // self.vector)
        stretches = 1
        if self.units % threads:  # vectors of channels alone would not share the work evenly
            stretches = min(grid.tiles, -(-2 * threads // self.units))
        self.share = -(-grid.tiles // stretches)
        self.splits = -(-grid.tiles // self.share)
        self.tasks = self.units * self.splits
        rows, columns = grid.sides
        tiles = rows.inputs * columns.inputs + rows.outputs * columns.outputs
        self.room_bytes = max(tiles, rows.taps * columns.taps) * self.pixel
        temp = temp_vectors(
            rows.length, columns.length, max(columns.inputs, columns.taps), columns.outputs
        )
        self.sum_bytes = rows.length * columns.length * self.pixel
        self.sums_bytes = aligned(self.tasks * self.sum_bytes)
        self.worker_bytes = aligned(self.room_bytes + temp * self.pixel)
        work = 2 * self.vector * self.instructions
        self.workers = workers_for(work, self.tasks, threads, c.moved(self.itemsize))
        self.nbytes = self.sums_bytes + self.workers * self.worker_bytes

    @property
    def instructions(self) -> int:
        """Vector instructions of all tasks."""
        tile, filters = self.grid.work
        return self.units * (self.grid.tiles * tile + filters)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the sums: written once, read once."""
        return 2 * self.sums_bytes

    @made_once
    def stages(self) -> tuple[Stage, Stage]:
        """Multiply, add up; compiled when first asked for."""
        c, grid = self.c, self.grid
        shared = dict(
            scratch_bytes=self.worker_bytes, room_bytes=self.room_bytes, splits=self.splits
        )
        multiply = Stage(
            spectral_weight_kernel(self.itemsize),
            self.workers,
            tasks=self.tasks,
            tile_map=add_gradient(self.itemsize, *grid.tile_key).address,
            **shared,
            **grid.constants(self.share),
        )
        add = Stage(
            spectral_sum_kernel(self.itemsize),
            min(self.workers, self.units),
            tasks=self.units,
            sum_bytes=self.sum_bytes,
            filter_map=filter_gradient(self.itemsize, *grid.filter_key).address,
            taps=c.rows.window * c.columns.window,
            tap_columns=c.columns.window,
            channels=c.groups,
            **shared,
        )
        return multiply, add

    def _gradient_window(self) -> np.ndarray:
        """The record of the windows of dy."""
        c, vector = self.c, self.vector
        size = c.rows.outputs, c.columns.outputs
        return window_record(c.groups, vector, size, (0, 0), self.grid.lattices, vector)

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        at, flags, sums = operands(), no_flags(), SCRATCH
        multiply, add = self.stages
        rest = sums + self.sums_bytes
        multiplying = multiply.call(
            scratch=rest,
            sums=sums,
            x_window=plane_window(input_window(self.grid, self.vector), at.first, x_strides),
            dy_window=plane_window(self._gradient_window(), at.second, dy_strides),
        )
        adding = add.call(scratch=rest, sums=sums, dw=at.out, dk=dw_strides[0], flag=flags)
        return Program([multiplying, adding], flags)
