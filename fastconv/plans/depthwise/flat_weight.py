"""``depthwise``'s weight gradient for channels-last lines of few channels.

Lane by lane, like :mod:`.flat`: lanes of one channel are added up at the end.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, Programs, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.plans.arrays import input_words
from fastconv.plans.correlation import unfolded
from fastconv.simd.tiles import tile_flat_products

from .flat import TASKS, FlatLines
from .flat_weight_kernel import flat_weight_kernel
from .weight import DepthwiseWeight

_SPARE = 6  # registers beside the sums of all taps


def _is_dense(array: np.ndarray) -> bool:
    """Whether channels-last lines have no gaps."""
    return array.strides[1::2] == (array.itemsize, array.shape[1] * array.itemsize)


class FlatWeight(FlatLines):
    """``depthwise`` for one weight gradient; by the ``general`` plan if lines of dy have gaps."""

    def __init__(self, problem: ConvProblem, threads: int, general: DepthwiseWeight):
        super().__init__(unfolded(problem), problem.itemsize, threads)
        self._general = general
        workers = workers_for(self.flops, self.blocks, threads, self.c.moved(self.itemsize))
        self.tasks = min(self.blocks, TASKS * workers)
        self.workers = min(workers, self.tasks)
        unit = self.c.steps * self.vector * self.itemsize
        self.unit_bytes, self.copy_bytes = unit, self.period * unit
        self.partial = self.worker_bytes
        self.worker_bytes = aligned(self.partial + self.copy_bytes)
        scratch = self.workers * self.worker_bytes
        self.nbytes = max(scratch + self.tasks * self.copy_bytes, general.nbytes)
        self._programs = Programs(scratch)

    @staticmethod
    def applies(problem: ConvProblem) -> bool:
        """Whether this plan can compute the gradient, and suits it."""
        c = unfolded(problem)
        fits = c.steps <= machine().isa.registers - _SPARE
        return fits and FlatLines.applies(c, problem.itemsize)

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        return Stage(
            flat_weight_kernel(self.itemsize),
            self.workers,
            **tile_flat_products(self.itemsize, self.mr, *self.tile_shape),
            **self.constants(),
            multiply_one=tile_flat_products(self.itemsize, 1, *self.tile_shape)["multiply"],
            tasks=self.tasks,
            blocks=self.blocks,
            copy_bytes=self.copy_bytes,
            unit_bytes=self.unit_bytes,
            period=self.period,
            partial=self.partial,
        )

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
        if not _is_dense(dy):
            self._general.run(x, dy, dw)
            return
        sums = np.empty((self.tasks, self.period, self.c.steps, self.vector), dw.dtype)
        self._programs.run(
            (x.strides, dy.strides), lambda: self._program(x.strides, dy.strides), x, dy, sums
        )
        lanes = np.moveaxis(sums.sum(0), 1, -1).reshape(-1, self.c.groups, self.c.steps)
        dw[...] = lanes.sum(0).reshape(dw.shape)

    def _program(self, x_strides, dy_strides) -> Program:
        """What makes the sums, of arrays of such strides."""
        at = operands()
        yn, _, yh, _ = dy_strides
        summing = self.stage.call(
            scratch=SCRATCH, sums=at.out, x=at.first, **input_words(x_strides, self.c.groups),
            dy=at.second, yn=yn, yh=yh,
        )  # fmt: skip
        return Program([summing])
