"""A weight gradient of a few channels as the adjoint of minimal filtering along lines.

Components of x are made as for the outputs; those of dy stay in registers, and so do the sums of
some of them over a block of lines.
"""

from __future__ import annotations

from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import share_out, workers_for
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import input_words, no_flags, window_of
from fastconv.plans.correlation import unfolded
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.vector import lanes
from fastconv.transforms.line_sums import tile_sums
from fastconv.transforms.tile_map import Tiling

from .line_grid import LineGrid
from .line_weight_kernel import line_weight_kernel
from .taps import StagedTaps
from .weight_sum import sum_stage

_BLOCKS = 16  # of rows, for each worker, about
_FEW_ROWS = 4  # of a block


class BilinearLineWeight(WeightGradient):
    """One weight gradient of a plan, the lines of dy mapped by the maps of ``tiling``."""

    def __init__(self, problem: ConvProblem, tiling: Tiling, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        self.tiling = tiling
        self.threads = threads
        self.vector = lanes(self.itemsize)
        self.pixel = self.vector * self.itemsize
        self.grid = LineGrid(c, tiling)
        self.tiles_k = -(-c.filters // self.vector)
        self.units = c.groups * self.tiles_k
        self.u_component = odd_lines(self.grid.depth * self.pixel)
        self.u_unit = tiling.columns * self.u_component
        self.copy_bytes = aligned(self.units * self.u_unit)
        self._share(planes=problem.y_format == "nchw")
        self.taps = StagedTaps(self.grid, self.vector, self.itemsize, self.vector)
        self.nbytes = self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, threads * self.taps.room_bytes
        )

    def _share(self, planes: bool) -> None:
        """Rows of a block, lines that are summed together, and how workers divide blocks."""
        c = self.c
        rows, columns = c.rows.outputs, c.columns.outputs
        fair = max(_FEW_ROWS, c.N * rows // (_BLOCKS * self.threads))
        self.rows = self.grid.task_rows(min(rows, fair), self.itemsize)
        self.tasks_i = -(-rows // self.rows)
        self.blocks = c.N * self.tasks_i
        tasks = self.blocks * self.units
        workers = workers_for(self.flops, tasks, self.threads, c.moved(self.itemsize))
        self.copies, self.parts = share_out(
            workers, self.blocks, self.units, self.copy_bytes, c.pixels, turns=1
        )
        self.workers = min(workers, self.copies * self.parts)
        self.lines = self.grid.lines_summed(self.rows, self.itemsize, planes)
        self.room_bytes = aligned(self.lines * columns * self.pixel)
        window = self.grid.window_bytes(self.rows, self.itemsize)
        self.worker_bytes = aligned(self.pixel + self.room_bytes + window)

    @property
    def flops(self) -> int:
        """Executed by the products, vectors and tiles filled up with zeros."""
        c = self.c
        tiles = c.N * c.rows.outputs * self.grid.across
        return 2 * tiles * self.units * self.tiling.columns * self.grid.depth * self.vector

    @property
    def summed(self) -> int:
        """Products in a sum: those of a call, and the calls."""
        calls = self.c.N * self.tasks_i * -(-self.rows // self.lines)
        return self.lines * self.grid.across + calls

    @made_once
    def stages(self) -> tuple[Stage, Stage]:
        """Multiply, add up; compiled when first asked for."""
        return self._multiply_stage(), sum_stage(self)

    def _multiply_stage(self) -> Stage:
        c, t = self.c, self.tiling
        _, share, terms = self.grid.sum_tile()
        sums = tile_sums(self.itemsize, t.m_columns, t.r_columns, share, c.rows.window, terms)
        return Stage(
            line_weight_kernel(self.itemsize),
            self.workers,
            **sum_tasks(self.workers, self.copies, self.parts, self.units, self.blocks),
            **self.grid.window(self.rows, self.itemsize),
            scratch_bytes=self.worker_bytes,
            copy_bytes=self.copy_bytes,
            I=c.rows.outputs,
            J=c.columns.outputs,
            tiles_k=self.tiles_k,
            tasks_i=self.tasks_i,
            lines=self.lines,
            room_bytes=self.room_bytes,
            sum=sums.address,
            sum_terms=terms,
            u_component=self.u_component,
            u_unit=self.u_unit,
        )

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        c, at, sums, flags = self.c, operands(), SCRATCH, no_flags()
        multiply, add = self.stages
        rest = sums + self.copies * self.copy_bytes
        size = (c.rows.outputs, c.columns.outputs)
        window = window_record(c.filters, self.vector, size, (0, 0), (1, 1), self.vector)
        dk, dc, _, _ = dw_strides
        multiplying = multiply.call(
            scratch=rest,
            sums=sums,
            x=at.first,
            **input_words(x_strides, c.channels),
            dy_window=window_of(window, at.second, input_words(dy_strides, c.filters).values()),
        )
        adding = add.call(scratch=rest, sums=sums, dw=at.out, dk=dk, dc=dc, flag=flags)
        return Program([multiplying, adding], flags)
