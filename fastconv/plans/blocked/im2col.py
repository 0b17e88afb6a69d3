"""``im2col`` for a correlation: tiles of columns, gathered into panels, against panels of filters.

Block by block of channels, the input window of a block of output pixels is copied into padded rows
(:mod:`fastconv.gemm.windows`).  From there the columns of a *strip* of pixel tiles are gathered,
one chunk of terms at a time, and multiplied by the same terms of all filters; the sums wait in
scratch for the next chunk.  The whole column matrix never exists.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.tiling import channel_block, even_split
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tiles import tile_rows

from .correlation import LARGEST_WINDOW, BlockedCorrelation
from .im2col_kernel import im2col_kernel

_PANEL_BYTES = 48 << 10  # filters of one tile between two spills of the accumulators


class Im2colCorrelation(BlockedCorrelation):
    gathers = True
    pixels_per_task = 576

    def _choose_block(self, x_format: str) -> int:
        """Channels that share a window: enough for a chunk, fewer if dilated windows are huge."""
        c = self.c
        self.chunk_terms = min(TERMS, _PANEL_BYTES // (self.width * self.itemsize))
        if c.rows.window * c.columns.window == 1:
            block = even_split(c.channels, self.chunk_terms)
        else:
            block = channel_block(c.channels, self.vector)
        tile = self._positions(1, min(c.columns.outputs, self.mr)) * self.itemsize
        return min(block, max(1, LARGEST_WINDOW // tile))

    def _arrange(self) -> None:
        c = self.c
        taps = c.columns.window
        self.joined = (
            taps if self.columns.spread == 1 and self.block * taps <= self.chunk_terms else 1
        )
        run = self.joined * self.block
        self.runs = c.rows.window * taps // self.joined
        self.chunk = even_split(self.runs, self.chunk_terms // run)
        terms = self.chunk * run
        self.pitch = odd_lines((terms + self.vector) * self.itemsize)  # what is copied goes beyond
        self.panel_bytes = self.mr * self.pitch
        # Either the chunk's filters or its columns can wait in L2 for their next use.
        cache = machine().l2 // 2
        filters = self.filters.tiles * terms * self.width * self.itemsize
        tiles = min(self.most // self.mr, cache // self.panel_bytes)
        self.strip = 1 if filters <= cache else max(1, tiles)

    def _window_bytes(self, n: int, i: int, j: int) -> int:
        return n * self._positions(i, j) * self.block * self.itemsize

    def _worker_bytes(self) -> int:
        """Gathers read and write up to a vector beyond their operands."""
        row = self.width * self.itemsize
        panels = self.strip * self.panel_bytes + self.vector * self.itemsize
        self.partial_bytes = 0
        if self.filters.n_blocks > 1 or self.chunk < self.runs:
            self.partial_bytes = -(-self.filters.tiles // self.splits) * self.most * row
        window = self._window_bytes(*self.share) + self.vector * self.itemsize
        tables = 16 * self.mr + self.strip * 16 * (1 + self.chunk) + 64
        return aligned(tables + panels + self.mr * row + self.partial_bytes + window)

    def _reading(self, x_strides) -> np.ndarray:
        pixel = self.block * self.itemsize
        line = self.columns.extent * pixel
        return self.pixels.reading(
            self.rows.extent * line, self.rows.advance * line, self.columns.advance * pixel
        )

    def _make_stage(self) -> Stage:
        return Stage(
            im2col_kernel(self.itemsize),
            self.workers,
            **self._constants(),
            **tile_rows(self.itemsize, self.mr, self.nv),
            w_block=self.filters.block_bytes,
            window_rows=self.c.rows.window,
            window_columns=self.c.columns.window,
            row_spread=self.rows.spread,
            column_spread=self.columns.spread,
            joined=self.joined,
            chunk=self.chunk,
            pitch=self.pitch,
            **self.pixels.words,
            strip=self.strip,
            partial_bytes=self.partial_bytes,
        )
