"""``im2col``'s weight gradient."""

from __future__ import annotations

import os
import numpy as np

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import choose_tile, even_split, round_up, workers_for
from fastconv.simd.vector import lanes

from ._direct_weight import DirectWeight
from ._direct_weight_kernel import weight_sum_kernel
from ._direct_correlation import Buffer
from ._im2col_weight_kernel import im2col_weight_kernel
from .correlation import unfolded

_MM = int(os.environ.get("MM", 288))
_PX = int(os.environ.get("PX", 224))
import fastconv.conv._direct_weight as _dw

class Im2colWeight(DirectWeight):
    def __init__(self, problem: ConvProblem, threads: int):
        _dw._PIXELS = _PX
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        self.vector = vector = lanes(self.itemsize)
        self.rows, self.columns = Buffer(c.rows), Buffer(c.columns)
        self.taps = c.rows.window * c.columns.window
        self.block = min(c.channels, round_up(even_split(c.channels, max(vector, _MM // self.taps)), vector))
        self.n_blocks = -(-c.channels // self.block)
        self.terms = self.taps * self.block
        self.mr, self.nv = choose_tile(self.terms, c.filters, vector)
        self.width = self.nv * vector
        self.tiles_m = -(-self.terms // self.mr)
        self.tiles_k = -(-c.filters // self.width)
        row = self.width * self.itemsize
        lines = aligned(self.terms * self.itemsize) // 64
        self.step = (lines | 1) * 64
        joined = c.columns.spread == 1
        r, s = np.meshgrid(np.arange(c.rows.window), np.arange(1 if joined else c.columns.window), indexing="ij")
        cols = self.columns.extent(c.columns.outputs)
        self.runs = ((r * c.rows.spread * cols + s * c.columns.spread) * self.block * self.itemsize).ravel().astype(np.int64)
        self.run_length = self.block * (c.columns.window if joined else 1)
        self.tap_bytes = 0
        self.block_bytes = self.tiles_m * self.mr * row
        self.units = c.groups * self.n_blocks * self.tiles_k
        self.copy_bytes = self.units * self.block_bytes
        self._share(problem, threads)
        self.worker_bytes = self._worker_bytes(row)
        self.sum_bytes = aligned(self.taps * row)
        self.workers = self.copies * self.parts
        self.nbytes = self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, threads * self.sum_bytes
        )
        self._stages(threads)

    def _worker_bytes(self, row: int) -> int:
        n, i, j = self.task_n, self.task_i, self.c.columns.outputs
        window = (n * self.rows.extent(i) * self.columns.extent(j) * self.block + self.vector) * self.itemsize
        gradient = self.tiles_k * n * i * j * row
        panel = n * i * j * self.step + self.vector * self.itemsize
        return aligned(8 * self.mr + row + window + panel + gradient + 256)

    def _stages(self, threads: int) -> None:
        c = self.c
        self.multiply = Stage(
            im2col_weight_kernel(self.itemsize, self.mr, self.nv),
            self.workers,
            scratch_bytes=self.worker_bytes,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            parts=self.parts,
            units=self.units,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_n=self.task_n,
            task_i=self.task_i,
            tasks_i=-(-c.rows.outputs // self.task_i),
            blocks=self.blocks,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            buffer_rows=self.rows.extent(self.task_i),
            buffer_columns=self.columns.extent(c.columns.outputs),
            runs=address(self.runs), n_runs=len(self.runs), run_length=self.run_length, step=self.step,
            tiles_m=self.tiles_m,
            tiles_k=self.tiles_k,
            n_blocks=self.n_blocks,
        )
        self.add = Stage(
            weight_sum_kernel(self.itemsize),
            workers_for(8 * self.copy_bytes, self.units, threads),
            tasks=self.units,
            scratch_bytes=self.sum_bytes,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            taps=self.taps,
            across=self.taps,
            joined=1,
            block_bytes=self.block_bytes,
            tap_bytes=0,
            tile=self.width,
            tiles_k=self.tiles_k,
            n_blocks=self.n_blocks,
            block=self.block,
            channels=c.channels,
            filters=c.filters,
        )
        self.x_window = self._window(
            c.channels, self.block, c.rows.inputs, c.columns.inputs, c.rows.first,
            c.columns.first, self.rows.source, self.columns.source,
        )  # fmt: skip
        self.dy_window = self._window(
            c.filters, self.width, c.rows.outputs, c.columns.outputs, 0, 0, 1, 1
        )
