"""A weight gradient as the adjoint of a bilinear algorithm: block sizes and a call's stages.

Sums of components over tiles, then their copies are added and mapped to dw.  Workers divide the
units (group, tile of filters), or share out the tiles in copies of the sums
(:mod:`fastconv.gemm.sharing`).
"""

from __future__ import annotations

import numpy as np

from fastconv.core.jit import words
from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, Words, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import room_for_copies, spare_copies, total_weight, workers_for
from fastconv.gemm.tiling import round_up, short_panels
from fastconv.plans.ahead import memory_is_waited_for
from fastconv.plans.arrays import input_words, no_flags, window_of
from fastconv.plans.correlation import unfolded
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.tiles import tile_panel
from fastconv.simd.vector import lanes
from fastconv.transforms.maps import spread
from fastconv.transforms.tile_map import GRADIENT, INPUT, Tiling

from .grid import COMPONENT_BYTES, TileGrid, staggered
from .phases import PHASES
from .taps import StagedTaps
from .weight_kernel import bilinear_weight_kernel, table_bytes
from .weight_sum import SUM_BLOCKS, sum_stage

_WINDOW_WORDS = words(PHASES)
_ARRAY_WORDS = ["x", "xn", "xg", "xc", "xh", "xw"]  # the address, and those of input_words
_ARRAY = _WINDOW_WORDS.index("x")
assert _WINDOW_WORDS[_ARRAY : _ARRAY + len(_ARRAY_WORDS)] == _ARRAY_WORDS
_SUMMED = 56  # tiles summed in one go, or in a copy: enough to hide its loads and stores
_TILE_PIXELS = 2  # that are summed in the time in which a tile is spread and summed
_IDLE = 1.2  # by so much the largest part of the units may exceed the mean


def _fair_parts(units: int, workers: int) -> list[int]:
    """Into how many parts the units may be divided that leave no worker idle for long."""
    return [
        parts
        for parts in range(1, min(units, workers) + 1)
        if workers % parts == 0 and -(-units // parts) * parts <= _IDLE * units
    ]


class BilinearWeight(WeightGradient):
    """One weight gradient of a plan, its tiles computed by the maps of ``tiling``."""

    def __init__(self, problem: ConvProblem, tiling: Tiling, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        self.tiling = tiling
        self.threads = threads
        self.vector = lanes(self.itemsize)
        self.pixel = self.vector * self.itemsize
        self.grid = TileGrid(c, tiling)
        self._use_tile(*self._panels[0])
        self._share()
        self.taps = StagedTaps(self.grid, self.vector, self.itemsize, self.nv * self.vector)
        self.nbytes = self._scratch_bytes()

    @property
    def _panels(self) -> list[tuple[int, int]]:
        """Register tiles for the sums, the best first."""
        terms = min(self.grid.tiles, _SUMMED)
        return short_panels(self.grid.depth, self.c.filters, terms, self.vector)

    def _use_tile(self, mr: int, nv: int) -> None:
        """Sums in register tiles of so many channels × vectors of filters."""
        c = self.c
        self.mr, self.nv = mr, nv
        self.row = nv * self.pixel
        self.tiles_m = -(-self.grid.depth // self.mr)
        self.tiles_k = -(-c.filters // (self.nv * self.vector))
        self.units = c.groups * self.tiles_k
        self.u_component = odd_lines(self.tiles_m * self.mr * self.row)
        self.u_unit = self.tiling.components * self.u_component
        self.copy_bytes = self.units * self.u_unit

    def _scratch_bytes(self) -> int:
        """All sums, and what workers have in one stage or the other."""
        return self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, self.threads * self.taps.room_bytes
        )

    def _share(self) -> None:
        """Tiles of a stretch, and how workers divide stretches and units."""
        tiling = self.tiling
        moved = self.c.moved(self.itemsize)
        workers = workers_for(
            self.flops, self.grid.tiles // 8 * self.units + 1, self.threads, moved
        )
        l2 = machine().l2
        self.parts = self._parts(workers)
        # The last vector of the last phase is stored whole.
        last = self.grid.depth - self.c.channels + round_up(self.c.channels, self.vector)
        last = round_up(max(last, self.tiles_m * self.mr), self.vector)
        self.v_row = staggered(last * self.itemsize)
        self.m_row = staggered(min(self.tiles_k, -(-self.units // self.parts)) * self.row)
        tile = tiling.components * (self.v_row + self.m_row)
        # Sums that stay in the cache are best served by few components beside them, which leave
        # room for x and dy on their way; those that do not are loaded and stored seldom when
        # there are many.
        room = l2 // 4 if self.copy_bytes // self.parts <= l2 * 3 // 4 else COMPONENT_BYTES
        goal = min(max(_SUMMED, room // tile), max(1, COMPONENT_BYTES // tile))
        tiles = self.grid.tiles
        stretches = -(-tiles // goal)
        self.copies = max(1, workers // self.parts)
        if self.parts == 1:
            added = self.units * -(-self.c.channels // SUM_BLOCKS[1])
            spare = spare_copies(workers, added, stretches, _TILE_PIXELS * tiles)
            if self._small or spare * self.copy_bytes <= room_for_copies():
                self.copies = max(self.copies, spare)
        stretches = round_up(stretches, total_weight(self.copies, workers))
        self.share = -(-tiles // min(stretches, tiles))
        self.stretches = -(-tiles // self.share)
        self.copies = min(self.copies, self.stretches)
        self.workers = min(workers, self.copies * self.parts)
        self.v_component = odd_lines(self.share * self.v_row)
        self.m_component = odd_lines(self.share * self.m_row)
        self.room_bytes = self.grid.room_bytes(self.share, self.vector, self.pixel)
        tables = table_bytes(self.mr, self.row)
        self.worker_bytes = aligned(
            tables + self.room_bytes + tiling.components * (self.v_component + self.m_component)
        )

    @property
    def _small(self) -> bool:
        """Whether sums stay in the cache of a worker."""
        return 2 * self.copy_bytes <= machine().l2

    def _parts(self, workers: int) -> int:
        """Of the units: as few as copies of all sums allow, for each part spreads all of x.

        So few that the last cache holds the copies, and each sums as many tiles as a stretch
        should; if there is no such number, the most that are fair.
        """
        if self._small:
            return 1
        most = min(room_for_copies() // self.copy_bytes, self.grid.tiles // _SUMMED)
        fair = _fair_parts(self.units, workers)
        return min((parts for parts in fair if workers // parts <= most), default=max(fair))

    @property
    def flops(self) -> int:
        """Executed by the products, vectors and tiles filled up with zeros."""
        return 2 * self.grid.tiles * self.copy_bytes // self.itemsize

    @property
    def summed(self) -> int:
        """Products in a sum: those of a stretch, and the stretches."""
        return self.share + self.stretches

    @made_once
    def stages(self) -> tuple[Stage, Stage]:
        """Multiply, add up; compiled when first asked for."""
        return self._multiply_stage(), sum_stage(self)

    def _multiply_stage(self) -> Stage:
        return Stage(
            bilinear_weight_kernel(self.itemsize, self.grid.joined(self.vector)),
            self.workers,
            **tile_panel(self.itemsize, self.mr, self.nv, 1, 0),
            scratch_bytes=self.worker_bytes,
            room_bytes=self.room_bytes,
            copy_bytes=self.copy_bytes,
            **sum_tasks(self.workers, self.copies, self.parts, self.units, self.stretches),
            v_row=self.v_row,
            v_component=self.v_component,
            m_row=self.m_row,
            m_component=self.m_component,
            u_component=self.u_component,
            u_unit=self.u_unit,
            tiles_m=self.tiles_m,
            tiles_k=self.tiles_k,
            **self.grid.constants(self.share, self.pixel),
            bundle=self.share,
        )

    def _window(
        self, constants: dict[str, int], which: int, channels: int, tile: int, component: int
    ) -> np.ndarray:
        """A record from which the kernels pack windows and spread them, less the array's words."""
        targets = dict(
            map=spread(self.itemsize, which, self.tiling).address,
            v_component=component,
            v_bundle=0,
            v_tile=tile,
            v_block=self.pixel,
            v_phase=channels * self.itemsize,
        )
        values = constants | targets | dict.fromkeys(_ARRAY_WORDS, 0)
        return np.array([values[name] for name in _WINDOW_WORDS], np.int64)

    @made_once
    def _templates(self) -> tuple[np.ndarray, np.ndarray]:
        """The records of windows of x and of dy."""
        of = (self.share, self.vector, self.pixel)
        x, y = self.grid.x_window(*of), self.grid.y_window(*of)
        return (
            self._window(x, INPUT, self.c.channels, self.v_row, self.v_component),
            self._window(y, GRADIENT, self.c.filters, self.m_row, self.m_component),
        )

    def _windows(self, x_strides, dy_strides) -> dict[str, Words]:
        """The same with the arrays of a call."""
        at = operands()
        x, dy = self._templates
        x_steps = input_words(x_strides, self.c.channels).values()
        dy_steps = input_words(dy_strides, self.c.filters).values()
        return dict(
            x_window=window_of(x, at.first, x_steps, _ARRAY),
            dy_window=window_of(dy, at.second, dy_steps, _ARRAY),
        )

    def _ahead(self, x_strides, dy_strides) -> dict[str, int]:
        """What is fetched ahead: a stretch's share of either operand, if pixels are whole."""
        c = self.c
        waits = memory_is_waited_for(c.moved(self.itemsize), self.workers, self.flops)
        whole = c.groups == 1 and max(x_strides[1], dy_strides[1]) == self.itemsize
        stretch = self.share / self.grid.tiles if waits and whole else 0
        return dict(
            x_ahead=int(stretch * c.read(self.itemsize)),
            dy_ahead=int(stretch * c.written(self.itemsize)),
        )

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        multiply, add = self.stages
        flags, sums = no_flags(), SCRATCH
        rest = sums + self.copies * self.copy_bytes
        dk, dc, _, _ = dw_strides
        multiplying = multiply.call(
            scratch=rest,
            sums=sums,
            **self._windows(x_strides, dy_strides),
            **self._ahead(x_strides, dy_strides),
        )
        adding = add.call(scratch=rest, sums=sums, dw=operands().out, dk=dk, dc=dc, flag=flags)
        return Program([multiplying, adding], flags)
