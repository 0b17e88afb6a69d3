"""How the outputs of depthwise correlations are cut into strips, register tiles of one dimension.

The vectors of a strip are equally spaced along one axis, and so are the taps of a chunk; where both
spacings are the same in the input, ``lcm(advance, spread)``, a loaded vector serves every tap of
the chunk.  So a strip takes every ``spread / gcd``-th output, a chunk every ``advance / gcd``-th
tap.  Where vectors hold neighbours of a row, no whole vector separates the taps of a row, and
chunks of it are single taps.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd
from typing import NamedTuple

import numpy as np

from fastconv.core.address import address
from fastconv.plans.correlation import Axis, Correlation
from fastconv.plans.pixels import reach
from fastconv.simd.taps import CHUNK, FEWEST_SUMS, GROUP_WORDS, STRIP_WORDS, deepest

_STRIP_COST = 12  # multiply-adds that take the time of starting and storing a strip
_UNSHARED = 1.6  # the time of a multiply-add with a load of its own


class Group(NamedTuple):
    """Strips of one part that share their taps."""

    part: int
    window: tuple[int, int, int, int]  # taps top, bottom, left, right
    axis: int  # along which strips run: 0 down the rows, 1 along them
    size: int
    corners: np.ndarray  # [strip, 2]: the first output of each, its row counted from the block's


class Place(NamedTuple):
    """Where a part is in the arrays: byte offsets, and steps (down a row, along it)."""

    x_first: int  # the first output's window
    x_step: np.ndarray  # from output to output
    x_taps: np.ndarray  # [input, r, s]
    w_first: int
    y_first: int
    y_step: np.ndarray


def _spacing(axis: Axis) -> tuple[int, int]:
    """Outputs between the vectors of a strip, taps between those of a chunk."""
    common = gcd(axis.advance, axis.spread)
    return axis.spread // common, axis.advance // common


def _cover(n: int, sizes: tuple[int, ...]) -> dict[int, np.ndarray]:
    """By size, the first of strips that cover ``n`` vectors; the last may overlap others."""
    found, at = {}, 0
    for size in sizes:
        firsts = np.arange(at, n - size + 1, size)
        at += len(firsts) * size
        if n >= size and n - at > size // 2:
            firsts, at = np.append(firsts, n - size), n
        if len(firsts):
            found[size] = firsts
    return found


def tap_windows(axis: Axis, exact: bool) -> np.ndarray:
    """[output] → its first tap and the one after its last: all of them, or those inside."""
    return reach(axis) if exact else np.tile([0, axis.window], (axis.outputs, 1))


def stretches(reached: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 of the stretches of equal rows of ``reached``."""
    changes = np.flatnonzero(np.any(reached[1:] != reached[:-1], axis=1)) + 1
    ends = [0, *changes.tolist(), len(reached)]
    return list(pairwise(ends))


def total(works: list[tuple[int, float]], blocks: np.ndarray) -> tuple[int, float]:
    """Products and time of all blocks, each of which has the works of a range [low, high)."""
    until = np.vstack([(0, 0), np.cumsum(np.reshape(works, (-1, 2)), axis=0)])
    products, time = (until[blocks[:, 1]] - until[blocks[:, 0]]).sum(axis=0)
    return int(products), float(time)


class Strips:
    """The groups of every block of ``rows`` output rows, over all ``parts``.

    ``exact`` names the axes along which every output takes only the taps that are inside the
    input; along the others all take all taps, and read the zeros that pad the planes.
    ``lanes`` is the number of neighbouring outputs of a row in a vector; ``in_order`` says that
    strips are summed for several units.
    """

    def __init__(
        self, parts: list[Correlation], rows: int, lanes: int, sizes, exact: str, in_order: bool
    ):
        self.parts, self.lanes, self.sizes, self.in_order = parts, lanes, sizes, in_order
        self.groups: list[Group] = []
        windows = [
            (tap_windows(c.rows, "rows" in exact), tap_windows(c.columns, "columns" in exact))
            for c in parts
        ]
        ranges: dict[tuple[bytes, ...], tuple[int, int]] = {}  # equal blocks share their groups
        blocks = []
        for first in range(0, max(c.rows.outputs for c in parts), rows):
            below = [down[first : first + rows] for down, _ in windows]
            key = tuple(down.tobytes() for down in below)
            if key not in ranges:
                start = len(self.groups)
                for part, (down, (_, across)) in enumerate(zip(below, windows, strict=True)):
                    self._add_block(part, down, across)
                ranges[key] = (start, len(self.groups))
            blocks.append(ranges[key])
        self.blocks = np.array(blocks, np.int64)  # block b has groups [b, 0] … [b, 1]
        # Vectors multiplied for one unit, and the time in such multiplications.
        works = [self._work(group) for group in self.groups]
        self.products, self.time = total(works, self.blocks)

    def _work(self, g: Group) -> tuple[int, float]:
        """Products of vectors in a group, and their time."""
        taps = (g.window[1] - g.window[0]) * (g.window[3] - g.window[2])
        strips = len(g.corners)
        return strips * g.size * taps, self._time(strips, g.size, taps, g.axis)

    def _time(self, count: int, size: int, taps: int, axis: int) -> float:
        """``count`` strips along ``axis``, in multiply-adds of vectors."""
        load = _UNSHARED if size == 1 or (axis and self.lanes > 1) else 1
        sums = size * deepest(size) if self.in_order else size
        products = taps * size * max(1, FEWEST_SUMS / sums)
        return count * (_STRIP_COST + load * products)

    def _add_block(self, part: int, down: np.ndarray, across: np.ndarray) -> None:
        """The outputs of a part in a block, from the windows of its rows and of all columns."""
        for i in stretches(down) if len(down) else ():
            for j in stretches(across):
                window = (*down[i[0]].tolist(), *across[j[0]].tolist())
                self._add(part, window, i, j)

    def _add(self, part: int, window, i: tuple[int, int], j: tuple[int, int]) -> None:
        """The outputs ``i`` × ``j``, by strips along whichever axis takes less time.

        Better down the rows: strip after strip, their lines then are read in order.
        """
        choices = [self._strips(part, axis, i, j) for axis in (1, 0)]
        taps = (window[1] - window[0]) * (window[3] - window[2])

        def time(axis: int) -> float:
            strips = choices[1 - axis].items()
            return sum(self._time(len(corners), size, taps, axis) for size, corners in strips)

        axis = min((0, 1), key=time)
        for size, corners in choices[1 - axis].items():
            self.groups.append(Group(part, window, axis, size, corners))

    def _strips(self, part: int, axis: int, i: tuple[int, int], j: tuple[int, int]) -> dict:
        """By size, the first outputs of the strips along ``axis`` that cover ``i`` × ``j``."""
        c, lanes = self.parts[part], self.lanes
        columns = np.arange(*j, lanes)
        columns = np.minimum(columns, max(j[0], j[1] - lanes))
        ranges = (np.arange(*i), columns)
        if axis and lanes > 1:
            whole = (j[1] - j[0]) // lanes
            runs = [run for run in (columns[:whole], columns[whole:]) if len(run)]
        else:
            every = _spacing((c.rows, c.columns)[axis])[0]
            runs = [ranges[axis][first::every] for first in range(every)]
        found: dict[int, list] = {}
        for run in runs:
            for size, firsts in _cover(len(run), self.sizes).items():
                others = ranges[1 - axis]  # whose windows overlap most: one after the other
                pair = np.repeat(run[firsts], len(others)), np.tile(others, len(firsts))
                found.setdefault(size, []).append(np.stack(pair[::-1] if axis else pair, axis=-1))
        return {size: np.concatenate(corners) for size, corners in found.items()}

    def chunks(self, group: Group) -> list[np.ndarray]:
        """Chunks of 1, 2, … CHUNK taps: rows (r, s) of their first taps."""
        c = self.parts[group.part]
        top, bottom, left, right = group.window
        along = (top, bottom) if group.axis == 0 else (left, right)
        every = _spacing((c.rows, c.columns)[group.axis])[1]
        if group.axis and self.lanes > 1:
            every = max(1, along[1] - along[0])
        found: list[list] = [[] for _ in range(CHUNK)]
        for other in range(left, right) if group.axis == 0 else range(top, bottom):
            for residue in range(every):
                taps = range(along[0] + residue, along[1], every)
                parts = -(-len(taps) // CHUNK)
                for some in np.array_split(taps, parts) if parts else ():
                    first = (some[0], other) if group.axis == 0 else (other, some[0])
                    found[len(some) - 1].append(first)
        return [np.array(some, np.int64).reshape(-1, 2) for some in found]

    def tables(self, places: list[Place], weight_bytes: int):
        """The records of all groups (see ``GROUP``), and the arrays that they point at."""
        records = np.zeros((len(self.groups), GROUP_WORDS), np.int64)
        kept = []
        for record, group in zip(records, self.groups, strict=True):
            place, chunks = places[group.part], self.chunks(group)
            corners = np.concatenate([group.corners, group.corners[-1:]])
            strips = np.zeros((len(corners), STRIP_WORDS), np.int64)
            strips[:, 0] = place.x_first + corners @ place.x_step
            strips[:, 1] = place.y_first + corners @ place.y_step
            taps, tap_step = self._taps(group, chunks, place, weight_bytes)
            kept += [strips, taps]
            c = self.parts[group.part]
            every = self._every(group)
            record[:] = (
                address(strips), len(group.corners), address(taps),
                every * place.x_step[group.axis], tap_step, every * place.y_step[group.axis],
                *(c.channels * len(some) for some in chunks),
            )  # fmt: skip
        return records, kept

    def _every(self, group: Group) -> int:
        """Outputs from one vector of a strip to the next."""
        if group.axis and self.lanes > 1:
            return self.lanes
        return _spacing(self._axis(group))[0]

    def _axis(self, group: Group) -> Axis:
        c = self.parts[group.part]
        return (c.rows, c.columns)[group.axis]

    def _taps(self, group: Group, chunks: list[np.ndarray], place: Place, weight_bytes: int):
        """Offsets in x and the weights of the first taps of all chunks, the longest first.

        With them the step in the weights from tap to tap of a chunk.
        """
        c = self.parts[group.part]
        shape = (c.channels, c.rows.window, c.columns.window)
        first = np.concatenate(chunks[::-1])
        lengths = np.repeat(np.arange(CHUNK, 0, -1), [len(some) for some in chunks[::-1]])
        inputs = np.arange(c.channels)[:, None]
        index = np.ravel_multi_index((inputs, *first.T), shape)
        taps = np.stack([place.x_taps.reshape(-1)[index], index * weight_bytes], axis=-1)
        taps[..., 1] += place.w_first
        # All inputs of a length follow one another.
        order = np.argsort(np.tile(-lengths, c.channels), kind="stable")
        gap = _spacing(self._axis(group))[1] * (shape[2] if group.axis == 0 else 1)
        return taps.reshape(-1, 2)[order], gap * weight_bytes
