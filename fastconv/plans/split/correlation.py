"""``bf16x3`` for a correlation: implicit GEMM on the matrix unit over split windows.

Per block of output pixels the input window is copied once as two halves of bfloat16.  The pixels of
a row stand a fixed number of bytes apart, and so do those of the next row, so that any 16 *slots*
in a row are the rows of a tile where they are; a few slots between two rows are no pixels.  A step
of the sum takes 32 channels of one tap; of few channels, it takes several taps of a row.
"""

from __future__ import annotations

from math import lcm

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.results import ROWS
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import even_split, in_pairs, round_up
from fastconv.plans.arrays import Room, Setting, input_words, output_words
from fastconv.plans.buffer import Buffer
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import Prepared, output_order
from fastconv.plans.pixel_tasks import count_blocks, fed, grid
from fastconv.plans.target import target_words
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.matrix import DEPTH, LANES, SHAPE, TILE_BYTES, TILE_ROWS
from fastconv.simd.microkernel import TERMS

from .filters import SPLIT_TRIPS, SplitFilters
from .kernel import split_kernel

_SLOTS_PER_TASK = 768  # about so many share one trip of the filters through the cache
_TURNS = 8  # tasks of a worker, at most, where filters are divided to have more of them
_STAGGER = 9 * 64  # bytes between halves beyond whole pages, so that they use other sets of a cache


def channels_of_step(channels: int, spread: int) -> int:
    """Channels that a step takes of a tap: all of a few, if neighbouring taps can share it."""
    if spread > 1:
        return DEPTH
    return next(block for block in (4, 8, 16, DEPTH) if channels <= block or block == DEPTH)


class SplitCorrelation(UnfoldedCorrelation):
    """One correlation of a plan."""

    def __init__(self, c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.mt, self.nt = (2, 2) if in_pairs(c.filters, LANES) else (4, 1)
        self.height, self.width = self.mt * TILE_ROWS, self.nt * LANES
        self.block = channels_of_step(c.channels, c.columns.spread)
        self.joined = DEPTH // self.block  # taps of a step
        self.across = round_up(c.columns.window, self.joined)
        self.filters = SplitFilters(c, self.nt, self.block, self.across, threads)
        self.store = output_order(c, y_format)
        self._share(threads)
        sums = 2 * self.mt * self.nt * TILE_BYTES
        self.worker_bytes = self.panel = aligned(64 + sums + 2 * self.line + 2 * self.low)
        if self.packs:
            self.worker_bytes += self.filters.tile_bytes + self.filters.worker_bytes
        self.workers = self.filters.settle_workers(
            self.flops // 4, self.tasks, c.moved(itemsize), self.packs
        )
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _layout(self, n: int, i: int, j: int) -> None:
        """The window of a block of (n, i, j) outputs."""
        self.rows, self.columns = Buffer(self.c.rows, i), Buffer(self.c.columns, j)
        beyond = (self.across - self.c.columns.window) * self.columns.spread
        self.positions = round_up(
            self.columns.extent + beyond, lcm(self.columns.advance, self.joined)
        )
        self.line = self.positions * self.block * 2
        self.phase_bytes = -(-self.rows.extent // self.rows.advance) * self.line
        self.block_bytes = self.rows.advance * self.phase_bytes
        self.image_bytes = self.filters.n_blocks * self.block_bytes
        slot = self.columns.advance * self.block * 2
        read_beyond = self.height * slot + self.line
        self.low = round_up(n * self.image_bytes + read_beyond, 4096) + _STAGGER

    @property
    def slots(self) -> int:
        """Slots of a row of outputs."""
        return self.positions // self.columns.advance

    @property
    def _stored(self) -> int:
        """Bytes of a pixel that every tile of filters goes back to.

        Planes are stored whole rows at a time, and filters from afar are read as seldom as can be.
        """
        near = self.filters.nbytes <= machine().l2 // 2
        return self.c.lanes * self.itemsize if near and self.store == ROWS else 0

    def _share(self, threads: int) -> None:
        """One task's share of the pixels, its window within L2, and how its filters are divided."""
        c = self.c
        n, i, j = 1, c.rows.outputs, c.columns.outputs
        budget = machine().l2 // 2
        self._layout(n, i, j)
        if i * self.slots <= _SLOTS_PER_TASK:
            most = max(1, _SLOTS_PER_TASK // (i * self.slots))
            n = c.N if most >= c.N else min(most, -(-c.N // threads))
            self._layout(n, i, j)
        while n * i * j > 1 and (
            n * i * self.slots > _SLOTS_PER_TASK
            or 2 * self.low > budget
            or n * i * j * self._stored > budget // 4
        ):
            if n > 1:
                n = -(-n // 2)
            elif i > 1:
                i = even_split(i, i // 2)
            elif j > self.height:
                j = even_split(j, -(-j // 2))
            else:
                break
            self._layout(n, i, j)
        tiles = c.groups * self.filters.tiles
        busy = workers_for(self._flops(n, i, j) // 4, threads, threads, c.moved(self.itemsize))
        n, i = fed(c, n, i, j, tiles, busy, self._slots_of)
        self._layout(n, i, j)
        self.share = (n, i, j)
        blocks = count_blocks(c, n, i, j) * c.groups
        self.splits = self._splits(blocks, threads)
        self.tasks = blocks * self.splits
        # Whether every tile of filters serves one task, that splits it.
        self.packs = blocks == c.groups and self.tasks >= threads

    def _splits(self, blocks: int, threads: int) -> int:
        """Into how many parts the filters of a block are divided, a task each.

        Of those that take equal workers the least time, the most: workers are not equally fast, and
        whoever is done early takes another task.
        """

        def taken(splits: int) -> int:
            return -(-blocks * splits // threads) * -(-self.filters.tiles // splits)

        tiles = self.filters.tiles
        most = min(tiles, max(1, _TURNS * threads // blocks)) if threads > 1 else 1
        parts = {-(-tiles // -(-tiles // n)) for n in range(1, most + 1)}  # none of them empty
        return min(sorted(parts, reverse=True), key=taken)

    @property
    def summed(self) -> int:
        """Products in a sum: those added up in one go, and how often that is."""
        terms = len(self.steps) * DEPTH
        return min(terms, TERMS) + terms // TERMS

    @property
    def flops(self) -> int:
        """Executed, as if every product were one: lanes, slots and taps filled up."""
        return self._flops(*self.share)

    def _flops(self, n: int, i: int, j: int) -> int:
        """The same if blocks are of (n, i, j) pixels."""
        c = self.c
        slots = count_blocks(c, n, i, j) * c.groups * self._slots_of(n, i, j)
        terms = self.filters.n_blocks * self.filters.steps * DEPTH
        return 2 * slots * terms * self.filters.tiles * self.width

    def _slots_of(self, n: int, i: int, j: int) -> int:
        """Slots of a block, register tiles filled up."""
        return n * round_up((i - 1) * self.slots + j, self.height)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of splitting the filters: written, and read again, where they are kept."""
        return self.filters.nbytes if self.packs else super().packed_bytes

    @property
    def split_bytes(self) -> int:
        """What splitting the windows moves within the caches: a worker splits a block's once."""
        blocks = self.tasks // self.splits
        windows = min(self.tasks, blocks + self.workers - 1)
        return SPLIT_TRIPS * windows * self.share[0] * 2 * self.image_bytes

    @made_once
    def steps(self) -> np.ndarray:
        """Where each step of the sum begins, in the window and in a tile of filters, in bytes."""
        c = self.c
        at = np.arange(c.rows.window) * self.rows.spread
        down = at % self.rows.advance * self.phase_bytes + at // self.rows.advance * self.line
        across = np.arange(0, self.across, self.joined) * self.columns.spread * self.block * 2
        blocks = np.arange(self.filters.n_blocks) * self.block_bytes
        window = (blocks[:, None, None] + down[:, None] + across).ravel()
        filters = np.arange(len(window)) * 2 * self.nt * TILE_BYTES
        return np.stack([window, filters], axis=-1).astype(np.int64)

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        return Stage(
            split_kernel(self.mt, self.nt),
            self.workers,
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            shape=SHAPE,
            **target_words(c),
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            all_lanes=c.lanes,
            steps=self.steps,
            n_steps=len(self.steps),
            panel=self.panel,
            positions=self.positions,
            line=self.line,
            phase_bytes=self.phase_bytes,
            block_bytes=self.block_bytes,
            image_bytes=self.image_bytes,
            low=self.low,
            row_stride=c.rows.advance,
            column_stride=c.columns.advance,
            window_rows=self.rows.extent,
            window_columns=self.columns.extent,
            row_advance=self.rows.advance,
            column_advance=self.columns.advance,
            **grid(c, self.share),
            groups=c.groups,
            splits=self.splits,
            height=c.rows.inputs,
            width=c.columns.inputs,
            row_first=c.rows.first,
            row_source=self.rows.source,
            column_first=c.columns.first,
            column_source=self.columns.source,
            channels=c.channels,
            block=self.block,
            n_blocks=self.filters.n_blocks,
            vector=LANES,
            store=self.store,
        )

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s, self.packs)
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            flags=room.flags,
            x=at.first,
            y=at.out,
            **input_words(s.x, self.c.channels),
            **output_words(s.y, self.c),
            **filters.words,
        )
        return Prepared(multiplying, filters)
