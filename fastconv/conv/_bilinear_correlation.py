"""A correlation with unit advance as a bilinear algorithm: tables, block sizes, a call's stages.

First the filters become components, then every stretch of tiles is spread, multiplied and gathered.
"""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.results import PLANES, ROWS, SCATTER
from fastconv.gemm.tiling import choose_tile, round_up, workers_for
from fastconv.simd.tiles import tile_pitched
from fastconv.simd.vector import lanes
from fastconv.transforms.maps import gather, spread
from fastconv.transforms.tile_map import INPUT, OUTPUT, Tiling, map_instructions

from ._arrays import input_words, output_words
from ._bilinear_filters import MappedFilters
from ._bilinear_grid import COMPONENT_BYTES, TileGrid, staggered
from ._bilinear_kernel import bilinear_kernel
from ._correlation_plan import lane_table
from .correlation import Correlation


class BilinearCorrelation:
    """One correlation of a plan, its tiles computed by the maps of ``tiling``."""

    def __init__(self, c: Correlation, itemsize: int, y_format: str, tiling: Tiling, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.tiling = tiling
        self.vector = lanes(itemsize)
        self.pixel = self.vector * self.itemsize
        self.grid = TileGrid(c, tiling)
        self.mr, self.nv = choose_tile(self.grid.tiles, c.lanes, self.vector)
        self.width = self.nv * self.vector
        self.filters = MappedFilters(self.grid, itemsize, self.width, threads)
        self.store = ROWS if y_format == "nhwc" else PLANES
        if self.store == PLANES and c.columns.spread > 1:
            self.store = SCATTER
        # A vector of a fold's last lanes reaches beyond it, after the last fold into nothing.
        self.m_beyond = self.pixel if c.folded and c.filters % self.vector else 0
        self._share(threads)
        self.worker_bytes = self._worker_bytes()
        self.workers = workers_for(self.flops, self.tasks, threads)
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _share(self, threads: int) -> None:
        """Tiles of a task, and into how many parts its filters are cut."""
        self.v_component = self.grid.v_row(self.vector, self.itemsize)
        self.v_row = staggered(self.tiling.components * self.v_component)
        tile = self.v_row + self._m_row(self.filters.tiles)
        most = min(round_up(self.grid.tiles, self.mr), max(self.mr, COMPONENT_BYTES // tile))
        self.share, self.splits = min(
            (
                (share, splits)
                for share in range(self.mr, most + 1, self.mr)
                for splits in self._possible_splits(share, threads)
            ),
            key=lambda sizes: self._cycles(*sizes, tile, threads),
        )
        self.joined = -(-self.filters.tiles // self.splits)
        self.m_row = self._m_row(self.joined)
        self.tasks = self._stretches(self.share) * self.splits

    def _stretches(self, share: int) -> int:
        return -(-self.grid.tiles // share) * self.c.groups

    def _possible_splits(self, share: int, threads: int) -> set[int]:
        """One, or enough to have one or two tasks for each thread."""
        if self.store == PLANES and self.c.columns.block > 1:
            return {1}  # columns of the folds are interleaved
        wanted = {1, *(-(-n * threads // self._stretches(share)) for n in (1, 2))}
        return {min(self.filters.tiles, splits) for splits in wanted}

    def _m_row(self, joined: int) -> int:
        """Bytes of a tile's components of the output, for so many tiles of filters."""
        self.m_component = staggered(joined * self.width * self.itemsize + self.m_beyond)
        return staggered(self.tiling.components * self.m_component)

    def _cycles(self, share: int, splits: int, tile: int, threads: int) -> int:
        """What tasks of such sizes take (see :attr:`.Effort.cycles`), to compare them.

        Either the filters stay in the cache, or every task fetches its part of them; components of
        tiles that do not fit beside them are written, read and written again.
        """
        tiles = -(-self.filters.tiles // splits)
        products = self.tiling.components * self.grid.depth * tiles * self.nv
        maps = -(-self.grid.depth // self.vector) * map_instructions(INPUT, self.tiling)
        room, filters = machine().l2 * 3 // 4, self.filters.group_bytes
        near = filters <= room // 2
        far = 4 * max(0, share * tile - (room - filters if near else room))
        if not near:
            far += filters * tiles // self.filters.tiles
        tasks = self._stretches(share) * splits
        return -(-tasks // threads) * (share * (products + maps) + far // 8)

    def _worker_bytes(self) -> int:
        """Scratch of one worker."""
        self.room_bytes = self.grid.room_bytes(self.share, self.pixel, self.c.columns.block)
        rows = round_up(self.share, self.mr)
        self.v_bytes = aligned(rows * self.v_row)
        row = self.width * self.itemsize
        return aligned(row + self.room_bytes + self.v_bytes + rows * self.m_row)

    @property
    def flops(self) -> int:
        """Executed by the products, vectors filled up with zeros."""
        lanes = round_up(self.c.lanes, self.vector)
        return (
            2 * self.c.groups * self.grid.tiles * self.tiling.components * self.grid.depth * lanes
        )

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the filters' components: written once, read once."""
        return 2 * self.filters.nbytes

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        c = self.c
        return Stage(
            bilinear_kernel(self.itemsize),
            self.workers,
            **tile_pitched(self.itemsize, self.mr, self.nv),
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            room_bytes=self.room_bytes,
            input_map=spread(self.itemsize, INPUT, *self.tiling).address,
            output_map=gather(self.itemsize, OUTPUT, *self.tiling).address,
            y_row_first=c.rows.start,
            y_row_step=c.rows.block * c.rows.step,
            y_column_first=c.columns.start,
            y_column_step=c.columns.block * c.columns.step,
            row_folds=c.rows.block,
            column_folds=c.columns.block,
            filters=c.filters,
            y_rows=c.rows.size,
            y_columns=c.columns.size,
            I=c.rows.outputs,
            J=c.columns.outputs,
            w_group=self.filters.group_bytes,
            w_tile=self.filters.tile_bytes,
            w_component=self.filters.component_bytes,
            tiles=self.filters.tiles,
            tile_lanes=self.width,
            all_lanes=c.lanes,
            splits=self.splits,
            groups=c.groups,
            joined=self.joined,
            depth=self.grid.depth,
            v_row=self.v_row,
            v_component=self.v_component,
            v_bytes=self.v_bytes,
            m_beyond=self.m_beyond,
            m_row=self.m_row,
            m_component=self.m_component,
            **self.grid.constants(self.share, self.pixel),
            **self.grid.x_window(self.vector),
            store=self.store,
        )

    def run(self, x, w, y, bias, relu: bool, forward: bool) -> bool:
        """Compute y; whether every result is finite."""
        base = scratch(self.nbytes)
        mapped, biases = self.filters.pack(w, forward, bias, base)
        spoilt = np.zeros(1, np.int64)
        table = lane_table(self.c, *y.strides[1:])
        self.stage.run(
            scratch=base + self.filters.nbytes,
            relu=relu,
            flag=address(spoilt),
            **input_words(x, self.c.channels),
            **output_words(y, self.c),
            lane_table=address(table),
            w=mapped,
            bias=biases,
        )
        return not spoilt[0]
