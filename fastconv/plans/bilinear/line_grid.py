"""The tiles of minimal filtering along the lines of a correlation with few channels."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from fastconv.core.machine import machine
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.arrays import whole_lines
from fastconv.plans.correlation import Correlation
from fastconv.plans.lines.line import channels_are_few, near_lines, results_are_near
from fastconv.simd.interleaving import separator
from fastconv.simd.taps import FEWEST_SUMS
from fastconv.simd.vector import lanes
from fastconv.transforms.lines import line_map
from fastconv.transforms.tile_map import (
    GRADIENT,
    INPUT,
    OUTPUT,
    WEIGHT,
    WEIGHT_GRADIENT,
    Tiling,
    axis_instructions,
    map_cycles,
)

from .grid import Effort

_SPARE = 3  # registers beside sums, weights or components, or LLVM spills


class _RegisterTiles(NamedTuple):
    """Of a line: so many tiles × vectors of filters each; the line's time, in multiply-adds.

    ``wide`` of them have ``mt`` tiles, ``narrow`` have one less.
    """

    time: float
    mt: int
    nv: int
    wide: int
    narrow: int


class _SumTile(NamedTuple):
    """What a weight gradient sums at once: so many components × terms of all rows of a window; a
    tile's time × vector of filters, in multiply-adds."""

    time: float
    components: int
    terms: int


class LineGrid:
    """Tiles of the lines of outputs, whose maps leave the rows of a window to be summed."""

    streams = True  # see :class:`.TileGrid`

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

    def window(self, rows: int, itemsize: int) -> dict[str, int]:
        """The arguments of :data:`.line_window.LINE_WINDOW` for tasks of so many rows."""
        c, t, vector = self.c, self.tiling, lanes(itemsize)
        window, residue, component = self.stretches(rows, itemsize)
        return dict(
            task_i=rows,
            fetches_lines=c.read(itemsize) > machine().l2 and c.groups == 1,
            row_spread=c.rows.spread,
            row_advance=c.rows.advance,
            buffer_rows=c.rows.reach(rows),
            buffer_columns=self.pitch * t.m_columns * c.columns.advance,
            across=self.across,
            pitch=self.pitch,
            m=t.m_columns,
            components=t.columns,
            terms=self.terms,
            apart=self.elements // t.m_columns,
            separate=separator(itemsize, self.elements, dense=True).address,
            input_map=line_map(itemsize, t.m_columns, t.r_columns).address,
            window_bytes=window,
            residue=residue,
            component=component,
            **whole_lines(c, c.channels, vector),
        )

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

    def sum_tile(self) -> _SumTile | None:
        """What does best in a weight gradient; None if sums of a window's rows are too many."""
        t, rows = self.tiling, self.c.rows.window
        maps = axis_instructions(GRADIENT, t.m_columns, t.r_columns)
        found = []
        for terms in range(1, self.terms + 1):
            share = (machine().isa.registers - _SPARE) // (rows * terms + 1)
            if share < 1 or self.terms % terms:
                continue
            share = even_split(t.columns, share)
            loads = t.m_columns * -(-t.columns // share)
            time = self.depth * t.columns + self.terms // terms * (0.75 * maps + 0.25 * loads)
            found.append(_SumTile(time, share, terms))
        return min(found, default=None)

    def sums_are_near(self, itemsize: int) -> bool:
        """Whether a weight gradient can have all its sums in the cache, and a line of dy."""
        c, vector = self.c, lanes(itemsize)
        sums = c.groups * self.depth * self.tiling.columns * round_up(c.filters, vector) * itemsize
        near = 2 * sums <= machine().l2 and results_are_near(c, itemsize, 1)
        return near and self.sum_tile() is not None

    def lines_summed(self, rows: int, itemsize: int, planes: bool) -> int:
        """Lines of so many that a weight gradient sums in one go."""
        # Planes of dy are copied, a vector of filters at a time; so are pixels of fewer.
        vector = lanes(itemsize)
        width = vector if planes else max(vector, self.c.filters)
        return min(rows, near_lines(self.c.columns.outputs, width, itemsize))

    def effort(self, vector: int, itemsize: int, weight: bool) -> Effort:
        """What the steps take; nothing leaves the cache but the outputs, which registers map."""
        c, t, images = self.c, self.tiling, self.c.N * self.c.groups
        which = WEIGHT_GRADIENT if weight else WEIGHT
        rows = self.task_rows(c.rows.outputs, itemsize)
        vectors = images * -(-c.rows.outputs // rows) * self._positions(rows, vector) // vector
        # Separated, loaded, mapped and stored.
        inputs = axis_instructions(INPUT, t.m_columns, t.r_columns) + 3 * (t.columns + t.m_columns)
        filters = -(-c.filters // vector)
        if weight:  # whose sums are loaded, added to and stored after some lines
            ended = 3 * self.depth * t.columns / self.lines_summed(rows, itemsize, planes=False)
            products = filters * (self.across * self.sum_tile().time + ended)
        else:
            products = self.register_tiles(vector).time
        return Effort(
            int(images * c.rows.outputs * products),
            vectors * self.terms * inputs,
            self.depth * filters * c.groups * map_cycles(which, t),
            0,
        )
