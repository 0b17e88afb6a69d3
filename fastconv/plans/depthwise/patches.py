"""How the outputs of a depthwise weight gradient are cut into patches that share their taps.

Neighbouring taps of a filter's row form a *run*, which shares its loads of x
(:class:`fastconv.simd.taps.TapTile`).  A run of a short window may reach out of it: it reads there
but its sums are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from fastconv.core.machine import machine
from fastconv.plans.correlation import Axis, Correlation
from fastconv.plans.pixels import reach
from fastconv.simd.taps import FEWEST_SUMS, PATCH, TapTile

from .strips import stretches

_PATCH_COST = 4  # multiply-adds that take the time of loading and storing one sum
_ROW_COST = 8  # and of starting a row
_LOAD_COST = 0.5  # and of a load
_TERMS = 256  # of the sums of a patch, in one lane
_LONGEST_RUN = 8
_MOST_RUNS = 12  # of a tile: the addresses of more do not fit the registers
_CHUNKS = (8, 4, 2)  # outputs that share their loads of x


def _time(tile: TapTile, outputs: int) -> float:
    """Of one chunk, in multiply-adds."""
    loads = tile.filters * outputs + tile.runs * len(tile.shared(outputs))
    return outputs * max(tile.filters * tile.sums, FEWEST_SUMS) + _LOAD_COST * loads


@cache
def tap_tile(
    rows: int, columns: int, advance: int, spread: int, alone: bool, filters: int = 1
) -> TapTile:
    """The tile for windows of ``rows`` × ``columns`` taps; ``alone`` allows no run of several.

    Filters are all served by tiles of one kind.
    """
    registers = machine().isa.registers
    longest = 1 if alone else min(columns, _LONGEST_RUN)
    tiles = []
    for together in (f for f in range(1, registers // 2) if filters % f == 0):
        most = min(_MOST_RUNS, registers // 2, (registers - 1) // together - 1)
        tiles += [TapTile(runs, 1, 1, filters=together) for runs in range(1, most + 1)]
    for taps, outputs in product(range(2, longest + 1), _CHUNKS):
        most = min(rows, _MOST_RUNS, (registers - outputs - 1) // taps)
        tiles += [TapTile(runs, taps, outputs, advance, spread) for runs in range(1, most + 1)]

    def time(tile: TapTile) -> float:
        runs = rows * -(-columns // tile.taps)
        return -(-runs // tile.runs) * _time(tile, tile.outputs) / (tile.outputs * tile.filters)

    return min(tiles, key=time)


class Patch(NamedTuple):
    """Outputs (rows × columns) that meet these taps of the filter."""

    row: int  # counted from the block's first
    rows: int
    column: int
    columns: int
    runs: list[tuple[int, int, int]]  # channel, row and first column, which may be outside
    taps: list[int]  # places in the flattened filter, one after the other; −1 for none


class Place(NamedTuple):
    """Byte offsets: the first output's window in x, taps [c, r, s], and the sum of no tap.

    Steps from output to output (down a row, along it) in x and y, from filter to filter in y and in
    the sums, and the bytes of a vector there.
    """

    x_first: int
    taps: np.ndarray
    no_tap: int
    x_pitch: int
    x_step: int
    y_pitch: int
    y_step: int
    y_next: int
    sums_next: int
    vector: int


def _runs(low: int, high: int, length: int) -> list[tuple[int, int, int]]:
    """Runs that cover the taps low … high of a row: (first tap of the run, its taps from … to).

    The last one starts earlier rather than reach out; where the window is too short for that, it
    reaches out on the side that is not the image's border.
    """
    found = []
    for first in range(low, high, length):
        last = min(first + length, high)
        start = first
        if last - first < length and (high - low >= length or low == 0):
            start = last - length
        found.append((start, first, last))
    return found


class Patches:
    """The patches of every block of ``rows`` output rows, for tiles of one kind.

    If ``exact``, a patch has only taps that are inside the input; else all outputs have all taps,
    and read the zeros that pad the planes.  ``lanes`` outputs of a row are in a vector; a patch has
    at most ``columns``.
    """

    def __init__(
        self, c: Correlation, rows: int, lanes: int, tile: TapTile, exact: bool,
        columns: int | None = None,
    ):  # fmt: skip
        self.c, self.lanes, self.tile = c, lanes, tile
        self.columns = columns or c.columns.outputs

        def windows(axis: Axis) -> np.ndarray:
            return reach(axis) if exact else np.tile([0, axis.window], (axis.outputs, 1))

        self.patches: list[Patch] = []
        ranges: dict[bytes, tuple[int, int]] = {}  # equal blocks share their patches
        blocks = []
        all_down, across = windows(c.rows), windows(c.columns)
        for first in range(0, c.rows.outputs, rows):
            down = all_down[first : first + rows]
            key = down.tobytes()
            if key not in ranges:
                start = len(self.patches)
                for i, below in stretches(down):
                    for j, after in stretches(across):
                        for outputs in self._cut(i, below, j, after):
                            self.patches += self._tiles(outputs, down[i], across[j])
                ranges[key] = (start, len(self.patches))
            blocks.append(ranges[key])
        self.blocks = np.array(blocks, np.int64)  # block b has patches [b, 0] … [b, 1]
        # Vectors multiplied for one unit, and the time in multiply-adds.
        works = np.array([self._work(patch) for patch in self.patches]).reshape(-1, 2)
        totals = np.array([works[first:last].sum(axis=0) for first, last in blocks])
        self.products, self.time = int(totals[:, 0].sum()), float(totals[:, 1].sum())

    def _cut(self, i: int, below: int, j: int, after: int) -> Iterator[tuple[int, int, int, int]]:
        """Rows i … below and columns j … after in pieces whose sums are short: as in a patch."""
        columns = min(after - j, _TERMS * self.lanes, self.columns)
        rows = max(1, _TERMS * self.lanes // columns)
        for row, column in product(range(i, below, rows), range(j, after, columns)):
            yield row, min(rows, below - row), column, min(columns, after - column)

    def _tiles(self, outputs: tuple[int, int, int, int], down, across) -> list[Patch]:
        """The patches of outputs that meet the taps ``down`` × ``across``: a tile of runs each."""
        c, tile = self.c, self.tile
        runs, taps = [], []
        for channel, r in product(range(c.channels), range(*down)):
            row = (channel * c.rows.window + r) * c.columns.window
            for start, first, last in _runs(*across, tile.taps):
                runs.append((channel, r, start))
                places = range(start, start + tile.taps)
                taps += [row + s if first <= s < last else -1 for s in places]
        size = tile.sums
        return [
            Patch(*outputs, runs[k : k + tile.runs], taps[k * tile.taps : k * tile.taps + size])
            for k in range(0, len(runs), tile.runs)
        ]

    def _work(self, p: Patch) -> tuple[int, float]:
        """Products of vectors in a patch for a filter, and their time."""
        tile = self.tile
        chunks, rest = divmod(-(-p.columns // self.lanes), tile.outputs)
        row = chunks * _time(tile, tile.outputs) + rest * _time(tile, 1) + _ROW_COST
        vectors = chunks * tile.outputs + rest
        time = p.rows * row / tile.filters + _PATCH_COST * tile.sums
        return tile.sums * p.rows * vectors, time

    def tables(self, place: Place) -> tuple[np.ndarray, list[np.ndarray]]:
        """The records of all patches (see ``PATCH``), and the arrays that they point at."""
        tile, last = self.tile, self.c.columns.window - 1
        neighbour = place.x_step // tile.advance
        records = np.zeros((len(self.patches), len(PATCH)), np.int64)
        starts = np.zeros((len(self.patches), tile.runs), np.int64)
        targets = np.full((len(self.patches), tile.sums), place.no_tap)
        for k, p in enumerate(self.patches):
            for i in range(tile.runs):
                channel, r, s = p.runs[min(i, len(p.runs) - 1)]
                inside = min(max(s, 0), last)
                out = (s - inside) * tile.spread * neighbour
                starts[k, i] = place.taps[channel, r, inside] + out
            taps = np.array(p.taps)
            targets[k, : len(taps)] = np.where(taps < 0, place.no_tap, taps * place.vector)
            count, tail = divmod(p.columns, self.lanes)
            records[k] = (
                starts[k].ctypes.data, targets[k].ctypes.data,
                p.rows, *divmod(count, tile.outputs), tail,
                place.x_first + p.row * place.x_pitch + p.column * place.x_step,
                place.x_pitch, neighbour * self.lanes,
                p.row * place.y_pitch + p.column * place.y_step,
                place.y_pitch, place.y_step * self.lanes, place.y_next, place.sums_next,
            )  # fmt: skip
        return records, [starts, targets]
