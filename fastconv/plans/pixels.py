"""Tables of a block of output pixels: where each reads, where it writes, which taps it needs.

The kernel addresses every pixel by itself, so the pixels of a block may stand in any order.  They
are sorted so that those whose windows meet the padding in the same way share register tiles; a
tile then leaves out the taps that none of its pixels needs (on small images a tenth of the work).

All blocks of a plan share one table, but for the last ones along each axis, which may be smaller;
and blocks of a *kind*, whose windows meet the padding alike, share what says which taps tiles need.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from fastconv.core.once import made_once

from .correlation import Axis, Correlation


def _last(extent: int, share: int) -> int:
    """The share of the last block."""
    return extent - (-(-extent // share) - 1) * share


def reach(axis: Axis) -> np.ndarray:
    """The taps [low, high) that fall inside the input, for every output block of an axis."""
    first = axis.first + np.arange(axis.outputs) * axis.advance
    low = np.clip(-(first // axis.spread), 0, axis.window)
    high = np.minimum(axis.window, (axis.inputs - 1 - first) // axis.spread + 1)
    return np.stack([low, np.maximum(low, high)], axis=-1)


def tap_reach(axis: Axis) -> np.ndarray:
    """The other way round: the outputs [low, high) that each tap reads from inside the input."""
    first = axis.first + np.arange(axis.window) * axis.spread
    low = np.maximum(0, -(first // axis.advance))
    high = np.minimum(axis.outputs, (axis.inputs - 1 - first) // axis.advance + 1)
    return np.stack([low, np.maximum(low, high)], axis=-1).astype(np.int64)


def whole_reach(axis: Axis) -> np.ndarray:
    """That of a single tap, or of several together, that all outputs take."""
    return np.array([[0, axis.outputs]], np.int64)


def inside(c: Correlation) -> float:
    """The share of all taps of all outputs that fall inside the input."""
    found = 1.0
    for axis in (c.rows, c.columns):
        found *= np.ptp(tap_reach(axis), axis=-1).sum() / (axis.outputs * axis.window)
    return found


class Kinds(NamedTuple):
    """The blocks of an axis by what taps their outputs reach."""

    of: np.ndarray  # each block's kind
    first: np.ndarray  # each kind's first block
    count: np.ndarray  # of the blocks of each kind


def kinds(reached: np.ndarray, share: int) -> Kinds:
    """Those of blocks of ``share`` outputs that reach the taps ``reached``.

    The last block, which may be smaller, is a kind of its own; so are all whose outputs differ.
    """
    inner = -(-len(reached) // share) - 1
    outputs = reached[: inner * share].reshape(inner, share, 2)
    alike = (outputs == outputs[:, :1]).all(axis=(1, 2))
    # A number for every [low, high), and others for blocks that have no such.
    values = outputs[:, 0] @ (1 + reached.max(), 1)
    names = np.append(np.where(alike, values, -2 - np.arange(inner)), -1)
    _, first, of, count = np.unique(names, True, True, True)
    return Kinds(of, first, count)


class PixelTables:
    """The tables of a correlation cut into blocks of ``share`` (images, rows, columns).

    ``variants``: for each combination of (last?, last?, last?) along (n, i, j), the order of the
    block's pixels as rows (n, i, j).  ``windows[i-kind, j-kind, n-last, tile]``: the taps
    (top, bottom, left, right) that any pixel of that tile needs.
    """

    def __init__(self, c: Correlation, share: tuple[int, int, int], mr: int):
        self.mr = mr
        extents = (c.N, c.rows.outputs, c.columns.outputs)
        self.blocks = tuple(-(-e // s) for e, s in zip(extents, share, strict=True))
        last = tuple(_last(e, s) for e, s in zip(extents, share, strict=True))
        self.most = -(-int(np.prod(share)) // mr) * mr
        rows, columns = reach(c.rows), reach(c.columns)
        self.kinds = kinds(rows, share[1]), kinds(columns, share[2])
        self.variants = []
        shape = (*(len(k.first) for k in self.kinds), 2, self.most // mr, 4)
        self.windows = np.zeros(shape, np.int64)
        for which in product((0, 1), repeat=3):
            size = [last[k] if which[k] else share[k] for k in range(3)]
            # The windows of the block decide the order; inner blocks are all alike.
            places = [b - 1 if w else 0 for b, w in zip(self.blocks, which, strict=True)]
            i, j = places[1] * share[1], places[2] * share[2]
            order = self._order(size, rows[i : i + size[1]], columns[j : j + size[2]])
            self.variants.append(order)
            for kind in np.ndindex(self.windows.shape[:2]):
                ib, jb = (k.first[one] for k, one in zip(self.kinds, kind, strict=True))
                if (ib == self.blocks[1] - 1, jb == self.blocks[2] - 1) == which[1:]:
                    self._fill_windows(
                        self.windows[kind][which[0]],
                        rows[ib * share[1] + order[:, 1]],
                        columns[jb * share[2] + order[:, 2]],
                    )

    def _order(self, size, rows, columns) -> np.ndarray:
        """The pixels of a block: edge columns that fill tiles first, the rest row by row."""
        n, i, j = (a.ravel() for a in np.meshgrid(*map(np.arange, size), indexing="ij"))
        clipped = np.ptp(columns, axis=-1) < np.ptp(columns, axis=-1).max()
        edge = clipped[j] & (size[0] * size[1] >= self.mr)
        by_row = np.ptp(rows, axis=-1).min() < np.ptp(rows, axis=-1).max()
        inner = (j, n, i) if by_row else (j, i, n)
        keys = [np.where(edge, e, k) for e, k in zip((i, n, j), inner, strict=True)]
        return np.stack([n, i, j], axis=-1)[np.lexsort((*keys, ~edge))]

    def _fill_windows(self, windows, rows, columns) -> None:
        tiles = np.arange(0, len(rows), self.mr)
        windows[: len(tiles), 0] = np.minimum.reduceat(rows[:, 0], tiles)
        windows[: len(tiles), 1] = np.maximum.reduceat(rows[:, 1], tiles)
        windows[: len(tiles), 2] = np.minimum.reduceat(columns[:, 0], tiles)
        windows[: len(tiles), 3] = np.maximum.reduceat(columns[:, 1], tiles)

    @made_once
    def taps(self) -> int:
        """Taps of all pixels that tiles do not leave out, the last ones filled up."""
        found = 0
        (_, i, i_count), (_, j, j_count) = self.kinds
        for kind in np.ndindex(self.windows.shape[:2]):
            alike = i_count[kind[0]] * j_count[kind[1]]
            ends = 2 * (i[kind[0]] == self.blocks[1] - 1) + (j[kind[1]] == self.blocks[2] - 1)
            for last, images in enumerate((self.blocks[0] - 1, 1)):
                pixels = len(self.variants[4 * last + ends])
                top, bottom, left, right = self.windows[kind][last][: -(-pixels // self.mr)].T
                found += images * int(alike * ((bottom - top) * (right - left)).sum())
        return found * self.mr

    @property
    def words(self) -> dict[str, np.ndarray]:
        """The windows, and where those of a block of rows and of one of columns begin, in bytes."""
        (rows, *_), (columns, *_) = self.kinds
        return dict(
            windows=self.windows,
            row_kinds=rows * self.windows.strides[0],
            column_kinds=columns * self.windows.strides[1],
        )

    def reading(self, n_stride: int, i_stride: int, j_stride: int) -> np.ndarray:
        """Byte offsets [variant, pixel] of the pixels' windows, filled up to whole tiles."""
        strides = np.array([n_stride, i_stride, j_stride])
        table = np.zeros((len(self.variants), self.most), np.int64)
        for row, order in zip(table, self.variants, strict=True):
            row[: len(order)] = order @ strides
            row[len(order) :] = row[len(order) - 1]
        return table

    def writing(self, n_stride: int, i_stride: int, j_stride: int, steps) -> np.ndarray:
        """(byte offset, output row, output column) [variant, pixel], from the block's corner."""
        strides = np.array([n_stride, i_stride * steps[0], j_stride * steps[1]])
        table = np.zeros((len(self.variants), self.most, 3), np.int64)
        for row, order in zip(table, self.variants, strict=True):
            row[: len(order), 0] = order @ strides
            row[: len(order), 1:] = order[:, 1:] * steps
        return table
