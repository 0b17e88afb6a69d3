"""``direct``'s weight gradient: outer products of packed windows and packed output gradients.

Workers divide the units (group, block of channels, tile of filters) or the pixels.  Dividing the
pixels gives every worker sums of its own, added up at the end; that pays while they are small.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import (
    channel_block,
    choose_tile,
    even_split,
    tile_score,
    workers_for,
)
from fastconv.gemm.windows import window_record
from fastconv.simd.vector import lanes

from ._direct_correlation import Buffer
from ._direct_weight_kernel import weight_kernel, weight_sum_kernel
from .correlation import Axis, unfolded

_PIXELS = 224  # summed in one go: long enough to hide the loads and stores of the sums

_JOINING_GAIN = 1.1  # joined taps cannot leave out the pixels that meet the padding


def _tap_reach(axis: Axis) -> np.ndarray:
    """The outputs [low, high) that each tap of an axis reads from inside the input."""
    first = axis.first + np.arange(axis.window) * axis.spread
    low = np.maximum(0, -(first // axis.advance))
    high = np.minimum(axis.outputs, (axis.inputs - 1 - first) // axis.advance + 1)
    return np.stack([low, np.maximum(low, high)], axis=-1).astype(np.int64)


class DirectWeight:
    """``direct`` for one weight gradient: sizes, tables and the two stages (multiply, add up)."""

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        vector = lanes(self.itemsize)
        self.rows, self.columns = Buffer(c.rows), Buffer(c.columns)
        self.block = channel_block(c.channels, vector)
        self.n_blocks = -(-c.channels // self.block)
        self._choose_tile(vector)
        row = self.width * self.itemsize
        self.row_reach, self.column_reach = _tap_reach(c.rows), _tap_reach(c.columns)
        self.tap_bytes = self.tiles_m * self.mr * row
        taps = c.rows.window * (1 if self.joined else c.columns.window)
        self.block_bytes = taps * self.tap_bytes
        self.units = c.groups * self.n_blocks * self.tiles_k
        self.copy_bytes = self.units * self.block_bytes
        self._share(problem, threads)
        self.worker_bytes = self._worker_bytes(row)
        self.sum_bytes = aligned(c.rows.window * c.columns.window * row)
        self.workers = self.copies * self.parts
        self.nbytes = self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, threads * self.sum_bytes
        )
        self._stages(threads)

    @property
    def flops(self) -> int:
        """Executed, vectors and tiles filled up with zeros."""
        c = self.c
        tile = self.mr * self.width
        tiles = self.units * self.block_bytes // (tile * self.itemsize)
        return 2 * c.pixels * tiles * tile

    def _choose_tile(self, vector: int) -> None:
        """Tiles over the channels of one tap, or of a row of taps if the channels are few."""
        c = self.c
        joined = self.block * c.columns.window
        single = tile_score(self.block, c.filters, vector)
        gain = tile_score(joined, c.filters, vector) / single
        self.joined = c.columns.spread == 1 and gain > _JOINING_GAIN
        self.extent = joined if self.joined else self.block
        self.mr, self.nv = choose_tile(self.extent, c.filters, vector)
        self.width = self.nv * vector
        self.tiles_m = -(-self.extent // self.mr)
        self.tiles_k = -(-c.filters // self.width)

    def _share(self, problem: ConvProblem, threads: int) -> None:
        """Pixels to a block, and how workers divide pixels and units."""
        c = self.c
        n, i, j = 1, c.rows.outputs, c.columns.outputs
        if i * j > _PIXELS:
            i = even_split(i, max(1, _PIXELS // j))
        else:
            n = max(1, min(_PIXELS // (i * j), -(-c.N // threads)))
        self.task_n, self.task_i = n, i
        self.blocks = -(-c.N // n) * -(-c.rows.outputs // i)
        workers = workers_for(problem.flops, self.blocks * self.units, threads)
        if 2 * self.copy_bytes <= machine().l2 or self.units < workers:
            self.copies = min(workers, self.blocks)
            self.parts = min(self.units, workers // self.copies)
        else:
            self.parts = min(workers, self.units)
            self.copies = max(1, min(workers // self.parts, self.blocks))

    def _worker_bytes(self, row: int) -> int:
        n, i, j = self.task_n, self.task_i, self.c.columns.outputs
        window = n * self.rows.extent(i) * self.columns.extent(j) * self.block + self.mr
        gradient = self.tiles_k * n * i * j * row
        return aligned(8 * self.mr + row + 16 * n * i + window * self.itemsize + gradient + 192)

    def _stages(self, threads: int) -> None:
        c = self.c
        self.multiply = Stage(
            weight_kernel(self.itemsize, self.mr, self.nv),
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
            window_rows=c.rows.window,
            window_columns=c.columns.window,
            joined=self.joined,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            row_spread=self.rows.spread,
            column_spread=self.columns.spread,
            buffer_rows=self.rows.extent(self.task_i),
            buffer_columns=self.columns.extent(c.columns.outputs),
            row_reach=address(self.row_reach),
            column_reach=address(self.column_reach),
            extent=self.extent,
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
            taps=c.rows.window * c.columns.window,
            across=c.columns.window,
            joined=self.joined,
            block_bytes=self.block_bytes,
            tap_bytes=self.tap_bytes,
            tile=self.width,
            tiles_k=self.tiles_k,
            n_blocks=self.n_blocks,
            block=self.block,
            channels=c.channels,
            filters=c.filters,
        )
        vector = lanes(self.itemsize)
        self.x_window = window_record(
            c.channels, self.block, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), (self.rows.source, self.columns.source), vector,
        )  # fmt: skip
        self.dy_window = window_record(
            c.filters, self.width, (c.rows.outputs, c.columns.outputs), (0, 0), (1, 1), vector
        )

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> None:
        sums = scratch(self.nbytes)
        rest = sums + self.copies * self.copy_bytes
        x_window, dy_window = self.x_window.copy(), self.dy_window.copy()
        xn, xc, xh, xw = x.strides
        x_window[:6] = (address(x), xn, xc * self.c.channels, xc, xh, xw)
        yn, yk, yh, yw = dy.strides
        dy_window[:6] = (address(dy), yn, yk * self.c.filters, yk, yh, yw)
        self.multiply.run(
            scratch=rest, sums=sums, x_window=address(x_window), dy_window=address(dy_window)
        )
        dk, dc = dw.strides[:2]
        self.add.run(scratch=rest, sums=sums, dw=address(dw), dk=dk, dc=dc)
