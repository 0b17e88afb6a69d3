"""``direct``'s weight gradient: one matrix product for each tap, or for a row of taps."""

from __future__ import annotations

import numpy as np

from fastconv.gemm.tiling import channel_block, exact_tile, tile_score

from ._blocked_weight import BlockedWeight
from .correlation import Axis

_JOINING_GAIN = 1.1  # joined taps cannot leave out the pixels that meet the padding


def _tap_reach(axis: Axis) -> np.ndarray:
    """The outputs [low, high) that each tap of an axis reads from inside the input."""
    first = axis.first + np.arange(axis.window) * axis.spread
    low = np.maximum(0, -(first // axis.advance))
    high = np.minimum(axis.outputs, (axis.inputs - 1 - first) // axis.advance + 1)
    return np.stack([low, np.maximum(low, high)], axis=-1).astype(np.int64)


def _whole(axis: Axis) -> np.ndarray:
    """The reach of taps that make one product: joined, they cannot leave out any output."""
    return np.array([[0, axis.outputs]], np.int64)


class DirectWeight(BlockedWeight):
    def _choose_products(self) -> None:
        """The taps, or those of a row, are joined into one product if the channels are few."""
        c = self.c
        self.block = channel_block(c.channels, self.vector)
        down, across = c.rows.window, c.columns.window
        rows, columns = _tap_reach(c.rows), _tap_reach(c.columns)
        self.joined, self.stretches = 1, 1
        if c.columns.spread == 1:
            single = tile_score(self.block, c.filters, self.vector)
            gain = tile_score(self.block * across, c.filters, self.vector) / single
            if down * across > 1 and self._fits_one_tile():
                self.joined, self.stretches = down * across, down
                rows, columns = _whole(c.rows), _whole(c.columns)
            elif gain > _JOINING_GAIN:
                self.joined = across
                columns = _whole(c.columns)
        self.reach = (rows, columns)
        self.products = (len(rows), len(columns))

    def _fits_one_tile(self) -> bool:
        """Whether one register tile has a row for every tap of every channel."""
        c = self.c
        rows = c.rows.window * c.columns.window * c.channels
        return exact_tile(rows, c.filters, self.vector) is not None

    def _choose_tile(self) -> None:
        if self.stretches == 1:
            super()._choose_tile()
            return
        self.mr, self.nv = exact_tile(self.joined * self.block, self.c.filters, self.vector)
