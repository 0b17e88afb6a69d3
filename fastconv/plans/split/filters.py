"""Filters of a correlation as right operands of the matrix unit: ``[group][tile][block][step]``.

Packed block by block into the cache, and split from there.
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
from fastconv.core.once import made_once
from fastconv.core.profile import WEIGHT
from fastconv.core.program import Address
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.weights import PACKING, pack_task
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters
from fastconv.simd.clock import lap, started
from fastconv.simd.matrix import DEPTH, LANES, TILE_BYTES, split_pairs
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element

SPLIT_TRIPS = 6  # splitting takes as long as so many trips of the operands through the cache

LAYOUT = record("profile split scratch scratch_bytes steps", packing=PACKING)


@functools.cache
def split_filters(nt: int) -> Function:
    """``split(args, task, packed, target)``: one task of a kernel whose arguments are given.

    A task is one block of channels of one tile of ``nt`` vectors, which is packed on the way.
    """
    step_bytes = 2 * nt * TILE_BYTES

    @callee
    def split(args, task, packed, target):
        a, like = record_at(args, LAYOUT), element(4)
        row = nt * LANES * 4
        pack_task(like, a.packing, 4, LANES, task, packed)
        for step in range(a.steps):
            source = packed + step * DEPTH * row
            split_pairs(like, nt, target + step * step_bytes, nt * TILE_BYTES, source, row)

    return split


@functools.cache
def filter_split_kernel(nt: int) -> Kernel:
    """Split all filters."""
    step_bytes = 2 * nt * TILE_BYTES

    @kernel(LAYOUT)
    def split_all(worker, a):
        packed = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.packing.counter, worker, a.packing.tasks)
            if task >= a.packing.tasks:
                break
            target = a.packing.target + task * a.steps * step_bytes
            call(a.split, address_of(a), task, packed, target)
        lap(a.profile, worker, WEIGHT, clock)

    return split_all


class SplitFilters(PackedFilters):
    """The halves of the filters of a correlation, made in every call, or kept from before.

    ``across`` taps of a row, some of them beyond it, make up whole steps.
    """

    def __init__(self, c: Correlation, nt: int, block: int, across: int, threads: int):
        super().__init__(c, 4, nt * LANES, block, threads)
        self.nt = nt
        taps = self.taps.reshape(c.rows.window, c.columns.window, 2)
        padded = np.full((c.rows.window, across, 2), -1, np.int64)
        padded[:, : c.columns.window] = taps
        self.taps = padded.reshape(1, -1, 2)
        self.block_bytes = self.taps.shape[1] * block * self.width * 4
        self.tile_bytes = self.n_blocks * self.block_bytes
        self.steps = self.taps.shape[1] * block // DEPTH
        self.split_bytes = aligned(c.groups * self.tiles * self.tile_bytes)
        self.worker_bytes = aligned(self.block_bytes)
        self.nbytes = self.bias_bytes + self.split_bytes + threads * self.worker_bytes

    @property
    def written(self) -> int:
        return self.split_bytes

    @property
    def effort(self) -> int:
        return 50 * self.split_bytes

    @property
    def packer(self) -> Function:
        """What splits one block of channels of one tile."""
        return split_filters(self.nt)

    @made_once
    def stage(self) -> Stage:
        """The kernel with its arguments; compiled when first asked for."""
        constants = self._constants()
        return Stage(
            filter_split_kernel(self.nt),
            workers_for(self.effort, constants["tasks"], self.threads),
            split=self.packer.address,
            **constants,
            scratch_bytes=self.worker_bytes,
            steps=self.steps,
        )

    def _arguments(self, packed: Address) -> dict[str, Address]:
        return dict(target=packed, scratch=packed + self.split_bytes)
