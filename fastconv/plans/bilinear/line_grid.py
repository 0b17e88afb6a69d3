"""The tiles of minimal filtering along the lines of a correlation with few channels."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from fastconv.core.machine import machine
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.correlation import Correlation
from fastconv.plans.lines.line import channels_are_few, results_are_near
from fastconv.simd.taps import FEWEST_SUMS
from fastconv.simd.vector import lanes
from fastconv.transforms.tile_map import (
    INPUT,
    OUTPUT,
    WEIGHT,
    Tiling,
    axis_instructions,
    map_instructions,
)

from .grid import Effort

_SPARE = 3  # registers beside sums and weights, or LLVM spills


class _RegisterTiles(NamedTuple):
    """Of a line: so many tiles × vectors of filters each; the line's time, in multiply-adds.

    ``wide`` of them have ``mt`` tiles, ``narrow`` have one less.
    """

    time: float
    mt: int
    nv: int
    wide: int
    narrow: int


class LineGrid:
    """Tiles of the lines of outputs, whose maps leave the rows of a window to be summed."""

    def __init__(self, c: Correlation, tiling: Tiling):
        self.c = c
        self.tiling = tiling
        # Every row of a window is a phase.
        self.advance = self.phases = [c.rows.window, c.columns.advance]
        self.terms = self.phases[1] * c.channels
        self.depth = c.rows.window * self.terms
        self.across = -(-c.columns.outputs // tiling.m_columns)
        # Tiles that have a part in what the last one reads.
        self.pitch = self.across + (tiling.columns - 1) // tiling.m_columns

    @staticmethod
    def applies(c: Correlation, itemsize: int) -> bool:
        """Whether channels are few, and what a line reads and writes is side by side."""
        straight = c.columns.spread == c.columns.step == c.rows.step == 1
        return channels_are_few(c, itemsize) and straight and not c.folded

    def near(self, itemsize: int, planes: bool) -> bool:
        """Whether the windows of lines stay in the cache, and these on their way to planes."""
        if self.window_bytes(1, itemsize) > machine().l2 // 2:
            return False
        vector = lanes(itemsize)
        return not planes or results_are_near(self.c, itemsize, self.register_tiles(vector).nv)

    def stretches(self, rows: int, itemsize: int) -> tuple[int, int, int]:
        """Of a task of so many rows: bytes of its window, and from one residue to the next of the
        elements of a tile, from one component to the next."""
        line = self._positions(rows, lanes(itemsize)) * itemsize
        beyond = self.pitch * itemsize  # which a map reads with the last tiles
        return aligned(line * self.elements), odd_lines(line + beyond), odd_lines(line)

    def window_bytes(self, rows: int, itemsize: int) -> int:
        """Scratch for a task of so many rows."""
        window, residue, component = self.stretches(rows, itemsize)
        components = self.terms * self.tiling.columns * component
        return aligned(window + self.elements * residue + components)

    def task_rows(self, most: int, itemsize: int) -> int:
        """Rows of a task, evenly shared, whose windows stay in the cache."""
        rows = range(1, most + 1)
        near = bisect_right(rows, machine().l2 // 4, key=lambda n: self.window_bytes(n, itemsize))
        return even_split(self.c.rows.outputs, near)

    @property
    def elements(self) -> int:
        """Of a line from a tile to the next one."""
        return self.tiling.m_columns * self.c.columns.advance * self.c.channels

    def _positions(self, rows: int, vector: int) -> int:
        """Tiles of the window of so many rows, in whole vectors."""
        return round_up(self.c.rows.reach(rows) * self.pitch, vector)

    def register_tiles(self, vector: int) -> _RegisterTiles:
        """The register tiles that do best on a line."""
        t, filters = self.tiling, -(-self.c.filters // vector)
        # Of an output, what begins it, what judges it, a ReLU.
        outputs = axis_instructions(OUTPUT, t.m_columns, t.r_columns) + 3 * t.m_columns

        def time(mt: int, nv: int) -> float:
            # A vector takes the time of an fma to load, an element less.
            loads = t.columns * (nv + 0.75 * mt)
            step = max(mt * nv * t.columns, loads, FEWEST_SUMS) + 0.25 * loads
            return self.depth * step + mt * nv * outputs

        found = []
        for nv in range(1, min(filters, 4) + 1):
            most = (machine().isa.registers - _SPARE - nv) // (nv * t.columns)
            if most < 1:
                continue
            calls = -(-self.across // most)
            mt = -(-self.across // calls)
            narrow = calls * mt - self.across
            wide = calls - narrow
            line = wide * time(mt, nv) + (narrow * time(mt - 1, nv) if narrow else 0)
            found.append(_RegisterTiles(line * -(-filters // nv), mt, nv, wide, narrow))
        return min(found)

    def effort(self, vector: int, itemsize: int, weight: bool) -> Effort:
        """What the steps take; nothing leaves the cache but the outputs, which registers map."""
        c, t, images = self.c, self.tiling, self.c.N * self.c.groups
        rows = self.task_rows(c.rows.outputs, itemsize)
        vectors = images * -(-c.rows.outputs // rows) * self._positions(rows, vector) // vector
        # Separated, loaded, mapped and stored.
        inputs = axis_instructions(INPUT, t.m_columns, t.r_columns) + 3 * (t.columns + t.m_columns)
        filters = self.depth * -(-c.filters // vector) * c.groups
        return Effort(
            int(images * c.rows.outputs * self.register_tiles(vector).time),
            vectors * self.terms * inputs,
            filters * map_instructions(WEIGHT, t),
            0,
        )
