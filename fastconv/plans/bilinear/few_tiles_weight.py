"""A bilinear weight gradient of so few tiles that its sums need not go through memory."""

from __future__ import annotations

import functools
import math

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.tiling import best_tiles, round_up
from fastconv.plans.arrays import no_flags
from fastconv.simd.tiles import tile_panel
from fastconv.transforms.maps import spread
from fastconv.transforms.tile_map import GRADIENT, INPUT, Tiling, map_instructions

from .few_tiles_weight_kernel import few_tiles_weight_kernel
from .grid import staggered
from .weight import BilinearWeight
from .weight_kernel import table_bytes

_CHUNK = 64  # channels, about
_SPARED = 2  # times that sums would go through memory, 8 bytes in the time of an instruction


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
            and self._spread_again() < _SPARED * self.copy_bytes // self.parts // 8
        )

    def _fits(self) -> bool:
        """Whether there is a way to keep all that is multiplied in the cache: the best is taken."""
        for tile in best_tiles(self.grid.depth, self.c.filters, self.vector, panel=True):
            self._use_tile(*tile)
            whole = math.lcm(self.mr, self.vector)
            for chunk in (max(1, _CHUNK // whole) * whole, whole):
                self._lay_out(min(chunk, round_up(self.c.channels, whole)))
                if self.joined > 0 and self.units >= self.threads:
                    return True
        return False

    def _spread_again(self) -> int:
        """Instructions of a worker for spreading x more than once."""
        trips = -(-self.units // self.parts // self.joined) - 1
        vectors = self.grid.tiles * -(-self.c.channels // self.vector)
        return trips * vectors * map_instructions(INPUT, self.tiling)

    def _lay_out(self, chunk: int) -> None:
        """Chunks of so many channels, and as many tiles of filters as the cache has room for."""
        components = self.tiling.components
        self.chunk = chunk
        self.parts = self.workers = max(1, min(self.threads, self.units))
        self.v_row = staggered(chunk * self.itemsize)
        self.v_component = odd_lines(self.share * self.v_row)
        self.u_component = odd_lines(chunk * self.row)
        self.v_bytes = aligned(components * self.v_component)
        self.u_bytes = aligned(components * self.u_component)
        left = machine().l2 * 3 // 4 - self.v_bytes - self.u_bytes
        most = left // (components * self.share * self.row)
        self.joined = min(most, self.tiles_k, -(-self.units // self.parts))
        self.m_row = staggered(self.joined * self.row)
        self.m_component = odd_lines(self.share * self.m_row)
        self.m_bytes = aligned(components * self.m_component)

    def _scratch_bytes(self) -> int:
        if not self.suits:
            return 0
        tables = table_bytes(self.mr, self.row)
        kept = self.v_bytes + self.m_bytes + self.u_bytes
        self.worker_bytes = aligned(tables + self.room_bytes + kept + self.taps.room_bytes)
        return self.workers * self.worker_bytes

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the sums: none."""
        return 0

    @functools.cached_property
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        return Stage(
            few_tiles_weight_kernel(self.itemsize),
            self.workers,
            **tile_panel(self.itemsize, self.mr, self.nv, 1, 0),
            scratch_bytes=self.worker_bytes,
            room_bytes=self.room_bytes,
            v_bytes=self.v_bytes,
            m_bytes=self.m_bytes,
            u_bytes=self.u_bytes,
            input_map=spread(self.itemsize, INPUT, *self.tiling).address,
            gradient_map=spread(self.itemsize, GRADIENT, *self.tiling).address,
            parts=self.parts,
            units=self.units,
            tiles_k=self.tiles_k,
            joined=self.joined,
            chunk=self.chunk,
            v_row=self.v_row,
            v_component=self.v_component,
            m_row=self.m_row,
            m_component=self.m_component,
            u_component=self.u_component,
            **self.grid.constants(self.share, self.pixel),
            bundle=self.share,
            **self.taps.constants(),
        )

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        flags = no_flags()
        dk, dc, _, _ = dw_strides
        windows = self._windows(x_strides, dy_strides)
        computing = self.stage.call(
            scratch=SCRATCH, **windows, dw=operands().out, dk=dk, dc=dc, flag=flags
        )
        return Program([computing], flags)
