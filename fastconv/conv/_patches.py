"""How the outputs of a depthwise weight gradient are cut into patches that share their taps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.simd.taps import PATCH

from ._pixels import reach
from ._strips import stretches
from .correlation import Correlation

_PATCH_COST = 4  # loads that take the time of loading and storing one sum
_ROW_COST = 8  # and of starting a row


class Patch(NamedTuple):
    """Outputs (rows × columns) that meet the taps at these places of the flattened filter."""

    row: int  # counted from the block's first
    rows: int
    column: int
    columns: int
    taps: np.ndarray


class Place(NamedTuple):
    """Byte offsets: the first output's window in x, taps [(c·R + r)·S + s], and the sum of no tap.

    Steps from output to output (down a row, along it) in x and y; the bytes of a vector there and
    what a block's rows fetch: an offset in x and y, the pixels and the step between them.
    """

    x_first: int
    taps: np.ndarray
    no_tap: int
    x_step: np.ndarray
    y_step: np.ndarray
    vector: int
    fetches: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))  # (offset, pixels) in x and in y
    fetch_step: int = 0


class Patches:
    """The patches of every block of ``rows`` output rows, for tiles of ``mr`` taps.

    If ``exact``, a patch has only taps that are inside the input; else all outputs have all taps,
    and read the zeros that pad the planes.  ``lanes`` outputs of a row are in a vector.
    """

    def __init__(self, c: Correlation, rows: int, lanes: int, mr: int, exact: bool):
        self.c, self.lanes, self.mr = c, lanes, mr
        windows = [
            reach(axis) if exact else np.tile([0, axis.window], (axis.outputs, 1))
            for axis in (c.rows, c.columns)
        ]
        filters = np.arange(c.steps).reshape(c.channels, c.rows.window, c.columns.window)
        self.patches: list[Patch] = []
        ranges: dict[bytes, tuple[int, int]] = {}  # equal blocks share their patches
        blocks = []
        for first in range(0, c.rows.outputs, rows):
            down, across = windows[0][first : first + rows], windows[1]
            key = down.tobytes()
            if key not in ranges:
                start = len(self.patches)
                for i, below in stretches(down):
                    for j, after in stretches(across):
                        taps = filters[:, slice(*down[i]), slice(*across[j])].ravel()
                        self.patches += [
                            Patch(i, below - i, j, after - j, taps[t : t + mr])
                            for t in range(0, len(taps), mr)
                        ]
                ranges[key] = (start, len(self.patches))
            blocks.append(ranges[key])
        self.ranges = list(ranges.values())
        self.blocks = np.array(blocks, np.int64)  # block b has patches [b, 0] … [b, 1]
        # Vectors multiplied for one unit, and the time in loads of vectors.
        works = np.array([self._work(patch) for patch in self.patches]).reshape(-1, 2)
        totals = np.array([works[first:last].sum(axis=0) for first, last in blocks])
        self.products, self.time = int(totals[:, 0].sum()), float(totals[:, 1].sum())

    def _work(self, p: Patch) -> tuple[int, float]:
        """Products of vectors in a patch, and their time."""
        vectors = p.rows * -(-p.columns // self.lanes)
        time = vectors * (self.mr + 1) + _ROW_COST * p.rows + _PATCH_COST * self.mr
        return self.mr * vectors, time

    def tables(self, place: Place) -> tuple[np.ndarray, list[np.ndarray]]:
        """The records of all patches (see ``PATCH``), and the arrays that they point at."""
        records = np.zeros((len(self.patches), len(PATCH)), np.int64)
        taps = np.zeros((len(self.patches), self.mr), np.int64)
        targets = np.full_like(taps, place.no_tap)
        for first_patch, last in self.ranges:
            some = range(first_patch, last)
            total, number = sum(self.patches[k].rows for k in some), 0
            for k in some:
                p = self.patches[k]
                taps[k] = place.taps[p.taps[0]]
                taps[k, : len(p.taps)] = place.taps[p.taps]
                targets[k, : len(p.taps)] = p.taps * place.vector
                corner, steps = np.array([p.row, p.column]), (place.x_step, place.y_step)
                fetch = []
                for first, pixels in place.fetches:
                    lines = -(-pixels // total)
                    fetch += [first + number * lines * place.fetch_step, lines]
                number += p.rows
                count, tail = divmod(p.columns, self.lanes)
                (xh, xw), (yh, yw) = steps
                records[k] = (
                    taps[k].ctypes.data, targets[k].ctypes.data, p.rows, count, tail,
                    place.x_first + corner @ place.x_step, xh, xw * self.lanes,
                    corner @ place.y_step, yh, yw * self.lanes, *fetch, place.fetch_step,
                )  # fmt: skip
        return records, [taps, targets]
