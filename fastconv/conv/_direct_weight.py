"""``direct``'s weight gradient: one matrix product for each tap, or for a row of taps."""

from __future__ import annotations

import numpy as np

from fastconv.gemm.tiling import channel_block, tile_score

from ._blocked_weight import BlockedWeight
from .correlation import Axis

_JOINING_GAIN = 1.1  # joined taps cannot leave out the pixels that meet the padding


def _tap_reach(axis: Axis) -> np.ndarray:
    """The outputs [low, high) that each tap of an axis reads from inside the input."""
    first = axis.first + np.arange(axis.window) * axis.spread
    low = np.maximum(0, -(first // axis.advance))
    high = np.minimum(axis.outputs, (axis.inputs - 1 - first) // axis.advance + 1)
    return np.stack([low, np.maximum(low, high)], axis=-1).astype(np.int64)


class DirectWeight(BlockedWeight):
    def _choose_products(self) -> None:
        """The taps of a row are joined into one product if the channels are few."""
        c = self.c
        self.block = channel_block(c.channels, self.vector)
        single = tile_score(self.block, c.filters, self.vector)
        gain = tile_score(self.block * c.columns.window, c.filters, self.vector) / single
        columns = _tap_reach(c.columns)
        self.joined = 1
        if c.columns.spread == 1 and gain > _JOINING_GAIN:
            self.joined = c.columns.window
            columns = np.array([[0, c.columns.outputs]], np.int64)
        self.reach = (_tap_reach(c.rows), columns)
        self.products = (c.rows.window, len(columns))
