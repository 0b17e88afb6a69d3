"""``winograd`` for a few channels: minimal filtering along lines, whose sums stay in registers.

Tiles of two dimensions save more products, but their components pass through memory: with few
channels to sum, that takes longer than the products.
"""

from __future__ import annotations

import functools
import math

from fastconv.core.machine import machine
from fastconv.core.program import Address, Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.arrays import Setting, input_words
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import Prepared
from fastconv.plans.part import Part
from fastconv.simd.interleaving import separator
from fastconv.simd.vector import lanes
from fastconv.transforms.lines import spread_line, tile_filtering
from fastconv.transforms.tile_map import Tiling

from .filters import MappedFilters
from .line_grid import LineGrid
from .line_kernel import line_kernel


class BilinearLine(Part):
    """One correlation of a plan, the lines of its outputs computed by the maps of ``tiling``."""

    def __init__(self, c: Correlation, itemsize: int, y_format: str, tiling: Tiling, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.tiling = tiling
        self.vector = lanes(itemsize)
        self.planes = y_format == "nchw"
        self.grid = grid = LineGrid(c, tiling)
        _, self.mt, self.nv = grid.tile(self.vector)
        self.width = self.nv * self.vector
        self.filters = MappedFilters(grid, itemsize, self.width, threads, together=True)
        self.apart = c.columns.advance * c.channels
        self._share(threads)
        self.lines = self._lines() if self.planes else 1
        # Behind the last line are what its last tile has too many of; or that alone.
        results = self.lines * c.columns.outputs if self.planes else 0
        self.room_bytes = aligned((results + tiling.m_columns) * self.width * itemsize)
        self.worker_bytes = self.room_bytes + self._window_bytes(self.rows)
        self.workers = self.filters.settle_workers(self.flops, self.tasks, c.moved(itemsize))
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _share(self, threads: int) -> None:
        """The rows of a task, whose components stay in the cache."""
        c, rows = self.c, self.c.rows.outputs
        fair = max(1, c.N * c.groups * rows // (4 * threads))
        most = min(rows, fair)
        while most > 1 and self._window_bytes(most) > machine().l2 // 4:
            most -= 1
        self.rows = even_split(rows, most)
        self.tasks_i = -(-rows // self.rows)
        self.tasks = c.N * c.groups * self.tasks_i

    def _positions(self, rows: int) -> int:
        """Tiles of a task's window, in whole vectors."""
        return round_up(self.grid.rows(rows) * self.grid.pitch, self.vector)

    def _stretches(self, rows: int) -> tuple[int, int, int]:
        """Bytes of a window, and from one to the next of its residues and of its components."""
        window = self._positions(rows) * self.tiling.m_columns * self.apart * self.itemsize
        line = self._positions(rows) * self.itemsize
        beyond = self.grid.pitch * self.itemsize  # which a map reads with the last tiles
        return aligned(window), odd_lines(line + beyond), odd_lines(line)

    def _window_bytes(self, rows: int) -> int:
        """Scratch for a task of so many rows."""
        window, residue, component = self._stretches(rows)
        components = self.grid.terms * self.tiling.columns * component
        return aligned(window + self.tiling.m_columns * self.apart * residue + components)

    def _lines(self) -> int:
        """How many lines of a plane are stored at a time: whole vectors, if they are near."""
        columns = self.c.columns.outputs
        whole = self.vector // math.gcd(self.vector, columns)
        most = max(1, machine().l1 // 2 // (columns * self.width * self.itemsize))
        return min(self.rows, whole if whole <= most else most)

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.pixels

    @property
    def flops(self) -> int:
        """Executed by the products, vectors filled up with zeros."""
        c, grid = self.c, self.grid
        tiles = c.N * c.groups * c.rows.outputs * grid.across
        return 2 * tiles * self.tiling.columns * grid.depth * round_up(c.filters, self.width)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the filters' components: written once, read once."""
        return 2 * self.filters.nbytes

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        c, grid, t = self.c, self.grid, self.tiling
        window, residue, component = self._stretches(self.rows)
        planes = t.m_columns * self.apart
        return Stage(
            line_kernel(self.itemsize),
            self.workers,
            **tile_filtering(self.itemsize, t.m_columns, t.r_columns, self.mt, self.nv),
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            I=c.rows.outputs,
            J=c.columns.outputs,
            planes=self.planes,
            room_bytes=self.room_bytes,
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            filters=c.filters,
            groups=c.groups,
            window_rows=c.rows.window,
            row_spread=c.rows.spread,
            row_advance=c.rows.advance,
            task_i=self.rows,
            tasks_i=self.tasks_i,
            buffer_rows=grid.rows(self.rows),
            buffer_columns=grid.pitch * t.m_columns * c.columns.advance,
            across=grid.across,
            pitch=grid.pitch,
            m=t.m_columns,
            components=t.columns,
            terms=grid.terms,
            apart=self.apart,
            separate=separator(self.itemsize, planes, planes <= self.vector).address,
            input_map=spread_line(self.itemsize, t.m_columns, t.r_columns).address,
            window_bytes=window,
            residue=residue,
            component=component,
            fetched=0 if self.planes else -(-self.mt * t.m_columns // c.rows.window),
            fetches_lines=c.read(self.itemsize) > machine().l2 and c.groups == 1,
            height=c.rows.inputs,
            width=c.columns.inputs,
            row_first=c.rows.first,
            row_source=1,
            column_first=c.columns.first,
            column_source=1,
            channels=c.channels,
            block=c.channels,
            n_blocks=1,
            vector=self.vector,
        )

    def _words(self, x_strides, y_strides) -> dict[str, int]:
        """The arguments for arrays with these strides."""
        c = self.c
        yn, yk, yh, yw = y_strides
        # Together, lines stand one behind the other.
        lines = self.lines if yh == yw * c.columns.outputs else 1
        steps = dict(yn=yn, yg=yk * c.filters, yk=yk, yh=yh, yw=yw)
        return dict(**input_words(x_strides, c.channels), **steps, lines=lines)

    def prepare(self, base: Address, room: Address, at: Operands, s: Setting, flags) -> Prepared:
        filters = self.filters.prepare(base, at, s)
        words = self._words(s.x, s.y)
        multiplying = self.stage.call(
            scratch=room, relu=s.relu, flag=flags, x=at.first, y=at.out, **words, **filters.words
        )
        return Prepared(multiplying, filters)
