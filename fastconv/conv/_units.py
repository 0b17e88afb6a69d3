"""What ``depthwise`` has in the vector lanes, and how many rows of outputs make a task."""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.gemm.tiling import even_split
from fastconv.simd.vector import lanes

from ._planes import Planes
from .correlation import Correlation

_FEWEST_ROWS = 4


class Units:
    """What runs in the lanes: vectors of channels (channels-last), or rows of single channels."""

    def __init__(self, channels: int, memory_format: str, itemsize: int):
        self.splat = memory_format == "nchw"
        self.lanes = 1 if self.splat else lanes(itemsize)
        self.count = -(-channels // self.lanes)
        self.channels = channels
        self.nbytes = self.lanes * itemsize

    def arranged(self, values: np.ndarray) -> np.ndarray:
        """``values[channel, ...]`` as ``[unit, ..., lane]``, filled up with zeros."""
        if self.splat:
            return np.ascontiguousarray(values)
        padded = np.zeros((self.count * self.lanes, *values.shape[1:]), values.dtype)
        padded[: self.channels] = values
        return np.ascontiguousarray(
            np.moveaxis(padded.reshape(self.count, self.lanes, *values.shape[1:]), 1, -1)
        )


def rows_in_cache(c: Correlation, units: Units, vector_bytes: int) -> int:
    """Output rows to a task: their planes and sums, or all their pixels, fit half the L2 cache.

    The units of a channels-last pixel lie side by side, so a task takes one after the other while
    the rows are in the cache.
    """
    one, two = (Planes([c], rows, units.nbytes, vector_bytes) for rows in (1, 2))
    row = two.nbytes - one.nbytes + c.columns.outputs * units.nbytes
    halo = one.nbytes
    if not units.splat:
        pixels = c.rows.advance * c.columns.inputs * units.count * units.nbytes
        row, halo = max(row, pixels), max(halo, c.rows.window * pixels // c.rows.advance)
    return even_split(c.rows.outputs, max(_FEWEST_ROWS, (machine().l2 // 2 - halo) // row))


def rows_in_order(c: Correlation, units: Units, outputs: int) -> int:
    """Output rows to a task that reads and writes channels-last pixels in place.

    The rows it works on and those it fetches, with ``outputs`` pixels to a row of the result,
    share half the L2 cache.
    """
    pixel = units.count * units.nbytes
    row = (c.rows.advance * c.columns.inputs + outputs) * pixel
    halo = c.rows.window * c.rows.spread * c.columns.inputs * pixel
    return even_split(c.rows.outputs, max(_FEWEST_ROWS, (machine().l2 // 2 - halo) // (2 * row)))
