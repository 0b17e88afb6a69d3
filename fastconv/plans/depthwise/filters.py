"""Filters of depthwise correlations, a channel to a group: ``[vector of channels][tap][lane]``."""

from __future__ import annotations

import numpy as np

from fastconv.core.workspace import aligned
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters
from fastconv.simd.vector import lanes


class DepthwiseFilters(PackedFilters):
    """The taps of all ``parts``, which read the same input, one part after the other.

    To packing, the channels are filters of one group, to which w gives one each.  The last vector
    begins at channel ``last``.
    """

    def __init__(self, parts: list[Correlation], itemsize: int, last: int, threads: int):
        joined = parts[0]._replace(groups=1, filters=parts[0].groups, forward=True)
        super().__init__(joined, itemsize, lanes(itemsize), 1, threads)
        self.last = last
        self.taps = np.concatenate([part.tap_table() for part in parts], axis=1)
        self.block_bytes = self.tile_bytes = self.taps.shape[1] * self.width * itemsize
        self.nbytes = self.bias_bytes + aligned(self.tiles * self.tile_bytes)
