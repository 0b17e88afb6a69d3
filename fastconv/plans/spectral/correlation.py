"""A depthwise correlation with unit advance by spectra: block sizes, and a call's stages.

The filters are packed in vectors of channels; then every task transforms those of its vector and
correlates its tiles, one after the other.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.once import made_once
from fastconv.core.program import Address, Operands, Words
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.results import PLANES, SCATTER, row_storer
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import Room, Setting, window_of
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters, Prepared, lane_table, output_order
from fastconv.plans.part import Part
from fastconv.simd.vector import lanes
from fastconv.transforms.spectral import correlate, filter_spectrum, temp_vectors

from .grid import SpectralGrid
from .kernel import spectral_kernel

_TASKS = 3  # for each thread, so that they end together


def input_window(grid: SpectralGrid, vector: int) -> np.ndarray:
    """The record of the input's windows, without the array itself."""
    c = grid.c
    size = c.rows.inputs, c.columns.inputs
    return window_record(c.groups, vector, size, grid.window_first(), grid.lattices, vector)


def plane_window(template: np.ndarray, array: Address, strides) -> Words:
    """The record with an array, whose channels are planes of one group."""
    n, c, h, w = strides
    return window_of(template, array, (n, 0, c, h, w))


class SpectralCorrelation(Part):
    """One depthwise correlation of a plan."""

    def __init__(self, c: Correlation, itemsize: int, y_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.pixel = self.vector * itemsize
        self.grid = grid = SpectralGrid(c)
        self.units = -(-c.groups // self.vector)
        # To packing, the channels are filters of one group, to which w gives one each.
        joined = c._replace(groups=1, filters=c.groups, forward=True)
        self.filters = PackedFilters(joined, itemsize, self.vector, 1, threads)
        self.store = output_order(c, y_format)
        if self.store == PLANES and c.columns.spread > 1:
            self.store = SCATTER
        stretches = min(grid.tiles, -(-_TASKS * threads // self.units) if threads > 1 else 1)
        self.share = -(-grid.tiles // stretches)
        self.splits = -(-grid.tiles // self.share)
        self.tasks = self.units * self.splits
        rows, columns = grid.sides
        pixels = max(rows.inputs * columns.inputs, rows.outputs * columns.outputs)
        self.room_bytes = pixels * self.pixel
        widest = max(columns.inputs, columns.taps)
        temp = temp_vectors(rows.length, columns.length, widest, columns.outputs) * self.pixel
        self.spectrum_bytes = rows.length * columns.length * self.pixel
        self.worker_bytes = aligned(self.spectrum_bytes + self.room_bytes + temp)
        work = 2 * self.vector * self.instructions
        self.workers = workers_for(work, self.tasks, threads, c.moved(itemsize))
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.pixels

    @property
    def instructions(self) -> int:
        """Vector instructions of all tasks."""
        tile, filters = self.grid.work
        return self.units * (self.grid.tiles * tile + self.splits * filters)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the packed filters: written once, read by every task."""
        return (1 + self.splits) * self.filters.nbytes

    @made_once
    def stage(self) -> Stage:
        """The kernel and its arguments; compiled when first asked for."""
        c, grid = self.c, self.grid
        return Stage(
            spectral_kernel(self.itemsize),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            room_bytes=self.room_bytes,
            channels=c.groups,
            splits=self.splits,
            filter_map=filter_spectrum(self.itemsize, *grid.filter_key).address,
            tile_map=correlate(self.itemsize, *grid.tile_key).address,
            w_unit=self.filters.tile_bytes,
            tap_columns=c.columns.window,
            I=c.rows.outputs,
            J=c.columns.outputs,
            store=self.store,
            store_rows=row_storer(self.itemsize, self.store).address,
            **grid.constants(self.share),
        )

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s)
        yn, yk, yh, yw = s.y
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            flag=room.flags,
            x_window=plane_window(input_window(self.grid, self.vector), at.first, s.x),
            y=at.out,
            yn=yn,
            yh=yh,
            yw=yw,
            lane_step=yk,
            pixel_step=yw,
            lane_table=lane_table(self.filters.correlation, yk, yh, yw),
            **filters.words,
        )
        return Prepared(multiplying, filters)
