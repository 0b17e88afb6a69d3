"""A weight gradient cut into blocks of pixels: sizes, tables and the two stages of a call.

Outer products are summed over the pixels, then copies of the sums are added and written to dw.
Workers share out the pixels in copies of the sums, which pays while these are small or the pixels
many, divide the units (group, block of channels, tile of filters), or both
(:mod:`fastconv.gemm.sharing`).
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import share_out, workers_for
from fastconv.gemm.tiling import best_tiles, even_split, score
from fastconv.gemm.windows import window_record
from fastconv.plans.arrays import window_of
from fastconv.plans.buffer import Buffer
from fastconv.plans.correlation import unfolded
from fastconv.plans.pixel_tasks import count_blocks
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.vector import lanes

from .next_pixels import RUN_BYTES, TABLES
from .weight_stages import multiply_stage, sum_stage

PIXELS_AT_ONCE = 224  # summed in one go: long enough to hide the loads and stores of the sums
_SLIDING_PIXELS = 1024  # the same where all taps are: a few channels, whose windows share rows
_BLOCKS = 32  # for each thread, enough to share them out evenly, before they are larger than that
_TURNS = 4  # parts of the units for each worker, with taps enough to pack the operands for each
_LARGEST_WINDOW = 4 << 20  # bytes of the rows of x that a block reads
_PIXEL_BYTES = 512  # from one pixel to the next: as far as a tile reads them where they are
_FEW_READS = 8  # of a pixel far from its neighbours, for which packing it takes too long
_SHORT_STEP = 18  # multiply-adds, which take less time than lines from the second cache


class BlockedWeight(WeightGradient):
    """One weight gradient of a plan.

    A subclass says which matrix products make up a block of channels (:meth:`_choose_products`),
    and may gather the left operand's rows (:meth:`_arrange`) rather than use the window.
    """

    # Set by _choose_products:
    block: int  # channels of a block
    joined: int  # taps in one product
    stretches: int  # in which its rows stand in the window: tap rows, if it has several
    products: tuple[int, int]  # products for a block: tap rows × taps of a row
    sliding: int = 0  # taps that the tile slides along, if it does
    reach: tuple[np.ndarray, np.ndarray]  # outputs [low, high) that they read, along each axis

    rows_of_dw = False  # whether the lanes of the sums stand side by side in dw

    def __init__(self, problem: ConvProblem, threads: int):
        self.c = c = unfolded(problem)
        self.itemsize = problem.itemsize
        self.vector = lanes(self.itemsize)
        self.threads = threads
        self._choose_products()
        self.overlaps = self._may_overlap(problem)
        self._choose_tile()
        self.width = self.nv * self.vector
        self.overlaps &= self.width < c.filters
        self.row_bytes = self.width * self.itemsize
        self.tiles_m = -(-self.joined * self.block // self.mr)
        self.tiles_k = -(-c.filters // self.width)
        self.n_blocks = -(-c.channels // self.block)
        self.tap_bytes = self.tiles_m * self.mr * self.row_bytes
        self.block_bytes = self.products[0] * self.products[1] * self.tap_bytes
        self.units = c.groups * self.n_blocks * self.tiles_k
        self.copy_bytes = self.units * self.block_bytes
        self._share_pixels()
        self._share_workers(problem.flops)
        self._arrange()
        self.in_place = self._readable_in_place(problem)
        self.overlaps &= self.in_place[1]
        self.last = c.filters - self.width if self.overlaps else (self.tiles_k - 1) * self.width
        self.x_window = window_record(
            c.channels, self.block, (c.rows.inputs, c.columns.inputs),
            (c.rows.first, c.columns.first), (self.rows.source, self.columns.source), self.vector,
        )  # fmt: skip
        self.dy_window = window_record(
            c.filters, self.width, (c.rows.outputs, c.columns.outputs), (0, 0), (1, 1), self.vector
        )
        self.worker_bytes = self._worker_bytes()
        self.sum_bytes = c.rows.window * c.columns.window * self.vector**2 * self.itemsize
        self.nbytes = self.copies * self.copy_bytes + max(
            self.workers * self.worker_bytes, threads * self.sum_bytes
        )

    def _choose_products(self) -> None:
        raise NotImplementedError

    def _most_channels(self, positions: int) -> int:
        """Channels of a block: as many as half of the second cache has room for; a vector at least.

        The window has ``positions`` for every pixel.
        """
        return max(self.vector, machine().l2 // 2 // (PIXELS_AT_ONCE * positions * self.itemsize))

    def _may_overlap(self, problem: ConvProblem) -> bool:
        """Whether the last tile of filters may begin before the one before it ends.

        Then dy is read in place though its pixels are no whole tiles, which pays where a single tap
        reads it.  (Sums that go straight to dw would be added there twice.)
        """
        c = self.c
        single = c.rows.window * c.columns.window == c.groups == 1
        odd = c.filters > self.vector and c.filters % self.vector != 0
        near = problem.y_format == "nhwc" and c.filters * self.itemsize <= _PIXEL_BYTES
        return single and odd and near and not self.rows_of_dw

    def _choose_tile(self) -> None:
        extent, filters = self.joined * self.block, self.c.filters
        tiles = best_tiles(extent, filters, self.vector, far=True, panel=True)
        if self.overlaps:
            tiles = [tile for tile in tiles if tile[1] * self.vector <= filters]
        self.mr, self.nv = tiles[0]

    def _arrange(self) -> None:
        """How terms are gathered from the window; by default not at all."""
        self.terms = np.zeros(0, np.int64)
        self.term_length = 0
        self.pixel_step = 0

    def _readable_in_place(self, problem: ConvProblem) -> tuple[bool, bool]:
        """Whether x, and dy, may be read where they are: channels-last, in whole tiles.

        A tap that is not joined leaves out the outputs whose pixels are beyond a border.
        Pixels far apart compete for a few sets of the first cache, which is worth packing once they
        are read more than ``_FEW_READS`` times.
        """
        c, taps = self.c, self.products[0] * self.products[1]
        single = self.joined == 1 and len(self.terms) == 0
        whole_x = single and c.channels % self.block == self.block % self.mr == 0
        whole_dy = c.filters % self.width == 0 or self.overlaps
        operands = (
            (problem.x_format, c.channels, whole_x, taps * self.tiles_k),
            (problem.y_format, c.filters, whole_dy, taps * self.n_blocks * self.tiles_m),
        )
        return tuple(
            order == "nhwc"
            and whole
            and (reads <= _FEW_READS or self._stay_near(c.groups * size * self.itemsize))
            for order, size, whole, reads in operands
        )

    def _stay_near(self, pitch: int) -> bool:
        """Whether pixels so many bytes apart are near enough while they are read again and again.

        The second cache has the next ones in time if a tile adds to many sums in a step.
        """
        if self.mr * self.nv > _SHORT_STEP:
            return pitch <= _PIXEL_BYTES
        n, i, j = self.share
        return machine().lines_apart(pitch) >= n * i * j

    @property
    def score(self) -> float:
        """The share of the peak that the tile may reach."""
        rows = self.joined * self.block
        return score((self.mr, self.nv), rows, self.c.filters, self.vector, far=True)

    @property
    def flops(self) -> int:
        """Executed, vectors and tiles filled up with zeros."""
        met = np.prod([np.ptp(axis, axis=-1).sum() for axis in self.reach], dtype=np.int64)
        lanes_summed = self.units * self.tap_bytes // self.itemsize
        return int(2 * self.c.N * met * lanes_summed)

    @property
    def straight(self) -> bool:
        """Whether the only copy of the sums is dw itself, but for what does not fill a tile."""
        return self.rows_of_dw and self.copies == 1

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of the sums: written once, read once."""
        return 0 if self.straight else 2 * self.copies * self.copy_bytes

    def _window_bytes(self, n: int, i: int, j: int) -> int:
        positions = Buffer(self.c.rows, i).extent * Buffer(self.c.columns, j).extent
        return n * positions * self.block * self.itemsize

    def _share_pixels(self) -> None:
        """Pixels to a block."""
        c = self.c
        fair = c.pixels // (_BLOCKS * self.threads)
        most = max(PIXELS_AT_ONCE, min(_SLIDING_PIXELS, fair)) if self.sliding else PIXELS_AT_ONCE
        n, i, j = 1, c.rows.outputs, even_split(c.columns.outputs, most)
        if i * j > most:
            i = even_split(i, max(1, most // j))
        else:
            n = max(1, min(most // (i * j), -(-c.N // self.threads)))
        while self._window_bytes(n, i, j) > _LARGEST_WINDOW and n * i * j > 1:
            n, i, j = (-(-n // 2), i, j) if n > 1 else (1, -(-i // 2), -(-j // 2))
        self.share = (n, i, j)
        self.rows, self.columns = Buffer(c.rows, i), Buffer(c.columns, j)
        self.blocks = count_blocks(c, n, i, j)

    def _share_workers(self, flops: int) -> None:
        """How workers divide pixels and units."""
        moved = self.c.moved(self.itemsize) + 2 * self.copy_bytes  # sums are added, and copied
        workers = workers_for(flops, self.blocks * self.units, self.threads, moved)
        several = self.c.rows.window * self.c.columns.window > 1
        self.copies, self.parts = share_out(
            workers, self.blocks, self.units, self.copy_bytes, self.c.pixels,
            _TURNS if several else 1,
        )  # fmt: skip
        self.workers = min(workers, self.copies * self.parts)

    def _worker_bytes(self) -> int:
        """Scratch of one worker; tiles and gathers read a little beyond their operand."""
        n, i, j = self.share
        beyond = max(self.vector, self.mr) * self.itemsize
        self.window_bytes = aligned(self._window_bytes(n, i, j) + beyond)
        self.columns_bytes = 0
        if len(self.terms):
            self.columns_bytes = aligned(n * i * j * self.pixel_step + beyond)
        tables = 16 * self.mr + TABLES * RUN_BYTES * n * i + 128 + self.row_bytes
        gradient = self.tiles_k * n * i * j * self.row_bytes
        return aligned(tables + self.window_bytes + self.columns_bytes + gradient)

    @made_once
    def multiply(self) -> Stage:
        """Outer products, summed in copies; compiled when first asked for."""
        return multiply_stage(self)

    @made_once
    def add(self) -> Stage:
        """The copies, added and written to dw; compiled when first asked for."""
        return sum_stage(self)

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        c, at, sums = self.c, operands(), SCRATCH
        (xn, xc, xh, xw), (yn, yk, yh, yw) = x_strides, dy_strides
        x_there, dy_there = self.in_place
        assert yk == self.itemsize or not self.overlaps, "channels-last, as the problem says"
        dk, dc, _, _ = dw_strides
        dg = c.channels * dc if self.rows_of_dw else c.filters * dk
        rest = sums + self.copies * self.copy_bytes
        multiplying = self.multiply.call(
            scratch=rest,
            sums=sums,
            x_window=window_of(self.x_window, at.first, (xn, xc * c.channels, xc, xh, xw)),
            dy_window=window_of(self.dy_window, at.second, (yn, yk * c.filters, yk, yh, yw)),
            x_in_place=x_there and xc == self.itemsize,
            dy_in_place=dy_there and yk == self.itemsize,
            dw=at.out if self.straight else 0,
            dg=dg,
            dc=dc,
        )
        if self.straight:
            return Program([multiplying])
        adding = self.add.call(scratch=rest, sums=sums, dw=at.out, dg=dg, dk=dk, dc=dc)
        return Program([multiplying, adding])
