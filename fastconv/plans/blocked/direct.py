"""``direct`` for a correlation: implicit GEMM over padded rows, or over the input in place.

Per block of output pixels the input window is copied once into channel-blocked rows
(:mod:`fastconv.gemm.windows`); then every tile of filters runs over every tile of pixels, whose
addresses serve as the rows of the left operand.  Vector lanes run over the output channels.
1×1 filters on channels-last data need no window: the pixels are rows as they stand.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import channel_block
from fastconv.plans.correlation import Correlation
from fastconv.plans.pixels import inside
from fastconv.simd.tiles import tile_rows

from .correlation import BlockedCorrelation
from .direct_kernel import direct_kernel

_FEW_PIXELS = 512  # in which packing all filters first would show
_FEW_FILTERS = 64  # for each thread
_MOSTLY_INSIDE = 0.9  # of the taps: to count those in the padding is not worth its time
_MOST_FILLED = 1.03  # times the pixels of a block that stays in the cache, in register tiles
_PANEL_BYTES = 128 << 10  # filters of one tile between two spills of the accumulators


def _runs_in_place(c: Correlation, x_format: str) -> bool:
    """Whether the pixels can be addressed where they are: 1×1, channels-last, no padding."""
    return (
        x_format == "nhwc"
        and c.rows.window * c.columns.window == 1
        and c.rows.inside
        and c.columns.inside
    )


def packs_filters_itself(c: Correlation, x_format: str, threads: int) -> bool:
    """Whether this plan is better even where others use 1×1 filters in place.

    They pack all filters before they begin, which takes long where pixels are few; this one has
    every task pack its own, if there are enough for all threads.  On planes most are read where
    they are (:mod:`fastconv.plans.pointwise.planes`).
    """
    few = x_format == "nhwc" and c.pixels <= _FEW_PIXELS
    return few and c.filters >= _FEW_FILTERS * threads


class DirectCorrelation(BlockedCorrelation):
    pixels_per_task = 768
    few_pixels = _FEW_PIXELS

    def _choose_block(self, x_format: str) -> int:
        self.in_place = _runs_in_place(self.c, x_format)
        return self.c.channels if self.in_place else channel_block(self.c.channels, self.vector)

    @property
    def chunk(self) -> int:
        """Blocks of channels between two spills of the accumulators."""
        return max(1, min(self.filters.n_blocks, _PANEL_BYTES // self.filters.block_bytes))

    def _window_bytes(self, n: int, i: int, j: int) -> int:
        if self.in_place:  # every tile of filters reads them again
            again = self.c.pixels > self.few_pixels and self.filters.tiles > 1
            return n * i * j * self.c.channels * self.itemsize if again else 0
        return n * self._positions(i, j) * self.chunk * self.block * self.itemsize

    def _may_have(self, n: int, i: int, j: int) -> bool:
        return not self.in_place or self._pixels_of(n, i, j) <= _MOST_FILLED * n * i * j

    def _arrange(self) -> None:
        """Where a tile of filters serves one task only, that packs it; the copy stays in L2."""
        self.packs = self.blocks == 1 and self.tasks >= self.filters.threads
        self.panel_bytes = aligned(self.chunk * self.filters.block_bytes) if self.packs else 0

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros.

        Where many taps are in the padding, what register tiles leave out of them is not counted,
        and what fills up the last tiles is.
        """
        c = self.c
        if inside(c) > _MOSTLY_INSIDE:
            return super().flops
        return super().flops * self.pixels.taps // (c.pixels * c.rows.window * c.columns.window)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of packing: none where it stays in the cache of the task."""
        return 0 if self.packs else super().packed_bytes

    def _worker_bytes(self) -> int:
        row = self.width * self.itemsize
        partial = 0
        if self.chunk < self.filters.n_blocks:
            partial = -(-self.filters.tiles // self.splits) * self.most * row
        runs = 16 * self.chunk * self.c.rows.window * self.c.columns.window
        tiles = self.mr * row + partial
        copied = 0 if self.in_place else self._window_bytes(*self.share)
        window = aligned(tiles + copied)
        return aligned(8 * self.mr + runs + 64 + window + self.panel_bytes)

    def _reading(self, x_strides) -> np.ndarray:
        if self.in_place:
            xn, _, xh, xw = x_strides
            return self.pixels.reading(xn, self.c.rows.advance * xh, self.c.columns.advance * xw)
        pixel = self.block * self.itemsize
        line = self.columns.extent * pixel
        image = self.chunk * self.rows.extent * line
        return self.pixels.reading(image, self.rows.advance * line, self.columns.advance * pixel)

    def _make_stage(self) -> Stage:
        return Stage(
            direct_kernel(self.itemsize),
            self.workers,
            **self._constants(),
            **tile_rows(self.itemsize, self.mr, self.nv),
            window_rows=self.c.rows.window,
            window_columns=self.c.columns.window,
            row_spread=self.rows.spread,
            column_spread=self.columns.spread,
            joined=self.columns.spread == 1,
            chunk=self.chunk,
            in_place=self.in_place,
            panel=self.worker_bytes - self.panel_bytes,
            **self.pixels.words,
        )
