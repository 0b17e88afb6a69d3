"""The tiles of minimal filtering along the lines of a correlation with few channels."""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core.machine import machine
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.correlation import Correlation
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

_MOST_TERMS = 512  # of a sum
_MOST_CHANNELS = 2  # vectors of them
_SPARE = 3  # registers beside sums and weights, or LLVM spills


class _Tile(NamedTuple):
    """A register tile: multiply-adds that it is worth, tiles of a line × vectors of filters."""

    time: float
    mt: int
    nv: int


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
        """Whether channels are few, sums short, and outputs of a line side by side."""
        few = c.channels <= _MOST_CHANNELS * lanes(itemsize) and c.steps <= _MOST_TERMS
        return few and not c.folded and c.columns.spread == c.columns.step == 1

    def rows(self, outputs: int) -> int:
        """Rows of the input that so many rows of outputs reach."""
        axis = self.c.rows
        return (outputs - 1) * axis.advance + (axis.window - 1) * axis.spread + 1

    def tile(self, vector: int) -> _Tile:
        """The register tile that does best on a line."""
        t, filters = self.tiling, -(-self.c.filters // vector)
        # Of an output, what begins it, what judges it, a ReLU.
        outputs = axis_instructions(OUTPUT, t.m_columns, t.r_columns) + 3 * t.m_columns
        found = []
        for nv in range(1, min(filters, 4) + 1):
            most = (machine().isa.registers - _SPARE - nv) // (nv * t.columns)
            if most < 1:
                continue
            mt = even_split(self.across, most)
            # A vector takes the time of an fma to load, an element less.
            loads = t.columns * (nv + 0.75 * mt)
            step = max(mt * nv * t.columns, loads, FEWEST_SUMS) + 0.25 * loads
            calls = -(-self.across // mt) * -(-filters // nv)
            found.append(_Tile(calls * (self.depth * step + mt * nv * outputs), mt, nv))
        return min(found)

    def effort(self, vector: int, itemsize: int, weight: bool) -> Effort:
        """What the steps take; nothing leaves the cache but the outputs, which registers map."""
        c, t, lines = self.c, self.tiling, self.c.N * self.c.groups * self.c.rows.outputs
        positions = c.N * c.groups * round_up(self.rows(c.rows.outputs) * self.pitch, vector)
        # Separated, loaded, mapped and stored.
        inputs = axis_instructions(INPUT, t.m_columns, t.r_columns) + 3 * (t.columns + t.m_columns)
        inputs *= positions // vector * self.terms
        filters = self.depth * -(-c.filters // vector) * c.groups
        maps = filters * map_instructions(WEIGHT, t)
        return Effort(int(lines * self.tile(vector).time), inputs, maps, 0)
