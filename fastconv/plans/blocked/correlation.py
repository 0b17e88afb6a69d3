"""A correlation cut into blocks of output pixels: sizes, tables, and the two stages of a call.

First the filters are packed, then every block of pixels is multiplied by them.  What a subclass
adds is how the pixels of a block are read, and the kernel that does it.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import best_tiles, even_split, round_up
from fastconv.plans.arrays import Room, Setting, input_words, output_words
from fastconv.plans.buffer import Buffer
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters, Prepared, lane_table, output_order
from fastconv.plans.part import Part
from fastconv.plans.pixel_tasks import count_blocks, fed, grid
from fastconv.plans.pixels import PixelTables
from fastconv.plans.target import target_words
from fastconv.simd.vector import lanes

LARGEST_SUMS = 8 << 20  # bytes of the sums of a task
LARGEST_WINDOW = 4 << 20  # bytes that the window of a single tile of pixels may take


def _half(n: int, i: int, j: int) -> tuple[int, int, int]:
    """Half a block of pixels."""
    if n > 1:
        return -(-n // 2), i, j
    if i > 1:
        return n, even_split(i, i // 2), j
    return n, i, even_split(j, -(-j // 2))


class BlockedCorrelation(Part):
    """One correlation of a plan.

    A subclass sets the channels of a block (:meth:`_choose_block`), adds what it needs to know of
    the share of a task (:meth:`_arrange`), and brings its kernel.
    """

    pixels_per_task: int  # about so many share one trip of the filters through the cache
    few_pixels = 0  # up to so many, every task has all of them where tiles of filters are enough
    packs = False  # whether tasks pack their filters

    def __init__(self, c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.mr, self.nv = self._choose_tile(threads)
        self.width = self.nv * self.vector
        self.block = self._choose_block(x_format)
        self.filters = PackedFilters(c, itemsize, self.width, self.block, threads)
        self._share(threads)
        _, i, j = self.share
        self.rows, self.columns = Buffer(c.rows, i), Buffer(c.columns, j)
        self.store = output_order(c, y_format)
        self._arrange()
        self.worker_bytes = self._worker_bytes()
        self.workers = self.filters.settle_workers(
            self.flops, self.tasks, c.moved(itemsize), self.packs
        )
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _choose_tile(self, threads: int) -> tuple[int, int]:
        """The best tile; where pixels are few, of those that leave every thread its own filters."""
        c = self.c
        tiles = best_tiles(c.pixels, c.lanes, self.vector)
        if c.pixels <= self.few_pixels:
            most = c.groups * -(-c.lanes // self.vector) // threads
            tiles = [tile for tile in tiles if tile[1] <= most] or tiles
        return tiles[0]

    def _choose_block(self, x_format: str) -> int:
        """Channels of a block."""
        raise NotImplementedError

    def _arrange(self) -> None:
        """What else depends on a task's share of the pixels."""

    def _window_bytes(self, n: int, i: int, j: int) -> int:
        """What the window of a block of (n, i, j) pixels takes in the cache."""
        raise NotImplementedError

    def _worker_bytes(self) -> int:
        """Scratch of one worker."""
        raise NotImplementedError

    def _reading(self, x_strides) -> np.ndarray:
        """The table of :meth:`.PixelTables.reading`: where each pixel's window starts."""
        raise NotImplementedError

    def _make_stage(self) -> Stage:
        """The kernel and its arguments: :meth:`_constants` and its own."""
        raise NotImplementedError

    def _positions(self, i: int, j: int) -> int:
        """Buffer positions of one image that i × j outputs see."""
        return Buffer(self.c.rows, i).extent * Buffer(self.c.columns, j).extent

    def _pixels_of(self, n: int, i: int, j: int) -> int:
        """Pixels of a block, register tiles filled up."""
        return round_up(n * i * j, self.mr)

    def _may_have(self, n: int, i: int, j: int) -> bool:
        """Whether a block may be so small, to stay in the cache."""
        return True

    def _share(self, threads: int) -> None:
        """One task's share of the pixels: enough to reuse the filters, its window within L2."""
        c = self.c
        pixel_sums = self.filters.tiles * self.width * self.itemsize
        goal = round_up(min(self.pixels_per_task, LARGEST_SUMS // pixel_sums), self.mr)
        budget = machine().l2 // 2
        n, i, j = 1, c.rows.outputs, c.columns.outputs
        if i * j <= goal:
            n = max(1, c.N)
            if c.pixels > self.few_pixels:
                n = max(1, min(goal // (i * j), -(-c.N // (2 * threads if threads > 1 else 1))))
        else:
            j = even_split(j, goal)
            i = even_split(i, max(1, goal // j))
        while n * i * j > 1 and self._window_bytes(n, i, j) > (
            budget if n * i * j > self.mr else LARGEST_WINDOW
        ):
            less = _half(n, i, j)
            if not self._may_have(*less):
                break
            n, i, j = less
        tiles = c.groups * self.filters.tiles
        if c.pixels > self.few_pixels or tiles < threads:
            flops = 2 * c.executed(self.vector)
            busy = workers_for(flops, threads, threads, c.moved(self.itemsize))
            n, i = fed(c, n, i, j, tiles, busy, self._pixels_of)
        self.share = (n, i, j)
        self.most = self._pixels_of(n, i, j)
        self.blocks = count_blocks(c, n, i, j)
        blocks = self.blocks * c.groups
        wanted = -(-3 * threads // max(1, blocks)) if threads > 1 else 1
        self.splits = max(1, min(self.filters.tiles, wanted))
        self.tasks = blocks * self.splits

    @property
    def folds(self) -> bool:
        """Whether vectors hold outputs of several pixels."""
        return self.c.folded

    @property
    def outputs(self) -> int:
        """Outputs of one filter, over all images."""
        return self.c.pixels * self.c.rows.block * self.c.columns.block

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        return 2 * self.c.executed(self.vector)

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of packing: written once, read once."""
        return 2 * self.filters.nbytes

    @made_once
    def pixels(self) -> PixelTables:
        """Made when first asked for: on large images there are many of them."""
        return PixelTables(self.c, self.share, self.mr)

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        return self._make_stage()

    def _constants(self) -> dict[str, int]:
        """The arguments that every kernel over blocks of pixels takes."""
        c = self.c
        return dict(
            tasks=self.tasks,
            scratch_bytes=self.worker_bytes,
            **target_words(c),
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            all_lanes=c.lanes,
            most=self.most,
            row_stride=c.rows.advance,
            column_stride=c.columns.advance,
            buffer_rows=self.rows.extent,
            buffer_columns=self.columns.extent,
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
            vector=self.vector,
            store=self.store,
        )

    def _words(self, x_strides, y_strides) -> dict[str, int | np.ndarray]:
        """The arguments for arrays with these strides."""
        c = self.c
        yn, yk, yh, yw = y_strides
        steps = (c.rows.block * c.rows.step, c.columns.block * c.columns.step)
        return dict(
            **input_words(x_strides, c.channels),
            **output_words(y_strides, c),
            lane_table=lane_table(c, yk, yh, yw),
            reading=self._reading(x_strides),
            writing=self.pixels.writing(yn, yh, yw, steps),
        )

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s, self.packs)
        words = self._words(s.x, s.y)
        multiplying = self.stage.call(
            scratch=room.workers, relu=s.relu, x=at.first, y=at.out, **words, **filters.words
        )
        return Prepared(multiplying, filters)
