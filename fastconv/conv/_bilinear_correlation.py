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
from fastconv.simd.tiles import tile_packed
from fastconv.simd.vector import lanes
from fastconv.transforms.maps import gather, spread
from fastconv.transforms.tile_map import INPUT, OUTPUT, Tiling, map_instructions

from ._arrays import input_words, output_words
from ._bilinear_filters import MappedFilters
from ._bilinear_grid import COMPONENT_BYTES, TileGrid, odd_lines, staggered
from ._bilinear_kernel import TERMS, bilinear_kernel
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
        # Phases of so few channels that they share vectors are one run.
        phases = self.grid.phases[0] * self.grid.phases[1]
        self.runs = phases if c.channels >= self.vector else 1
        self.run_channels = self.grid.depth // self.runs
        self._share(threads)
        self.worker_bytes = self._worker_bytes()
        self.workers = workers_for(self.flops, self.tasks, threads)
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _share(self, threads: int) -> None:
        """Tiles of a task, and into how many parts its filters are cut."""
        self.v_block = self.mr * self.pixel
        self.v_phase = -(-self.run_channels // self.vector) * self.v_block
        self.v_component = odd_lines(self.runs * self.v_phase)
        self.v_bundle = staggered(self.tiling.components * self.v_component)
        self._place_products(self.filters.tiles)
        tile = (self.m_bundle + (0 if self.in_place else self.v_bundle)) // self.mr
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
        self._place_products(self.joined)
        self.tasks = self._stretches(self.share) * self.splits

    def _stretches(self, share: int) -> int:
        return -(-self.grid.tiles // share) * self.c.groups

    def _possible_splits(self, share: int, threads: int) -> set[int]:
        """One, or enough to have one or two tasks for each thread."""
        if self.store == PLANES and self.c.columns.block > 1:
            return {1}  # columns of the folds are interleaved
        wanted = {1, *(-(-n * threads // self._stretches(share)) for n in (1, 2))}
        return {min(self.filters.tiles, splits) for splits in wanted}

    def _place_products(self, joined: int) -> None:
        """Where a bundle's components of the output are, for so many tiles of filters."""
        self.m_row = staggered(joined * self.width * self.itemsize + self.m_beyond)
        self.m_component = odd_lines(self.mr * self.m_row)
        # A component of the input that is multiplied once makes room for its products.
        self.in_place = (
            self.filters.tiles == 1
            and self.grid.depth <= TERMS
            and self.m_component <= self.v_component
        )
        if self.in_place:
            self.m_component = self.v_component
        self.m_bundle = staggered(self.tiling.components * self.m_component)

    def _cycles(self, share: int, splits: int, tile: int, threads: int) -> int:
        """What tasks of such sizes take (see :attr:`.Effort.cycles`), to compare them.

        Every task fetches its part of the filters, from the cache if they stay there; components of
        tiles that do not fit beside them are written, read and written again.
        """
        tiles = -(-self.filters.tiles // splits)
        products = self.tiling.components * self.grid.depth * tiles * self.nv
        maps = -(-self.grid.depth // self.vector) * map_instructions(INPUT, self.tiling)
        room, filters = machine().l2 // 2, self.filters.group_bytes
        near = filters <= room // 2
        far = 4 * max(0, share * tile - (room - filters if near else room))
        far += filters * tiles // self.filters.tiles // (4 if near else 1)
        tasks = self._stretches(share) * splits
        return -(-tasks // threads) * (share * (products + maps) + far // 8)

    def _worker_bytes(self) -> int:
        """Scratch of one worker."""
        self.room_bytes = self.grid.room_bytes(self.share, self.pixel, self.c.columns.block)
        bundles = -(-self.share // self.mr)
        self.v_bytes = 0 if self.in_place else aligned(bundles * self.v_bundle)
        return aligned(self.room_bytes + self.v_bytes + bundles * self.m_bundle)

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
            **tile_packed(self.itemsize, self.mr, self.nv),
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
            runs=self.runs,
            run_channels=self.run_channels,
            runs_joined=self.runs if self.grid.depth <= TERMS else 1,
            v_component=self.v_component,
            v_bundle=self.v_bundle,
            v_tile=self.pixel,
            v_block=self.v_block,
            v_phase=self.v_phase,
            v_bytes=self.v_bytes,
            m_beyond=self.m_beyond,
            m_bundle=self.m_bundle,
            m_row=self.m_row,
            m_component=self.m_component,
            **self.grid.constants(self.share, self.pixel),
            bundle=self.mr,
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
