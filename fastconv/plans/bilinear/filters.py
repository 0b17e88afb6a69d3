"""Filters of a bilinear correlation: ``[group][component][tile][channel][lane]``.

Or ``[group][tile][channel][component][lane]`` where one register tile has sums of all components.
They are packed block by block into the cache, and mapped from there.
"""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.jit import (
    Function,
    Kernel,
    address_of,
    call,
    callee,
    kernel,
    record,
    record_at,
)
from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.profile import WEIGHT as WEIGHT_PHASE
from fastconv.core.program import Address
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.weights import PACKING, pack_task
from fastconv.plans.packed_filters import PackedFilters
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import fence
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element, lanes
from fastconv.transforms.maps import spread_taps, vectors_abreast

from .grid import TileGrid
from .line_grid import LineGrid

LAYOUT = record(
    "profile scratch scratch_bytes map weight_map tap_columns w_group w_tile w_component w_channel",
    packing=PACKING,
)


@functools.cache
def map_filters(itemsize: int) -> Function:
    """``map(args, task, target, component, packed)``: one task of :func:`map_all_filters`.

    Its components are written to ``target``, ``component`` bytes apart; ``packed`` is room.
    """
    vector = lanes(itemsize)
    pixel = vector * itemsize

    @callee
    def map_block(args, task, target, component, packed):
        a = record_at(args, LAYOUT)
        packing = a.packing
        row = packing.tile * itemsize
        pack_task(element(itemsize), packing, itemsize, vector, task, packed)
        temp = packed + packing.n_taps * packing.block * row
        first = task % packing.n_blocks % packing.phase_blocks * packing.block
        for c in range(min(packing.block, packing.channels - first)):
            call(
                a.weight_map, row // pixel, packed + c * row, pixel,
                a.tap_columns * packing.block * row, packing.block * row, target + c * a.w_channel,
                pixel, component, temp,
            )  # fmt: skip

    return map_block


@functools.cache
def map_all_filters() -> Kernel:
    """Map packed filters to components; a task is one block of channels of one tile of lanes."""

    @kernel(LAYOUT)
    def map_all(worker, a):
        packing = a.packing
        packed = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(packing.counter, worker, packing.tasks)
            if task >= packing.tasks:
                break
            block, tile = task % packing.n_blocks, task // packing.n_blocks
            phase, block = block // packing.phase_blocks, block % packing.phase_blocks
            channel = phase * packing.channels + block * packing.block
            target = packing.target + tile // packing.tiles * a.w_group
            target += tile % packing.tiles * a.w_tile + channel * a.w_channel
            call(a.map, address_of(a), task, target, a.w_component, packed)
        fence()
        lap(a.profile, worker, WEIGHT_PHASE, clock)

    return map_all


class MappedFilters(PackedFilters):
    """The components of the filters of a correlation, made in every call, or kept from before.

    They are mapped ``within`` the tasks that need them, so few channels at a time that what is
    packed stays in the first-level cache; or else before, so many that memory is written in long
    stretches, though there are as many of those as components (unless those of a channel stand
    ``together``).
    """

    def __init__(
        self,
        grid: TileGrid | LineGrid,
        itemsize: int,
        width: int,
        threads: int,
        within: bool = False,
        together: bool = False,
    ):
        c, tiling = grid.c, grid.tiling
        taps = tiling.r_rows * tiling.r_columns
        block = lanes(itemsize)
        if not within:
            block = max(1, min(c.channels, machine().l2 // 16 // (taps * width * itemsize)))
        super().__init__(c, itemsize, width, block, threads)
        self.tiling = tiling
        self.taps = _phase_taps(self.taps, grid)
        self.phase_blocks = self.n_blocks
        self.n_blocks *= grid.phases[0] * grid.phases[1]
        self.block_bytes = taps * block * width * itemsize
        row = width * itemsize
        if together:
            self.component_bytes, self.channel_bytes = row, tiling.components * row
            self.tile_bytes = grid.depth * self.channel_bytes
            self.group_bytes = self.tiles * self.tile_bytes
        else:
            self.channel_bytes, self.tile_bytes = row, grid.depth * row
            self.component_bytes = odd_lines(self.tiles * self.tile_bytes)
            self.group_bytes = tiling.components * self.component_bytes
        pixel = lanes(itemsize) * itemsize
        abreast = vectors_abreast(pixel)
        temp = tiling.components * abreast * pixel
        self.worker_bytes = aligned(self.block_bytes + temp)
        self.mapped_bytes = aligned(c.groups * self.group_bytes)
        self.kept_bytes = self.bias_bytes + self.mapped_bytes + threads * self.worker_bytes
        self.nbytes = self.bias_bytes if within else self.kept_bytes
        far = not within and self.mapped_bytes > machine().l3 // 2
        self.streamed = far and row // pixel % abreast == 0  # in whole cache lines

    @property
    def written(self) -> int:
        return self.mapped_bytes

    @property
    def effort(self) -> int:
        return 32 * self.mapped_bytes // self.itemsize

    @property
    def packer(self) -> Function:
        return map_filters(self.itemsize)

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        constants = self._constants()
        weight_map = spread_taps(self.itemsize, self.tiling, self.streamed)
        return Stage(
            map_all_filters(),
            workers_for(self.effort, constants["tasks"], self.threads),
            **constants,
            scratch_bytes=self.worker_bytes,
            map=self.packer.address,
            weight_map=weight_map.address,
            tap_columns=self.tiling.r_columns,
            w_group=self.group_bytes,
            w_tile=self.tile_bytes,
            w_component=self.component_bytes,
            w_channel=self.channel_bytes,
        )

    def _arguments(self, packed: Address) -> dict[str, Address]:
        return dict(target=packed, scratch=packed + self.mapped_bytes)


def _phase_taps(taps: np.ndarray, grid: TileGrid | LineGrid) -> np.ndarray:
    """``taps[fold, window]`` as [phase · fold, taps of a phase]; -1 where a phase has none."""
    c = grid.c
    (down, across), (rows, columns) = grid.phases, (grid.tiling.r_rows, grid.tiling.r_columns)
    phased = np.full((down, across, len(taps), rows, columns, 2), -1, np.int64)
    taps = taps.reshape(-1, c.rows.window, c.columns.window, 2)
    for r in range(down):
        for s in range(across):
            some = taps[:, r :: grid.advance[0], s :: grid.advance[1]]
            phased[r, s, :, : some.shape[1], : some.shape[2]] = some
    return phased.reshape(-1, rows * columns, 2)
