"""``winograd`` for a few channels: minimal filtering along lines, whose sums stay in registers.

Tiles of two dimensions save more products, but their components pass through memory: with few
channels to sum, that takes longer than the products.
"""

from __future__ import annotations

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import round_up
from fastconv.plans.arrays import Room, Setting
from fastconv.plans.correlation import Correlation
from fastconv.plans.lines.line import line_words, lines_of_planes, near_lines
from fastconv.plans.packed_filters import Prepared
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.vector import lanes
from fastconv.transforms.line_filtering import tile_filtering
from fastconv.transforms.tile_map import Tiling

from .filters import MappedFilters
from .line_grid import LineGrid
from .line_kernel import filtered_line_kernel

_FEW_ROWS = 4  # of a task


class BilinearLine(UnfoldedCorrelation):
    """One correlation of a plan, the lines of its outputs computed by the maps of ``tiling``."""

    def __init__(self, c: Correlation, itemsize: int, y_format: str, tiling: Tiling, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.tiling = tiling
        self.vector = lanes(itemsize)
        self.planes = y_format == "nchw"
        self.grid = grid = LineGrid(c, tiling)
        self.register_tiles = grid.register_tiles(self.vector)
        self.width = self.register_tiles.nv * self.vector
        self.filters = MappedFilters(grid, itemsize, self.width, threads, together=True)
        self._share(threads)
        self.workers = self.filters.settle_workers(self.flops, self.tasks, c.moved(itemsize))
        self._share(self.workers)
        self.lines = self._lines()
        # Behind the last line are what its last tile has too many of; or that alone.
        results = self.lines * c.columns.outputs if self.planes else 0
        self.room_bytes = aligned((results + tiling.m_columns) * self.width * itemsize)
        self.worker_bytes = self.room_bytes + grid.window_bytes(self.rows, itemsize)
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _share(self, workers: int) -> None:
        """The rows of a task; windows of a few have too many rows more."""
        c, rows = self.c, self.c.rows.outputs
        lines = c.N * c.groups * rows
        fair = max(lines // (4 * workers), min(_FEW_ROWS, lines // workers))
        self.rows = self.grid.task_rows(max(1, min(rows, fair)), self.itemsize)
        self.tasks_i = -(-rows // self.rows)
        self.tasks = c.N * c.groups * self.tasks_i

    def _lines(self) -> int:
        """The lines that are made of a tile of filters at a time."""
        columns, width = self.c.columns.outputs, self.width
        if self.planes:
            return lines_of_planes(self.rows, columns, width, self.itemsize)
        return min(self.rows, near_lines(columns, width, self.itemsize))

    @property
    def flops(self) -> int:
        """Executed by the products, vectors filled up with zeros."""
        c, grid = self.c, self.grid
        tiles = c.N * c.groups * c.rows.outputs * grid.across
        return 2 * tiles * self.tiling.columns * grid.depth * round_up(c.filters, self.width)

    @made_once
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        c, grid, t = self.c, self.grid, self.tiling
        _, mt, nv, wide, narrow = self.register_tiles
        least = mt - 1 if narrow else mt
        return Stage(
            filtered_line_kernel(self.itemsize),
            self.workers,
            **tile_filtering(self.itemsize, t.m_columns, t.r_columns, mt, least, nv),
            wide=wide,
            narrow=narrow,
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
            tasks_i=self.tasks_i,
            fetches_planes=c.written(self.itemsize) > machine().l2,
            **grid.window(self.rows, self.itemsize),
        )

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s)
        words = line_words(self.c, self.lines, s.x, s.y)
        if not self.planes:  # whose lines may be apart
            words["lines"] = self.lines
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            flag=room.flags,
            x=at.first,
            y=at.out,
            **words,
            **filters.words,
        )
        return Prepared(multiplying, filters)
