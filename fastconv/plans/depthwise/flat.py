"""``depthwise`` for channels-last lines of few channels: lanes run over channels and pixels alike.

A line of pixels is a line of elements, of which taps are C apart, so vectors are full whatever C
is.  In a padded copy of the input no vector meets a border.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import SCRATCH, Program, Programs, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import even_split
from fastconv.plans.arrays import Setting, input_words, whole_lines
from fastconv.plans.correlation import Correlation
from fastconv.simd.tiles import tile_flat
from fastconv.simd.vector import lanes

from .flat_kernel import flat_kernel

_LINES = 4  # of a register tile
_MOST_TAPS = 49  # which the tile has one after the other
TASKS = 4  # for each thread


def _period(c: Correlation, itemsize: int) -> int:
    """Vectors that hold whole pixels."""
    return c.groups // math.gcd(c.groups, lanes(itemsize))


class FlatLines:
    """How the lines of a correlation are shared; its groups have one channel and one filter."""

    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.period = _period(c, itemsize)
        self.columns = c.columns.reach(c.columns.outputs)
        self._share(threads)
        self.worker_bytes = self._window_bytes(self.rows)

    @staticmethod
    def applies(c: Correlation, itemsize: int) -> bool:
        """Whether plans of such lines can run the correlation of channels-last pixels, and suit it.

        They suit channels that do not fill a vector, with all weights of a period near, and what a
        register tile reads.
        """
        weights = _period(c, itemsize) * c.steps * lanes(itemsize) * itemsize
        pixels = c.rows.reach(min(_LINES, c.rows.outputs)) * c.columns.reach(c.columns.outputs)
        return (
            c.columns.advance == c.columns.step == c.rows.step == 1
            and c.channels == c.filters == 1
            and c.groups < lanes(itemsize)
            and c.steps <= _MOST_TAPS
            and weights <= machine().l1 * 3 // 4
            and pixels * c.groups * itemsize <= machine().l2 // 2
        )

    def _share(self, threads: int) -> None:
        """Rows of a block, whose window stays in the cache, and lines of a tile."""
        c, rows = self.c, self.c.rows.outputs
        most = min(rows, max(_LINES, c.N * rows // (TASKS * threads)))
        while most > _LINES and self._window_bytes(most) > machine().l2 // 4:
            most = -(-most // 2)
        self.rows = even_split(rows, most)
        self.mr = even_split(self.rows, _LINES)
        self.blocks_i = -(-rows // self.rows)
        self.blocks = c.N * self.blocks_i

    def _window_bytes(self, rows: int) -> int:
        """Scratch of a worker: the last vector reaches beyond the last line."""
        pixels = self.c.rows.reach(rows) * self.columns
        return aligned((pixels * self.c.groups + self.vector) * self.itemsize)

    @property
    def tile_shape(self) -> tuple[int, int, int, int]:
        """Of the window that a register tile has: rows, taps, and how rows follow one another."""
        rows = self.c.rows
        return rows.window, self.c.columns.window, rows.advance, rows.spread

    def constants(self) -> dict[str, int]:
        """The arguments that both kernels take."""
        c, rows, columns = self.c, self.c.rows, self.c.columns
        pixel = c.groups * self.itemsize
        return dict(
            scratch_bytes=self.worker_bytes,
            row_advance=rows.advance,
            line=self.columns * pixel,
            tap=columns.spread * pixel,
            I=rows.outputs,
            block_i=self.rows,
            blocks_i=self.blocks_i,
            buffer_rows=rows.reach(self.rows),
            buffer_columns=self.columns,
            elements=columns.outputs * c.groups,
            **whole_lines(c, c.groups, self.vector),
        )

    @property
    def flops(self) -> int:
        """Executed."""
        return 2 * self.c.groups * self.c.pixels * self.c.steps


class FlatSum(FlatLines):
    """``depthwise`` for a correlation; the lines of its result have no gaps."""

    def __init__(self, c: Correlation, itemsize: int, threads: int):
        super().__init__(c, itemsize, threads)
        self.workers = workers_for(self.flops, self.blocks, threads, c.moved(itemsize))
        self.nbytes = self.workers * self.worker_bytes
        self._programs = Programs(self.nbytes)
        self._order: np.ndarray | None = None

    @property
    def outputs(self) -> int:
        """Outputs of one channel, over all images."""
        return self.c.pixels

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        unit = self.c.steps * self.vector * self.itemsize
        return Stage(
            flat_kernel(self.itemsize),
            self.workers,
            **tile_flat(self.itemsize, self.mr, *self.tile_shape),
            **self.constants(),
            tasks=self.blocks,
            last_w=(self.period - 1) * unit,
            vectors=-(-self.c.columns.outputs * self.c.groups // self.vector),
        )

    @made_once
    def _channels(self) -> np.ndarray:
        """That of every lane of the vectors of a period."""
        return np.arange(self.period * self.vector).reshape(self.period, -1) % self.c.groups

    @made_once
    def _no_bias(self) -> np.ndarray:
        return np.zeros(self._channels.shape, f"f{self.itemsize}")

    def _weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which of the weights (channel, 1, r, s) stand in ``[vector, r, s, lane]``."""
        if self._order is None:
            indices = np.arange(math.prod(shape)).reshape(shape[0], *shape[2:])
            taps = np.ix_(self.c.rows.taps[0], self.c.columns.taps[0])
            self._order = np.moveaxis(indices[:, *taps][self._channels], 1, -1)
        return self._order

    def run(self, x, w, y, bias, relu: bool) -> None:
        w = w.take(self._weights(w.shape))
        bias = self._no_bias if bias is None else bias.take(self._channels)
        s = Setting(x.strides, None, y.strides, True, relu)
        self._programs.run(s, lambda: self._program(s), x, w, y, bias)

    def _program(self, s: Setting) -> Program:
        """What computes y, of arrays of such strides."""
        at = operands()
        yn, _, yh, _ = s.y
        summing = self.stage.call(
            scratch=SCRATCH, relu=s.relu, w=at.second, bias=at.bias, x=at.first,
            **input_words(s.x, self.c.groups), y=at.out, yn=yn, yh=yh,
        )  # fmt: skip
        return Program([summing])
