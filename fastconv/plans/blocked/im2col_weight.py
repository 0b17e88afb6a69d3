"""``im2col``'s weight gradient: one matrix product of the gathered columns and dy."""

from __future__ import annotations

import numpy as np

from fastconv.core.workspace import odd_lines
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.pixels import whole_reach

from .weight import BlockedWeight


class Im2colWeight(BlockedWeight):
    gathers = True

    def _choose_products(self) -> None:
        """All taps of a block of channels, so many that the columns of its pixels stay in L2."""
        c = self.c
        taps = c.rows.window * c.columns.window
        block = even_split(c.channels, self._most_channels(taps))
        self.block = min(c.channels, round_up(block, self.vector))
        self.joined, self.stretches = taps, 1
        self.products = (1, 1)
        self.reach = (whole_reach(c.rows), whole_reach(c.columns))

    def _arrange(self) -> None:
        c = self.c
        pixel = self.block * self.itemsize
        taps = c.columns.window if self.columns.spread == 1 else 1  # of a row, that make one run
        down = np.arange(c.rows.window)[:, None] * self.rows.spread * self.columns.extent
        across = np.arange(0, c.columns.window, taps) * self.columns.spread
        self.terms = ((down + across) * pixel).ravel().astype(np.int64)
        self.term_length = taps * self.block
        self.pixel_step = odd_lines(self.joined * pixel)
