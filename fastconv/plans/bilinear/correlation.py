"""A correlation with unit advance as a bilinear algorithm: tables, block sizes, a call's stages.

First the filters become components, then every stretch of tiles is spread, multiplied and gathered;
or tasks map the filters, and the input may be spread first.
"""

from __future__ import annotations

import numpy as np

from fastconv.core import profile
from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.results import PLANES, ROWS, SCATTER, row_storer
from fastconv.gemm.tiling import round_up
from fastconv.plans.ahead import ahead_words, memory_is_waited_for
from fastconv.plans.arrays import Room, Setting, input_words, output_words
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import Prepared, lane_table
from fastconv.plans.part import Part
from fastconv.plans.target import target_words
from fastconv.simd.tiles import tile_packed
from fastconv.simd.vector import lanes
from fastconv.transforms.maps import gather, spread
from fastconv.transforms.tile_map import INPUT, OUTPUT, Tiling

from .filters import MappedFilters
from .grid import TileGrid
from .kernel import SHORT_SUM, STREAMS_BYTES, bilinear_kernel
from .shares import best_cutting
from .spreading import spreading_stage


class BilinearCorrelation(Part):
    """One correlation of a plan, its tiles computed by the maps of ``tiling``."""

    def __init__(self, c: Correlation, itemsize: int, y_format: str, tiling: Tiling, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.tiling = tiling
        self.vector = lanes(itemsize)
        self.pixel = self.vector * self.itemsize
        self.grid = TileGrid(c, tiling)
        self.store = ROWS if y_format == "nhwc" else PLANES
        if self.store == PLANES and c.columns.spread > 1:
            self.store = SCATTER
        # A vector of a fold's last lanes reaches beyond it, after the last fold into nothing.
        self.m_beyond = self.pixel if c.folded and c.filters % self.vector else 0
        self.interleaved = self.store == PLANES and c.columns.block > 1  # folds
        self.cutting, self.share = best_cutting(
            self.grid, self.vector, itemsize, self.m_beyond, threads, self.store == PLANES,
            self.interleaved,
        )  # fmt: skip
        self.mr, self.nv = self.cutting.mr, self.cutting.nv
        self.width = self.nv * self.vector
        share = self.share
        self.layout = self.cutting.layout(share)
        self.filters = MappedFilters(self.grid, itemsize, self.width, threads, share.maps)
        self.tasks = self.cutting.stretches(share.tiles) * share.splits
        self.worker_bytes = self._worker_bytes()
        self.workers = self.filters.settle_workers(
            self.flops, self.tasks, c.moved(itemsize), bool(share.maps)
        )
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes
        if share.shared:
            self.nbytes += self.cutting.shared_bytes(share)

    def _worker_bytes(self) -> int:
        """Scratch of one worker."""
        share, layout = self.share, self.layout
        room = self.grid.room_bytes(share.tiles, self.vector, self.pixel, self.c.columns.block)
        self.room_bytes = aligned(room + STREAMS_BYTES)
        bundles = -(-share.tiles // self.mr)
        self.v_bytes = 0 if layout.in_place or share.shared else self.cutting.chunk_bytes(share)
        self.m_bytes = aligned(bundles * layout.m_bundle)
        self.u_bytes = aligned(self.tiling.components * layout.u_component)
        filters = self.u_bytes + self.filters.worker_bytes if share.maps else 0
        return aligned(self.room_bytes + self.v_bytes + self.m_bytes + filters)

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.N * self.c.rows.size * self.c.columns.size

    @property
    def flops(self) -> int:
        """Executed by the products, vectors filled up with zeros."""
        grid, lanes_filled = self.grid, round_up(self.c.lanes, self.vector)
        return 2 * self.c.groups * grid.tiles * grid.tiling.components * grid.depth * lanes_filled

    @property
    def _fetched(self) -> tuple[int, int, int]:
        """Cache lines of filters, results and input that a register tile fetches in a few steps.

        None of what the caches hold; none of the pixels where their products take much longer, nor
        where the next task has the same ones, or every other one, or sums are short of a vector.
        """
        if self.share.maps:
            return 0, 0, 0
        filters = self.nv if self.filters.nbytes > machine().l2 // 4 else 0
        counts = memory_is_waited_for(self.c.moved(self.itemsize), self.workers, self.flops)
        whole = self.cutting.run_channels >= self.vector and self.grid.lattices == [1, 1]
        pixels = int(counts and whole and self.share.splits == 1)
        return filters, pixels, pixels

    def _components(self) -> dict[str, int]:
        """How components of the input lie in scratch."""
        layout = self.layout
        return dict(
            v_component=layout.v_component,
            v_bundle=layout.v_bundle,
            v_tile=self.pixel,
            v_block=layout.v_block,
            v_phase=layout.v_phase,
        )

    @made_once
    def spreading(self) -> Stage:
        """What spreads the input before tasks begin; compiled when first asked for."""
        share = self.share
        return spreading_stage(
            self.grid, self.itemsize, self.workers, INPUT, profile.INPUT, share.chunk,
            scratch_bytes=self.worker_bytes,
            bundle=self.mr,
            target_bytes=self.cutting.chunk_bytes(share),
            **self._components(),
            **self.grid.x_window(share.tiles, self.vector, self.pixel),
        )  # fmt: skip

    @made_once
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        c, cutting, layout = self.c, self.cutting, self.layout
        return Stage(
            bilinear_kernel(self.itemsize, self.grid.joined(self.vector), self.interleaved),
            self.workers,
            **tile_packed(self.itemsize, self.mr, self.nv, self._fetched),
            fetched=self._fetched[0],
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            room_bytes=self.room_bytes,
            map=spread(self.itemsize, INPUT, self.tiling).address,
            output_map=gather(self.itemsize, OUTPUT, self.tiling).address,
            **target_words(c),
            row_folds=c.rows.block,
            column_folds=c.columns.block,
            filters=c.filters,
            I=c.rows.outputs,
            J=c.columns.outputs,
            w_group=self.filters.group_bytes,
            w_tile=self.filters.tile_bytes,
            w_component=self.filters.component_bytes,
            tiles=self.filters.tiles,
            tile_lanes=self.width,
            all_lanes=c.lanes,
            splits=self.share.splits,
            groups=c.groups,
            runs=cutting.runs,
            run_channels=cutting.run_channels,
            runs_joined=cutting.runs if self.grid.depth <= SHORT_SUM else 1,
            chunk=self.share.chunk,
            keeps=cutting.keeps(self.share),
            w_blocks=self.filters.n_blocks,
            w_block=self.filters.block,
            **self._components(),
            v_bytes=self.v_bytes,
            shared_chunk=cutting.chunk_bytes(self.share),
            m_beyond=self.m_beyond,
            m_bundle=layout.m_bundle,
            m_row=layout.m_row,
            m_component=layout.m_component,
            m_bytes=self.m_bytes,
            u_component=layout.u_component,
            u_bytes=self.u_bytes,
            **self.grid.constants(self.share.tiles, self.pixel, c.columns.block),
            bundle=self.mr,
            **self.grid.x_window(self.share.tiles, self.vector, self.pixel),
            store=self.store,
            store_rows=row_storer(self.itemsize, self.store).address,
        )

    def _words(self, x_strides, y_strides) -> dict[str, int | np.ndarray]:
        """The arguments for arrays with these strides."""
        return dict(
            **input_words(x_strides, self.c.channels),
            **output_words(y_strides, self.c),
            lane_table=lane_table(self.c, *y_strides[1:]),
            **self._ahead(x_strides, y_strides),
        )

    def _ahead(self, x_strides, y_strides) -> dict[str, int]:
        """What is fetched ahead: the share of a task in either array."""
        c = self.c
        planes = (c.rows.inputs * c.columns.inputs, c.rows.size * c.columns.size)
        of_x, of_y = (
            (c.groups, plane, c.N * plane * self.share.tiles // self.grid.tiles) for plane in planes
        )
        return dict(
            **ahead_words("x", x_strides, c.channels, *of_x),
            **ahead_words("y", y_strides, c.filters, *of_y),
        )

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s, self.share.maps)
        shared, spreading = 0, ()
        if self.share.shared:
            shared = room.workers + self.workers * self.worker_bytes
            x = input_words(s.x, self.c.channels)
            spreading = (self.spreading.call(scratch=room.workers, target=shared, x=at.first, **x),)
        multiplying = self.stage.call(
            shared=shared,
            scratch=room.workers,
            relu=s.relu,
            flag=room.flags,
            x=at.first,
            y=at.out,
            **self._words(s.x, s.y),
            **filters.words,
        )
        return Prepared(multiplying, filters, spreading)
