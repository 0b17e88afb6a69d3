"""A bilinear weight gradient of so few tiles that its sums need not go through memory.

The last cache holds the components of both operands: their products are summed over all tiles at
once, for a chunk of channels and a tile of filters at a time.
"""

from __future__ import annotations

import functools
import itertools
import math

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import even_split
from fastconv.plans.arrays import no_flags
from fastconv.simd.tiles import tile_panel
from fastconv.transforms.tile_map import Tiling

from .few_tiles_weight_kernel import few_tiles_weight_kernel, spread_operands_kernel
from .grid import staggered
from .weight import BilinearWeight
from .weight_kernel import table_bytes

_TASKS = 4  # for each worker, about
_LEAST_CHUNKS = 4  # of a task: its filters' components come from the last cache


def bilinear_weight(problem: ConvProblem, tiling: Tiling, threads: int) -> BilinearWeight:
    """The plan of a weight gradient."""
    plan = FewTilesWeight(problem, tiling, threads)
    return plan if plan.suits else BilinearWeight(problem, tiling, threads)


class FewTilesWeight(BilinearWeight):
    """All tiles are summed at once, for a chunk of channels and a tile of filters at a time."""

    def _share(self) -> None:
        """The register tile, channels of a chunk, tiles of filters in the cache together."""
        self.share = self.grid.tiles
        self.stretches = self.copies = 1
        self.room_bytes = self.grid.room_bytes(self.share, self.vector, self.pixel)
        self.suits = (
            self.grid.phases == [1, 1]
            and 2 * self.copy_bytes > machine().l2
            and self._fits()
            and self.packed_bytes <= machine().l3
        )

    def _fits(self) -> bool:
        """Whether the cache has room for what a register tile multiplies: the best of those.

        Half of it, if possible: other components are on their way.
        """
        l2 = machine().l2
        for room, tile in itertools.product((l2 // 2, l2 * 3 // 4), self._panels):
            self._use_tile(*tile)
            self._lay_out(math.lcm(self.mr, self.vector), room)
            if self.joined > 0:
                return True
        return False

    def _lay_out(self, chunk: int, room: int) -> None:
        """Chunks of so many channels, and as many tiles of filters as there is room for.

        Chunks are as small as whole vectors and tiles allow, for their sums have to stay near.
        """
        components = self.tiling.components
        self.chunk, self.n_chunks = chunk, -(-self.c.channels // chunk)
        self.v_row = staggered(chunk * self.itemsize)
        self.v_component = odd_lines(self.share * self.v_row)
        self.v_chunk = aligned(components * self.v_component)
        self.m_row = staggered(self.row)
        self.m_component = odd_lines(self.share * self.m_row)
        self.m_unit = aligned(components * self.m_component)
        self.u_component = odd_lines(chunk * self.row)
        self.u_bytes = aligned(components * self.u_component)
        fitting = (room - self.v_chunk - self.u_bytes) // self.m_unit
        self.joined = even_split(self.tiles_k, fitting) if fitting > 0 else 0
        self.v_bytes = self.c.groups * self.n_chunks * self.v_chunk
        self.m_bytes = self.units * self.m_unit

    def _scratch_bytes(self) -> int:
        if not self.suits:
            return 0
        self.workers = workers_for(self.flops, self.units * self.n_chunks, self.threads)
        self.strips, self.cuts = self._divide()
        tables = table_bytes(self.mr, self.row)
        self.worker_bytes = aligned(
            max(self.room_bytes, tables + self.u_bytes + self.taps.room_bytes)
        )
        return self.v_bytes + self.m_bytes + self.workers * self.worker_bytes

    def _divide(self) -> tuple[int, int]:
        """Tasks of a group with other tiles of filters, and how many there are of each.

        A few for each worker; if there are not as many, fewer tiles of filters to a task, and then
        fewer chunks than are worth fetching their components for.
        """
        strips = -(-self.tiles_k // self.joined)
        wanted = -(-_TASKS * self.workers // (self.c.groups * strips))
        cuts = max(1, min(wanted, self.n_chunks // _LEAST_CHUNKS))
        needed = -(-self.workers // (self.c.groups * cuts))
        self.joined = min(self.joined, max(1, self.tiles_k // needed))
        strips = -(-self.tiles_k // self.joined)
        needed = -(-self.workers // (self.c.groups * strips))
        return strips, max(cuts, min(needed, self.n_chunks))

    @property
    def packed_bytes(self) -> int:
        """Traffic of the last cache: components are written once, and read about as often."""
        return 2 * (self.v_bytes + self.m_bytes)

    @functools.cached_property
    def stages(self) -> tuple[Stage, Stage]:
        """Spread, sum; compiled when first asked for."""
        return self._spread_stage(), self._sum_stage()

    def _spread_stage(self) -> Stage:
        chunks = self.c.groups * self.n_chunks
        return Stage(
            spread_operands_kernel(self.itemsize),
            self.workers,
            tasks=chunks + self.units,
            scratch_bytes=self.worker_bytes,
            chunks=chunks,
            vectors=self.nv,
            **self._operands(),
            **self.grid.constants(self.share, self.pixel),
            bundle=self.share,
        )

    def _sum_stage(self) -> Stage:
        return Stage(
            few_tiles_weight_kernel(self.itemsize),
            self.workers,
            **tile_panel(self.itemsize, self.mr, self.nv, 1, 0),
            tasks=self.c.groups * self.strips * self.cuts,
            scratch_bytes=self.worker_bytes,
            joined=self.joined,
            strips=self.strips,
            cuts=self.cuts,
            v_row=self.v_row,
            v_component=self.v_component,
            m_row=self.m_row,
            m_component=self.m_component,
            u_component=self.u_component,
            u_bytes=self.u_bytes,
            components=self.tiling.components,
            all_tiles=self.grid.tiles,
            **self._operands(),
            **self.taps.constants(),
        )

    def _operands(self) -> dict[str, int]:
        """The arguments of :data:`.few_tiles_weight_kernel.OPERANDS`, but for addresses."""
        return dict(
            chunk=self.chunk,
            n_chunks=self.n_chunks,
            v_chunk=self.v_chunk,
            tiles_k=self.tiles_k,
            m_unit=self.m_unit,
        )

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        spreading, summing = self.stages
        flags = no_flags()
        dk, dc, _, _ = dw_strides
        components = dict(v=SCRATCH, m=SCRATCH + self.v_bytes)
        rest = SCRATCH + self.v_bytes + self.m_bytes
        windows = self._windows(x_strides, dy_strides)
        return Program(
            [
                spreading.call(scratch=rest, **components, **windows),
                summing.call(
                    scratch=rest, **components, dw=operands().out, dk=dk, dc=dc, flag=flags
                ),
            ],
            flags,
        )
