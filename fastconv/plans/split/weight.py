"""``bf16x3`` for a weight gradient: block sizes, tables and the two stages of a call.

Products are summed over blocks of pixels, then copies of the sums are added and written to dw.
Workers divide the units (group, block of channels, tile of filters), the pixels or both, as in
:mod:`fastconv.plans.blocked.weight`.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Address, Program, Words, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned, odd_lines
from fastconv.gemm.sharing import share_out, workers_for
from fastconv.gemm.tiling import even_split, in_pairs, round_up
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import no_flags, window_of
from fastconv.plans.buffer import Buffer
from fastconv.plans.correlation import unfolded
from fastconv.plans.pixel_tasks import count_blocks, grid
from fastconv.plans.sum_tasks import sum_tasks
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.matrix import DEPTH, LANES, SHAPE, TILE_BYTES, TILE_ROWS
from fastconv.simd.microkernel import TERMS

from .filters import SPLIT_TRIPS
from .sum_kernel import split_sum_kernel
from .weight_kernel import split_weight_kernel

_SPEED = 2  # pixels are summed in the time of one on vectors, splitting included
_TURNS = 2  # parts of the units for each worker, with taps enough to split the operands for each
_PLANE_BYTES = 4 << 20  # of all channels of the left operand in a block of pixels


class SplitWeight(WeightGradient):
    """One weight gradient of a plan.

    The left operand is dy.  With a single tap it may be x as well: it is the one with fewer
    channels then, because making planes takes longer than making pairs.
    """

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = 4
        self.threads = threads
        self.taps = c.rows.window * c.columns.window
        self.swapped = self.taps == 1 and c.channels < c.filters
        self.channels = (c.channels, c.filters) if self.swapped else (c.filters, c.channels)
        left, right = self.channels
        self.mt, self.nt = (2, 2) if in_pairs(left, TILE_ROWS) else (1, 4)
        self.left_tile = self.mt * TILE_ROWS
        self.block = LANES * min(self.nt, -(-right // LANES))
        self.left_tiles = -(-left // self.left_tile)
        self.n_blocks = -(-right // self.block)
        self.n_tiles = round_up(self.taps * self.block // LANES, self.nt)
        self.unit_bytes = self.n_tiles * self.mt * TILE_BYTES
        self.units = c.groups * self.n_blocks * self.left_tiles
        self.copy_bytes = self.units * self.unit_bytes
        self._share_pixels()
        self._share_workers()
        sums = 2 * self.mt * self.nt * TILE_BYTES
        operands = 2 * self.right_low + self.left_tiles * 2 * self.left_low
        self.worker_bytes = 64 + sums + self.staged_bytes + aligned(operands)
        self.nbytes = self.copies * self.copy_bytes + self.workers * self.worker_bytes

    def _layout(self, n: int, i: int, j: int) -> None:
        """The operands in a block of (n, i, j) outputs."""
        self.share = (n, i, j)
        self.rows, self.columns = Buffer(self.c.rows, i), Buffer(self.c.columns, j)
        self.slots = -(-self.columns.extent // self.columns.advance)
        self.phase_rows = -(-self.rows.extent // self.rows.advance)
        phases = self.rows.advance * self.columns.advance
        self.image_slots = round_up(phases * self.phase_rows * self.slots, 2)
        self.image_steps = -(-((i - 1) * self.slots + j) // DEPTH)
        self.pitch = odd_lines(n * self.image_steps * DEPTH * 2)
        self.left_low = self.left_tile * self.pitch
        # Taps of the last steps read beyond the last row.
        slots = n * self.image_slots + 2 * DEPTH + self.slots
        self.tile_bytes = -(-slots // 2) * 64
        self.copies_low = self.block // LANES * self.tile_bytes
        self.parities = 1 if self.taps == 1 else 2
        self.right_low = self.parities * self.copies_low
        right, left = self.image_slots * self.block, i * self.slots * self.left_tile
        beyond = (DEPTH + 2) * max(self.block, self.left_tile)
        self.staged_bytes = aligned(4 * (max(right, left) + beyond))

    def _share_pixels(self) -> None:
        """Pixels to a block: many, to store sums seldom, but their pairs are to fit the cache."""
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
            blocks = round_up(-(-c.N // n), self.threads)  # as many for each
            self._layout(-(-c.N // min(blocks, c.N)), i, j)
        n = self.share[0]
        self.blocks = count_blocks(c, n, i, j)

    def _oversized(self) -> bool:
        n = self.share[0]
        return (
            n * self.image_steps * DEPTH > TERMS
            or 2 * self.right_low > machine().l2 // 2
            or self.left_tiles * 2 * self.left_low > _PLANE_BYTES
        )

    def _share_workers(self) -> None:
        """How workers divide pixels and units."""
        moved = self.c.moved(4) + 2 * self.copy_bytes  # sums are added, and copied
        workers = workers_for(self.flops // 4, self.blocks * self.units, self.threads, moved)
        self.copies, self.parts = share_out(
            workers, self.blocks, self.units, self.copy_bytes, self.c.pixels // _SPEED,
            _TURNS if self.taps > 1 else 1,
        )  # fmt: skip
        self.workers = min(workers, self.copies * self.parts)

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
        """What splitting the operands moves within the caches."""
        n, i, _ = self.share
        right = self.n_blocks * self.image_slots * self.block * self.parities
        left = self.left_tiles * i * self.slots * self.left_tile
        left *= min(self.n_blocks, -(-self.parts // self.c.groups))
        return SPLIT_TRIPS * 4 * self.c.groups * self.blocks * n * (left + right)

    @made_once
    def tiles(self) -> np.ndarray:
        """Where the tiles of the right operand begin, in bytes: ``[tap][16 channels]``."""

        def along(window: int, spread: int, advance: int):
            return np.divmod(np.arange(window) * spread, advance)

        row, down = along(self.c.rows.window, self.rows.spread, self.rows.advance)
        column, across = along(self.c.columns.window, self.columns.spread, self.columns.advance)
        phase = down[:, None] * self.columns.advance + across
        slot = ((phase * self.phase_rows + row[:, None]) * self.slots + column).reshape(-1, 1)
        channels = np.arange(self.block // LANES) * self.tile_bytes
        tiles = (slot % 2 * self.copies_low + slot // 2 * 64 + channels).ravel()
        return np.concatenate([tiles, np.repeat(tiles[-1:], self.n_tiles - len(tiles))])

    @made_once
    def steps(self) -> np.ndarray:
        """How far steps go in both operands, in bytes: ``[image][32 slots]``."""
        image, step = np.divmod(np.arange(self.share[0] * self.image_steps), self.image_steps)
        left = (image * self.image_steps + step) * DEPTH * 2
        right = (image * self.image_slots // 2 + step * DEPTH // 2) * 64
        return np.stack([left, right], axis=-1).astype(np.int64)

    @made_once
    def stages(self) -> tuple[Stage, Stage]:
        """Multiply, add up; compiled when first asked for."""
        return self._multiply_stage(), self._sum_stage()

    def _multiply_stage(self) -> Stage:
        c = self.c
        return Stage(
            split_weight_kernel(self.mt, self.nt),
            self.workers,
            scratch_bytes=self.worker_bytes,
            shape=SHAPE,
            copy_bytes=self.copy_bytes,
            **sum_tasks(self.workers, self.copies, self.parts, self.units, self.blocks),
            **grid(c, self.share),
            slots=self.slots,
            image_slots=self.image_slots,
            image_steps=self.image_steps,
            phase_rows=self.phase_rows,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            pitch=self.pitch,
            left_low=self.left_low,
            tile_bytes=self.tile_bytes,
            right_low=self.right_low,
            copies_low=self.copies_low,
            parities=self.parities,
            tiles=self.tiles,
            n_tiles=self.n_tiles,
            steps=self.steps,
            unit_bytes=self.unit_bytes,
            left_tiles=self.left_tiles,
            n_blocks=self.n_blocks,
            staged_bytes=self.staged_bytes,
        )

    def _sum_stage(self) -> Stage:
        left, right = self.channels
        return Stage(
            split_sum_kernel(),
            workers_for(0, self.units, self.threads, 2 * self.copies * self.copy_bytes),
            tasks=self.units,
            copy_bytes=self.copy_bytes,
            copies=self.copies,
            unit_bytes=self.unit_bytes,
            taps=self.taps,
            left_tiles=self.left_tiles,
            n_blocks=self.n_blocks,
            left_tile=self.left_tile,
            block=self.block,
            left_channels=left,
            right_channels=right,
        )

    def _x_window(self, strides, at: Address, block: int) -> Words:
        """The record from which the kernel packs x."""
        c = self.c
        source = (self.rows.source, self.columns.source * self.columns.advance)
        words = window_record(
            c.channels, block, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), source, LANES,
        )  # fmt: skip
        # In place if every slot is a pixel: one tap, no borders, no gap between rows.
        single = self.taps == 1 and max(self.rows.advance, self.columns.advance) == 1
        _, _, xh, xw = strides
        there = single and c.rows.inside and c.columns.inside
        there = there and self.rows.source * xh == self.slots * self.columns.source * xw
        advances = (c.rows.advance, c.columns.advance)
        return self._window(words, strides, at, c.channels, block, advances, there)

    def _dy_window(self, strides, at: Address, block: int) -> Words:
        """The record from which the kernel packs dy."""
        c = self.c
        size = (c.rows.outputs, c.columns.outputs)
        words = window_record(c.filters, block, size, (0, 0), (1, 1), LANES)
        _, _, yh, yw = strides
        there = yh == self.slots * yw
        return self._window(words, strides, at, c.filters, block, (1, 1), there)

    def _window(self, words, strides, at, channels, block, advances, there) -> Words:
        """A record of an array that may be read ``there`` if its channels allow it as well."""
        an, ac, ah, aw = strides
        whole = self.share[2] == self.c.columns.outputs == self.slots
        there = there and whole and ac == 4 and channels % block == 0
        ahead = (*advances, there)
        words = np.concatenate([ahead, words])
        return window_of(words, at, (an, ac * channels, ac, ah, aw), len(ahead))

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        at, flags, sums = operands(), no_flags(), SCRATCH
        dk, dc, _, _ = dw_strides
        if self.swapped:
            left = self._x_window(x_strides, at.first, self.left_tile)
            right = self._dy_window(dy_strides, at.second, self.block)
            left_step, right_step = dc, dk
        else:
            left = self._dy_window(dy_strides, at.second, self.left_tile)
            right = self._x_window(x_strides, at.first, self.block)
            left_step, right_step = dk, dc
        multiply, add = self.stages
        multiplying = multiply.call(
            scratch=sums + self.copies * self.copy_bytes,
            sums=sums,
            left_window=left,
            right_window=right,
            flags=flags,
        )
        adding = add.call(
            sums=sums,
            dw=at.out,
            group_step=self.c.filters * dk,
            left_step=left_step,
            right_step=right_step,
        )
        return Program([multiplying, adding], flags)
