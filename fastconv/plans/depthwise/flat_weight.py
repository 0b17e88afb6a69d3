"""``depthwise``'s weight gradient for channels-last lines of few channels.

Lane by lane, like :mod:`.flat`: lanes of one channel are added up at the end.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, Programs, operands
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.plans.arrays import input_words
from fastconv.plans.correlation import unfolded
from fastconv.simd.tiles import tile_flat_products

from .flat import FlatLines, dense
from .flat_weight_kernel import flat_weight_kernel

_SPARE = 6  # registers beside the sums of all taps
_TASKS = 4  # for each thread


class FlatWeight(FlatLines):
    """``depthwise`` for one weight gradient."""

    def __init__(self, problem: ConvProblem, threads: int):
        super().__init__(unfolded(problem), problem.itemsize, threads)
        self.blocks = self.tasks
        self.tasks = min(self.blocks, _TASKS * threads)
        self.workers = workers_for(self.flops, self.tasks, threads, self.c.moved(self.itemsize))
        self.shape = (self.tasks, self.period, self.c.steps, self.vector)  # of the sums
        scratch = self.workers * self.worker_bytes
        self.nbytes = scratch + math.prod(self.shape) * self.itemsize
        self._programs = Programs(scratch)

    @staticmethod
    def applies(problem: ConvProblem) -> bool:
        """Whether this plan can compute the gradient, and suits it."""
        c = unfolded(problem)
        fits = c.steps <= machine().isa.registers - _SPARE
        return fits and FlatLines.applies(c, problem.itemsize)

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        unit = self.c.steps * self.vector * self.itemsize
        return Stage(
            flat_weight_kernel(self.itemsize),
            self.workers,
            **tile_flat_products(self.itemsize, self.mr, *self.tile_shape),
            **self.constants(),
            multiply_one=tile_flat_products(self.itemsize, 1, *self.tile_shape)["multiply"],
            blocks=self.blocks,
            copy_bytes=self.period * unit,
            unit_bytes=unit,
            period=self.period,
        )

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
        dy = dense(dy)
        sums = np.empty(self.shape, dw.dtype)
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
