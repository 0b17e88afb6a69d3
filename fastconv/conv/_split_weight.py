"""``bf16x3`` for a weight gradient: block sizes, tables and the two stages of a call.

Products are summed over blocks of pixels, then copies of the sums are added and written to dw.
Workers divide the units (group, block of channels, tile of filters) or the pixels, as in
:mod:`._blocked_weight`.
"""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.problem import ConvProblem
from fastconv.core.stage import Stage, address
from fastconv.core.workspace import aligned, scratch
from fastconv.gemm.tiling import even_split, round_up, workers_for
from fastconv.gemm.windows import window_record
from fastconv.simd.matrix import DEPTH, LANES, ROWS, SHAPE, TERMS, TILE_BYTES

from ._bilinear_grid import odd_lines
from ._buffer import Buffer
from ._split_weight_kernel import split_weight_kernel
from ._weight_sum_kernel import weight_sum_kernel
from .correlation import Axis, unfolded

_SPLIT_TRIPS = 8  # splitting takes as long as so many trips of the operands through the cache
_PANEL_BYTES = 4 << 20  # of all tiles of filters of a block of pixels


def _inside(axis: Axis) -> bool:
    """Whether every output of an axis with one tap reads from inside the input."""
    return axis.first >= 0 and axis.first + (axis.outputs - 1) * axis.advance < axis.inputs


class SplitWeight:
    """One weight gradient of a plan."""

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = 4
        self.threads = threads
        wide = round_up(c.filters, 2 * LANES) <= 1.1 * round_up(c.filters, LANES)
        self.mt, self.nt = (2, 2) if wide else (4, 1)
        self.width = self.nt * LANES
        self.row = self.width * 4
        self.block = ROWS if c.channels <= ROWS else 2 * ROWS
        self.tiles_k = -(-c.filters // self.width)
        self.n_blocks = -(-c.channels // self.block)
        self.n_tiles = round_up(self.taps * self.block // ROWS, self.mt)
        self.unit_bytes = self.n_tiles * ROWS * self.row
        self.units = c.groups * self.n_blocks * self.tiles_k
        self.copy_bytes = self.units * self.unit_bytes
        self._share_pixels()
        self._share_workers()
        self.x_window = window_record(
            c.channels, self.block, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first),
            (self.rows.source, self.columns.source * self.columns.advance), LANES,
        )  # fmt: skip
        self.dy_window = window_record(
            c.filters, self.width, (c.rows.outputs, c.columns.outputs), (0, 0), (1, 1), LANES
        )
        operands = 2 * self.mt * self.nt * TILE_BYTES + self.staged_bytes + 2 * self.low
        self.worker_bytes = aligned(operands + self.tiles_k * self.panel)
        self.sum_bytes = self.taps * LANES**2 * 4
        self.nbytes = self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, threads * self.sum_bytes
        )

    def _in_place(self, x: np.ndarray, dy: np.ndarray) -> tuple[bool, bool]:
        """Whether x, and dy, may be read as they are: every slot a pixel, in whole tiles."""
        c = self.c
        whole = self.share[2] == c.columns.outputs == self.slots
        _, xc, xh, xw = x.strides
        _, yk, yh, yw = dy.strides
        rows, columns = self.rows.source * xh, self.columns.source * xw
        single = self.taps == 1 and max(self.rows.advance, self.columns.advance) == 1
        x_there = (
            whole and single and xc == 4 and c.channels % self.block == 0
            and _inside(c.rows) and _inside(c.columns) and rows == self.slots * columns
        )  # fmt: skip
        dy_there = whole and yk == 4 and c.filters % self.width == 0 and yh == self.slots * yw
        return x_there, dy_there

    @property
    def taps(self) -> int:
        return self.c.rows.window * self.c.columns.window

    def _layout(self, n: int, i: int, j: int) -> None:
        """The planes and panels of a block of (n, i, j) outputs."""
        self.share = (n, i, j)
        self.rows, self.columns = Buffer(self.c.rows, i), Buffer(self.c.columns, j)
        self.slots = -(-self.columns.extent // self.columns.advance)
        self.phase_rows = -(-self.rows.extent // self.rows.advance)
        phases = self.rows.advance * self.columns.advance
        self.image_slots = phases * self.phase_rows * self.slots
        self.image_steps = -(-((i - 1) * self.slots + j) // DEPTH)
        # Taps of the last steps read beyond the last row.
        beyond = 2 * DEPTH + self.slots
        self.pitch = odd_lines((n * self.image_slots + beyond) * 2)
        self.low = aligned(self.block * self.pitch)
        staged = max(self.image_slots * self.block, i * self.slots * self.width) * 4
        self.staged_bytes = staged + DEPTH * max(self.row, self.block * 4)
        self.panel = n * self.image_steps * 2 * self.nt * TILE_BYTES

    def _share_pixels(self) -> None:
        """Pixels to a block: many, to store sums seldom, but their planes are to fit the cache."""
        c = self.c
        n, i, j = 1, c.rows.outputs, c.columns.outputs
        self._layout(n, i, j)
        while self._oversized() and i * j > 1:
            i, j = (even_split(i, -(-i // 2)), j) if i > 1 else (1, even_split(j, -(-j // 2)))
            self._layout(n, i, j)
        if i == c.rows.outputs and j == c.columns.outputs:
            while n < -(-c.N // self.threads):
                self._layout(n + 1, i, j)
                if self._oversized():
                    break
                n += 1
            self._layout(even_split(c.N, n), i, j)
        n = self.share[0]
        self.blocks = -(-c.N // n) * -(-c.rows.outputs // i) * -(-c.columns.outputs // j)

    def _oversized(self) -> bool:
        n = self.share[0]
        return (
            n * self.image_steps * DEPTH > TERMS
            or 2 * self.low > machine().l2 // 2
            or self.tiles_k * self.panel > _PANEL_BYTES
        )

    def _share_workers(self) -> None:
        """How workers divide pixels and units."""
        workers = workers_for(self.flops // 4, self.blocks * self.units, self.threads)
        if 2 * self.copy_bytes <= machine().l2 or self.units < workers:
            self.copies = min(workers, self.blocks)
            self.parts = min(self.units, workers // self.copies)
        else:
            self.parts = min(workers, self.units)
            self.copies = max(1, min(workers // self.parts, self.blocks))
        self.workers = self.copies * self.parts

    @property
    def flops(self) -> int:
        """Executed, as if every product were one: lanes, slots and taps filled up."""
        n = self.share[0]
        return 2 * self.blocks * n * self.image_steps * DEPTH * self.copy_bytes // 4

    @property
    def summed(self) -> int:
        """Products in a sum: those of a block of pixels, and the blocks."""
        n = self.share[0]
        return n * self.image_steps * DEPTH + self.blocks

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the sums: written once, read once."""
        return 2 * self.copies * self.copy_bytes

    @property
    def split_bytes(self) -> int:
        """What splitting x and dy moves within the caches."""
        n, i, j = self.share
        x = self.c.groups * self.n_blocks * n * self.image_slots * self.block
        dy = self.c.groups * self.tiles_k * n * i * j * self.width
        return _SPLIT_TRIPS * 4 * self.blocks * (x + dy)

    @functools.cached_property
    def tiles(self) -> np.ndarray:
        """Where the tiles of x begin in its planes, in bytes: ``[tap][16 channels]``."""

        def along(window: int, spread: int, advance: int):
            return np.divmod(np.arange(window) * spread, advance)

        row, down = along(self.c.rows.window, self.rows.spread, self.rows.advance)
        column, across = along(self.c.columns.window, self.columns.spread, self.columns.advance)
        phase = down[:, None] * self.columns.advance + across
        slot = (phase * self.phase_rows + row[:, None]) * self.slots + column
        channels = np.arange(0, self.block, ROWS) * self.pitch
        tiles = (slot.reshape(-1, 1) * 2 + channels).ravel()
        return np.concatenate([tiles, np.repeat(tiles[-1:], self.n_tiles - len(tiles))])

    @functools.cached_property
    def steps(self) -> np.ndarray:
        """Where the steps of a sum begin, from there: ``[image][32 slots]``."""
        images = np.arange(self.share[0])[:, None] * self.image_slots
        return ((images + np.arange(self.image_steps) * DEPTH) * 2).astype(np.int64).ravel()

    @functools.cached_property
    def stages(self) -> tuple[Stage, Stage]:
        """Multiply, add up; compiled when first asked for."""
        return self._multiply_stage(), self._sum_stage()

    def _multiply_stage(self) -> Stage:
        c = self.c
        n, i, j = self.share
        return Stage(
            split_weight_kernel(self.mt, self.nt),
            self.workers,
            scratch_bytes=self.worker_bytes,
            shape=address(SHAPE),
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            parts=self.parts,
            units=self.units,
            N=c.N,
            I=c.rows.outputs,
            J=c.columns.outputs,
            task_n=n,
            task_i=i,
            task_j=j,
            tasks_i=-(-c.rows.outputs // i),
            tasks_j=-(-c.columns.outputs // j),
            blocks=self.blocks,
            slots=self.slots,
            image_slots=self.image_slots,
            image_steps=self.image_steps,
            pitch=self.pitch,
            low=self.low,
            phase_rows=self.phase_rows,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            row_stride=c.rows.advance,
            column_stride=c.columns.advance,
            tiles=address(self.tiles),
            n_tiles=self.n_tiles,
            steps=address(self.steps),
            panel=self.panel,
            unit_bytes=self.unit_bytes,
            tiles_k=self.tiles_k,
            n_blocks=self.n_blocks,
            staged_bytes=self.staged_bytes,
        )

    def _sum_stage(self) -> Stage:
        c = self.c
        return Stage(
            weight_sum_kernel(4),
            workers_for(8 * self.copy_bytes, self.units, self.threads),
            tasks=self.units,
            scratch_bytes=self.sum_bytes,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            taps=self.taps,
            joined=1,
            block_bytes=self.unit_bytes,
            tap_bytes=self.block * self.row,
            tile=self.width,
            tiles_k=self.tiles_k,
            n_blocks=self.n_blocks,
            block=self.block,
            channels=c.channels,
            filters=c.filters,
        )

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> bool:
        """Compute dw; whether every result is finite."""
        c = self.c
        x_window, dy_window = self.x_window.copy(), self.dy_window.copy()
        xn, xc, xh, xw = x.strides
        x_window[:6] = (address(x), xn, xc * c.channels, xc, xh, xw)
        yn, yk, yh, yw = dy.strides
        dy_window[:6] = (address(dy), yn, yk * c.filters, yk, yh, yw)
        x_there, dy_there = self._in_place(x, dy)
        multiply, add = self.stages
        sums = scratch(self.nbytes)
        rest = sums + self.copies * self.copy_bytes
        spoilt = np.zeros(1, np.int64)
        multiply.run(
            scratch=rest,
            sums=sums,
            x_window=address(x_window),
            dy_window=address(dy_window),
            x_in_place=x_there,
            dy_in_place=dy_there,
            flag=address(spoilt),
        )
        add.run(scratch=rest, sums=sums, dw=address(dw), dk=dw.strides[0], dc=dw.strides[1])
        return not spoilt[0]
