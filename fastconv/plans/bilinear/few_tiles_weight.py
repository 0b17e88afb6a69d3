"""A bilinear weight gradient of so few tiles that its sums need not go through memory.

The last cache holds the components of both operands: their products are summed over all tiles at
once, for a chunk of channels and a tile of filters at a time.
"""

from __future__ import annotations

import itertools
import math

from fastconv.core import profile
from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import room_for_all, workers_for
from fastconv.gemm.tiling import even_split
from fastconv.plans.arrays import input_words, no_flags
from fastconv.plans.turns import in_turns
from fastconv.simd.tiles import tile_panel
from fastconv.transforms.tile_map import GRADIENT, INPUT, Tiling

from .few_tiles_weight_kernel import few_tiles_weight_kernel
from .grid import staggered
from .spreading import spreading_stage
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
            and self.v_bytes + self.m_bytes <= room_for_all()
        )
        if self.suits:
            self.workers = workers_for(self.flops, self.units * self.n_chunks, self.threads)
            self._divide()

    def _fits(self) -> bool:
        """Whether the cache has room for what a register tile multiplies: the best of those.

        And for two tiles of filters, if possible, or components of x would come from the last cache
        for each of them; then, half of it, for other components are on their way.
        """
        l2 = machine().l2
        for least, tile, room in itertools.product((2, 1), self._panels, (l2 // 2, l2 * 3 // 4)):
            self._use_tile(*tile)
            self._lay_out(math.lcm(self.mr, self.vector), room)
            if self.joined >= min(least, self.tiles_k):
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
        tables = table_bytes(self.mr, self.row)
        self.worker_bytes = aligned(
            max(self.room_bytes, tables + self.u_bytes + self.taps.room_bytes)
        )
        return self.v_bytes + self.m_bytes + self.workers * self.worker_bytes

    def _divide(self) -> None:
        """The tasks of a group that have other tiles of filters, and those that have the same.

        A few for each worker; if there are not as many, fewer tiles of filters to a task, and then
        fewer chunks than are worth fetching their components for.
        """
        strips = -(-self.tiles_k // self.joined)
        wanted = -(-_TASKS * self.workers // (self.c.groups * strips))
        cuts = max(1, min(wanted, self.n_chunks // _LEAST_CHUNKS))
        needed = -(-self.workers // (self.c.groups * cuts))
        if strips < needed:
            self.joined = max(1, self.tiles_k // needed)
        strips = -(-self.tiles_k // self.joined)
        needed = -(-self.workers // (self.c.groups * strips))
        self.strips, self.cuts = strips, max(cuts, min(needed, self.n_chunks))

    @made_once
    def stages(self) -> tuple[Stage, Stage, Stage]:
        """Spread x, spread dy, sum; compiled when first asked for."""
        of = (self.share, self.vector, self.pixel)
        x = self.grid.x_window(*of) | dict(
            v_component=self.v_component, v_tile=self.v_row, target_bytes=self.v_chunk
        )
        dy = self.grid.y_window(*of) | dict(
            v_component=self.m_component, v_tile=self.m_row, target_bytes=self.m_unit
        )
        return (
            self._spread_stage(INPUT, profile.INPUT, self.chunk, x),
            self._spread_stage(GRADIENT, profile.WEIGHT, self.nv * self.vector, dy),
            self._sum_stage(),
        )

    def _spread_stage(self, which: int, phase: int, chunk: int, window: dict[str, int]) -> Stage:
        return spreading_stage(
            self.grid, self.itemsize, self.workers, which, phase, chunk,
            scratch_bytes=self.worker_bytes,
            bundle=self.share,
            v_bundle=0,
            v_block=self.pixel,
            v_phase=0,
            **window,
        )  # fmt: skip

    def _sum_stage(self) -> Stage:
        return Stage(
            few_tiles_weight_kernel(self.itemsize),
            self.workers,
            **tile_panel(self.itemsize, self.mr, self.nv, 1, 0),
            tasks=self.c.groups * self.strips * self.cuts,
            scratch_bytes=self.worker_bytes,
            chunk=self.chunk,
            n_chunks=self.n_chunks,
            v_chunk=self.v_chunk,
            tiles_k=self.tiles_k,
            m_unit=self.m_unit,
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
            **self.taps.constants(),
        )

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        of_x, of_dy, summing = self.stages
        at, flags = operands(), no_flags()
        v, m = SCRATCH, SCRATCH + self.v_bytes
        rest = m + self.m_bytes
        dk, dc, _, _ = dw_strides
        c = self.c
        spreading = [
            of_x.call(scratch=rest, target=v, x=at.first, **input_words(x_strides, c.channels)),
            of_dy.call(scratch=rest, target=m, x=at.second, **input_words(dy_strides, c.filters)),
        ]
        sums = summing.call(scratch=rest, v=v, m=m, dw=at.out, dk=dk, dc=dc, flag=flags)
        return Program([*in_turns(spreading), sums], flags)
