"""Planes: the input of a depthwise convolution cut up so that every tap is one offset.

A *unit* is what runs in the vector lanes: one vector of channels (channels-last) or one channel
whose rows run along the lanes.  The padded input of a unit is split by phase, ``h mod advance`` and
``w mod advance``, so that neighbouring outputs read neighbouring positions at any stride.
Buffer layout: ``[input of the sum][row phase][column phase][row][column]``.
"""

from __future__ import annotations

import numpy as np

from ._pixels import reach
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
        self.shape = [e + r // axis.advance for e, r, axis in zip(extent, reach, axes, strict=True)]
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


class TapTables:
    """How the output vectors of a depthwise correlation are grouped into register tiles.

    For each block of ``rows`` output rows: the vectors (i, j), tile after tile, and groups of tiles
    that share their taps.  Vectors are sorted by their windows along the axes named in ``exact``;
    along the others every vector takes all taps, and reads the zeros that pad the planes.
    """

    def __init__(self, c: Correlation, rows: int, columns: np.ndarray, mr: int, exact: str):
        row_reach, column_reach = reach(c.rows), reach(c.columns)
        if "rows" not in exact:
            row_reach = np.tile([0, c.rows.window], (c.rows.outputs, 1))
        if "columns" not in exact:
            column_reach = np.tile([0, c.columns.window], (c.columns.outputs, 1))
        vectors, windows, blocks = [], [], [0]
        tiles = [0]
        for first in range(0, c.rows.outputs, rows):
            size = min(rows, c.rows.outputs - first)
            i, j = (a.ravel() for a in np.meshgrid(np.arange(size), columns, indexing="ij"))
            ends = np.hstack([row_reach[first + i], column_reach[j]])
            kinds, which = np.unique(ends, axis=0, return_inverse=True)
            for number, window in enumerate(kinds):
                members = np.flatnonzero(which.ravel() == number)
                count = -(-len(members) // mr)
                members = members[np.minimum(np.arange(count * mr), len(members) - 1)]
                vectors.append(np.stack([i[members], j[members]], axis=-1))
                windows.append(window)
                tiles.append(tiles[-1] + count)
            blocks.append(len(windows))
        self.vectors = np.concatenate(vectors)
        self.windows = windows
        self.group_tiles = np.array(tiles, np.int64)  # group g has tiles [g] … [g + 1]
        self.block_groups = np.array(blocks, np.int64)  # block b has groups [b] … [b + 1]
        areas = [(bottom - top) * (right - left) for top, bottom, left, right in windows]
        self.products = mr * int(np.diff(tiles) @ areas)  # vectors multiplied in one plane
        self.mr = mr

    def offsets(self, row: int, column: int) -> np.ndarray:
        """Byte offset of every vector, from the strides of rows and columns."""
        return (self.vectors @ np.array([row, column])).astype(np.int64)

    def taps(self, x_offsets: np.ndarray, weight_bytes: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (offset in x, offset in the weights); group g has pairs [g] … [g + 1]."""
        w_offsets = np.arange(x_offsets.size).reshape(x_offsets.shape) * weight_bytes
        lists, ends = [], [0]
        for top, bottom, left, right in self.windows:
            inside = (slice(None), slice(top, bottom), slice(left, right))
            lists.append(np.stack([x_offsets[inside].ravel(), w_offsets[inside].ravel()], axis=-1))
            ends.append(ends[-1] + len(lists[-1]))
        return np.concatenate(lists).astype(np.int64), np.array(ends, np.int64)
