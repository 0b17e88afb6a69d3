"""What ``depthwise`` has in the vector lanes, and how many rows of outputs make a task.

A *unit* is what is summed together.  Channels-last it is a vector of neighbouring outputs: with one
channel and one filter to a group they read the same vector of the input.  With a few of each, every
channel of a group is *dealt* to the lanes of its filters (:mod:`fastconv.simd.dealing`), one vector
for each input of the sum.  In the other memory order it is a group, whose rows run along the lanes,
or, where rows are short, a vector of neighbouring outputs again, transposed on the way in and out.

Units that are read and written in place are whole: if need be the last one begins before the one
before it ends, and computes some outputs again.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.correlation import Correlation
from fastconv.simd.dealing import dealable
from fastconv.simd.vector import lanes

from .planes import Planes

FEWEST_ROWS = 4


def along_rows(c: Correlation, memory_format: str, itemsize: int, gain: float) -> bool:
    """Whether rows run along the lanes; transposed, outputs would take ``1 / gain`` of the time."""
    if memory_format == "nhwc" or c.channels * c.filters > 1:
        return memory_format == "nchw"
    vector, row = lanes(itemsize), c.columns.outputs
    full = row / round_up(row, vector)
    if row < vector:  # results are summed elsewhere and copied
        full /= 2
    return full >= gain * c.groups / round_up(c.groups, vector)


class Units:
    """What runs in the lanes: vectors of outputs, or of pixels of a row (``splat``)."""

    def __init__(self, c: Correlation, memory_format: str, itemsize: int, splat: bool):
        vector = lanes(itemsize)
        several = c.channels * c.filters > 1
        self.splat = splat
        self.side_by_side = memory_format == "nhwc"  # in memory
        self.dealt = several and not self.splat and dealable(c.channels, c.filters, vector)
        self.lanes = 1 if self.splat else vector
        self.filters = 1 if self.dealt else c.filters  # vectors of outputs, one after the other
        self.channels = c.groups * c.filters // self.filters  # lanes of all units
        self.count = -(-self.channels // self.lanes)
        self.last = (self.count - 1) * self.lanes  # first lane of the last unit
        self.whole = self.channels % self.lanes == 0
        single = self.side_by_side and not self.splat and not several
        self.can_overlap = single and self.channels >= self.lanes
        self.nbytes = self.lanes * itemsize
        # What is packed at once: neighbouring channels of the input, and how many times.
        self.inputs = self.lanes // c.filters * c.channels if self.dealt else self.lanes
        self.sets = 1 if self.dealt else c.channels
        self.all_inputs = c.groups * c.channels // self.sets
        self.undealt = self.inputs * itemsize if self.dealt else 0  # bytes of a pixel
        self.dealing = (c.channels, c.filters) if self.dealt else (1, 1)

    @property
    def in_order(self) -> int:
        """Units of which each begins where the one before it ends."""
        return self.last // self.lanes + 1

    def end_together(self) -> None:
        """The last unit ends with the last channel."""
        self.last = self.channels - self.lanes

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """``values[channel, ...]`` as ``[unit, ..., lane]``, filled up with zeros."""
        if self.splat:
            return np.ascontiguousarray(values)
        if self.channels < self.count * self.lanes:
            padded = np.zeros((self.count * self.lanes, *values.shape[1:]), values.dtype)
            padded[: self.channels] = values
            values = padded
        units = values.reshape(self.count, self.lanes, *values.shape[1:])
        return np.ascontiguousarray(units.transpose(0, *range(2, units.ndim), 1))


def rows_in_cache(c: Correlation, units: Units, vector_bytes: int) -> int:
    """Output rows to a task: their planes and sums, or all their pixels, fit half the L2 cache.

    The units of a channels-last pixel lie side by side, so a task takes one after the other while
    the rows are in the cache.
    """
    one, two = (Planes([c], rows, units, vector_bytes) for rows in (1, 2))
    row = two.nbytes - one.nbytes + c.columns.outputs * units.nbytes
    halo = one.nbytes
    if units.side_by_side:
        pixels = c.rows.advance * c.columns.inputs * units.count * units.nbytes
        row, halo = max(row, pixels), max(halo, c.rows.window * pixels // c.rows.advance)
    return even_split(c.rows.outputs, max(FEWEST_ROWS, (machine().l2 // 2 - halo) // row))


def rows_in_order(c: Correlation, units: Units, outputs: int, together: int) -> int:
    """Output rows to a task that reads and writes channels-last pixels in place.

    Those of the units that come ``together`` fit a quarter of the L2 cache, with ``outputs`` pixels
    to a row of the result; what the processor fetches ahead needs room too.
    """
    pixel = min(units.count, together) * units.nbytes
    row = (c.rows.advance * c.columns.inputs + outputs) * pixel
    halo = c.rows.window * c.rows.spread * c.columns.inputs * pixel
    return even_split(c.rows.outputs, max(FEWEST_ROWS, (machine().l2 // 2 - halo) // (2 * row)))
