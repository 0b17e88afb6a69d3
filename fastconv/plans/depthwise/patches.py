"""How the outputs of a depthwise weight gradient are cut into patches that share their taps.

Neighbouring taps of a filter's row form a *run*, which shares its loads of x
(:class:`fastconv.simd.taps.TapTile`).  A run of a short window may reach out of it: it reads there
but its sums are dropped.  Where a tile slides, a run takes all columns of an image's rows, and
leaves out the steps at which it is beyond their ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from fastconv.core.machine import machine
from fastconv.plans.correlation import Correlation
from fastconv.simd.taps import FEWEST_SUMS, PATCH, TapTile

from .strips import stretches, tap_windows, total

_PATCH_COST = 4  # multiply-adds that take the time of loading and storing one sum
_ROW_COST = 8  # and of starting a row
_LOAD_COST = 0.5  # and of a load
_FAR_LOAD_COST = 2  # from the second-level cache
LANE_TERMS = 256  # of the sums of a patch, in one lane
_LONGEST_RUN = 8
_MOST_RUNS = 12  # of a tile: the addresses of more do not fit the registers
_CHUNKS = (8, 4, 2)  # outputs that share their loads of x


def _time(tile: TapTile, outputs: int, load_cost: float = _LOAD_COST) -> float:
    """Of one chunk, in multiply-adds."""
    places = outputs if tile.slides else len(tile.shared(outputs))
    loads = tile.filters * outputs + tile.runs * places
    return outputs * max(tile.filters * tile.sums, FEWEST_SUMS) + load_cost * loads


@cache
def tap_tile(
    rows: int, columns: int, advance: int, spread: int, alone: bool, filters: int = 1,
    outputs: int = LANE_TERMS,
) -> TapTile:  # fmt: skip
    """The tile for windows of ``rows`` × ``columns`` taps; ``alone`` allows no run of several.

    Filters are all served by tiles of one kind.  A row has so many ``outputs``, or more.
    """
    registers = machine().isa.registers
    longest = 1 if alone else min(columns, _LONGEST_RUN)
    tiles = []
    for together in (f for f in range(1, registers // 2) if filters % f == 0):
        most = min(_MOST_RUNS, registers // 2, (registers - 1) // together - 1)
        tiles += [TapTile(runs, 1, 1, filters=together) for runs in range(1, most + 1)]
    slides = advance == spread == 1
    if slides:
        longest = min(longest, outputs + 1)
    for taps in range(2, longest + 1):
        for chunk in (taps,) if slides else _CHUNKS:
            most = min(rows, _MOST_RUNS, (registers - chunk - 1) // taps)
            tiles += [TapTile(runs, taps, chunk, advance, spread) for runs in range(1, most + 1)]

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
    before: int = 0  # steps at either end at which a run that slides is outside the input
    after: int = 0


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
    y_filter: int
    sums_filter: int
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
    at ``most`` so many rows and columns.  ``possible`` says that tiles can run the patches, and
    read nothing outside.  ``far`` data has left the first-level cache when it is read again.
    """

    def __init__(
        self, c: Correlation, rows: int, lanes: int, tile: TapTile, exact: bool,
        most: tuple[int, int] | None = None, far: bool = False,
    ):  # fmt: skip
        self.c, self.rows, self.lanes, self.tile, self.exact = c, rows, lanes, tile, exact
        self.load_cost = _FAR_LOAD_COST if far else _LOAD_COST
        self.most = most or (c.rows.outputs, c.columns.outputs)
        self.patches: list[Patch] = []
        ranges: dict[bytes, tuple[int, int]] = {}  # equal blocks share their patches
        blocks = []
        all_down = tap_windows(c.rows, exact)
        across = tap_windows(c.columns, exact and not tile.slides)
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
        if tile.slides:
            self.possible = all(p.columns >= tile.taps - 1 for p in self.patches)
        else:
            self.possible = not exact or c.columns.inputs >= tile.taps * c.columns.spread
        # Vectors multiplied for one unit, and the time in multiply-adds.
        works = [self._work(patch) for patch in self.patches]
        self.products, self.time = total(works, self.blocks)

    def _cut(self, i: int, below: int, j: int, after: int) -> Iterator[tuple[int, int, int, int]]:
        """Rows i … below and columns j … after in pieces whose sums are short: as in a patch."""
        rows, columns = self.most
        columns = min(after - j, LANE_TERMS * self.lanes, columns)
        rows = min(rows, max(1, LANE_TERMS * self.lanes // columns))
        ends = [*range(j, after, columns), after]
        if self.tile.slides:  # over pieces that are about as long as others
            parts = len(ends) - 1
            ends = [j + (after - j) * part // parts for part in range(parts + 1)]
        for row, (column, end) in product(range(i, below, rows), pairwise(ends)):
            yield row, min(rows, below - row), column, end - column

    def _tiles(self, outputs: tuple[int, int, int, int], down, across) -> Iterator[Patch]:
        """The patches of outputs that meet the taps ``down`` × ``across``: a tile of runs each."""
        rows = list(product(range(self.c.channels), range(*down)))
        runs = _runs(*across, self.tile.taps)
        if not self.tile.slides:
            yield from self._of_runs(outputs, product(rows, runs))
            return
        for run in runs:
            row, n_rows, column, columns = outputs
            column, columns, before, after = self._inside(column, columns, run[0])
            if columns > 0:
                some = product(rows, [run])
                yield from self._of_runs((row, n_rows, column, columns), some, before, after)

    def _of_runs(self, outputs, runs, before: int = 0, after: int = 0) -> Iterator[Patch]:
        window, tile = self.c.rows.window, self.tile
        found, taps = [], []
        for (channel, r), (start, first, last) in runs:
            row = (channel * window + r) * self.c.columns.window
            found.append((channel, r, start))
            places = range(start, start + tile.taps)
            taps += [row + s if first <= s < last else -1 for s in places]
        for k in range(0, len(found), tile.runs):
            of = taps[k * tile.taps :][: tile.sums]
            yield Patch(*outputs, found[k : k + tile.runs], of, before, after)

    def _inside(self, column: int, columns: int, start: int) -> tuple[int, int, int, int]:
        """Of these outputs those that meet a run inside the input, and its steps outside it."""
        if not self.exact:
            return column, columns, 0, 0
        axis, last = self.c.columns, self.tile.taps - 1
        first = axis.first + start  # where the first output meets the first tap
        column, end = max(column, -first - last), min(column + columns, axis.inputs - first)
        beyond = first + end - 1 + last - (axis.inputs - 1)
        return column, end - column, max(0, -first - column), max(0, beyond)

    def _work(self, p: Patch) -> tuple[int, float]:
        """Products of vectors in a patch for a filter, and their time."""
        tile = self.tile
        vectors = -(-p.columns // self.lanes)
        chunks, rest = divmod(vectors, tile.outputs)
        row = chunks * _time(tile, tile.outputs, self.load_cost) + _ROW_COST
        row += rest * _time(tile, 1, self.load_cost)
        # The taps, of each run, that the steps at the ends of a row leave out.
        left_out = tile.runs * sum(n * (n + 1) // 2 for n in (p.before, p.after))
        time = p.rows * (row / tile.filters - left_out) + _PATCH_COST * tile.sums
        return p.rows * (tile.sums * vectors - left_out), time

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
            if tile.slides:
                count -= tile.taps - 1
                assert count >= 0, "a row has the outputs of its ends"
            records[k] = (
                starts[k].ctypes.data, targets[k].ctypes.data,
                p.rows, *divmod(count, tile.outputs), tail, p.before, p.after,
                place.x_first + p.row * place.x_pitch + p.column * place.x_step,
                place.x_pitch, neighbour * self.lanes,
                p.row * place.y_pitch + p.column * place.y_step,
                place.y_pitch, place.y_step * self.lanes, place.y_filter, place.sums_filter, 0, 0,
            )  # fmt: skip
        self._find_next(records, place)
        return records, [starts, targets]

    def _find_next(self, records: np.ndarray, place: Place) -> None:
        """How much further the next patch of each is: behind a block's last comes a block below.

        Blocks of padding alone have no patches.
        """
        for name, pitch in (("x", place.x_pitch), ("y", place.y_pitch)):
            first, next_ = (PATCH.index(f"{name}_{word}") for word in ("first", "next"))
            for low, high in np.unique(self.blocks, axis=0):
                at = records[low:high, first]
                records[low:high, next_] = np.diff(at, append=at[:1] + self.rows * pitch)
