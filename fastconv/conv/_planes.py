"""Planes: the input of a depthwise convolution cut up so that every tap is one offset.

A *unit* is what runs in the vector lanes: one vector of channels (channels-last) or one channel
whose rows run along the lanes.  The padded input of a unit is split by phase, ``h mod advance`` and
``w mod advance``, so that neighbouring outputs read neighbouring positions at any stride.
Buffer layout: ``[input of the sum][row phase][column phase][row][column]``.
"""

from __future__ import annotations

import numpy as np

from .correlation import Correlation


class Planes:
    """The plane buffer of a correlation whose outputs come in blocks of ``rows`` rows."""

    def __init__(self, c: Correlation, rows: int, unit_bytes: int, vector_bytes: int):
        self.c = c
        self.unit_bytes = unit_bytes
        axes = (c.rows, c.columns)
        reach = [(axis.window - 1) * axis.spread for axis in axes]
        self.phases = [min(axis.advance, r + 1) for axis, r in zip(axes, reach, strict=True)]
        extent = (rows, c.columns.outputs)
        self.shape = [
            e + r // axis.advance for e, r, axis in zip(extent, reach, axes, strict=True)
        ]
        self.plane_bytes = self.shape[0] * self.shape[1] * unit_bytes
        self.set_bytes = self.phases[0] * self.phases[1] * self.plane_bytes
        # Tiles read on past the last output by up to a tile of vectors.
        self.nbytes = c.channels * self.set_bytes + 64 * vector_bytes

    def tap_offsets(self) -> np.ndarray:
        """Byte offset of every (input of the sum, r, s) in the buffer."""

        def along(axis):
            return np.divmod(np.arange(axis.window) * axis.spread, axis.advance)

        (row, row_phase), (column, column_phase) = along(self.c.rows), along(self.c.columns)
        plane = row_phase[:, None] * self.phases[1] + column_phase
        offset = plane * self.plane_bytes
        offset = offset + (row[:, None] * self.shape[1] + column) * self.unit_bytes
        sets = np.arange(self.c.channels) * self.set_bytes
        return (sets[:, None, None] + offset).astype(np.int64)
