"""``direct`` for 1×1 filters on channels-last pixels: y[pixel, k] = Σ_c x[pixel, c] · w[c, k].

The lines of both arrays are matrices as they stand, with equally spaced pixels (all lines
together, without a stride), so a register tile finds its rows without a table, and has a
register left to fetch the next ones with: the product takes hardly longer than moving the arrays,
and should not wait for them.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.tiling import choose_tile, even_split, round_up
from fastconv.plans.arrays import Room, Setting
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import PackedFilters, Prepared
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tiles import tile_pitched
from fastconv.simd.vector import lanes

from .matrix_kernel import matrix_kernel

_TILES = 24  # of pixels in a task
_NEAR = 4  # parts of the second cache, of which the pixels of a bundle of tiles fill one
_LONGEST = 1.15  # times the pixels of a line: what tiles may compute


def is_dense(c: Correlation) -> bool:
    """Whether the pixels of all rows are evenly apart, in whole arrays; 1×1 filters only."""
    return all(
        a.window == a.advance == a.step == 1 and a.first == 0 and a.outputs == a.inputs
        for a in (c.rows, c.columns)
    )


def pixel_lines(c: Correlation, x_strides, y_strides) -> tuple[int, int, int]:
    """How the pixels lie: images, lines of an image, and pixels of a line, evenly apart."""
    images, lines, length = c.N, c.rows.outputs, c.columns.outputs
    if is_dense(c) and all(rows == length * pixels for *_, rows, pixels in (x_strides, y_strides)):
        lines, length = 1, lines * length
        if all(image == length * pixels for image, *_, pixels in (x_strides, y_strides)):
            images, length = 1, images * length
    return images, lines, length


def with_joined_lines(c: Correlation, x: np.ndarray) -> np.ndarray:
    """``x``, or a copy if it is part of an array, so that its lines stand one behind the other."""
    _, _, xh, xw = x.strides
    if c.rows.outputs == 1 or xh == c.columns.outputs * xw:
        return x
    # Not ``ascontiguousarray``: to that the stride of a single column means nothing.
    return x.transpose(0, 2, 3, 1).copy(order="C").transpose(0, 3, 1, 2)


class MatrixCorrelation(UnfoldedCorrelation):
    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.mr, self.nv = choose_tile(c.pixels, c.filters, lanes(itemsize))
        self.width = self.nv * lanes(itemsize)
        self.filters = PackedFilters(c, itemsize, self.width, None, threads)
        self.worker_bytes = aligned(self.mr * self.width * itemsize)
        self.all_tiles = c.groups * self.filters.tiles
        tasks = -(-c.pixels // self.mr) * self.all_tiles
        self.workers = self.filters.settle_workers(self.flops, tasks, c.moved(itemsize))
        self.splits = self._choose_splits()
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    def _choose_splits(self) -> int:
        """Parts of the filters that have tasks of their own.

        With s of them each worker reads 1/s of the filters and s / workers of the pixels: least
        where both are as much.  Groups whose filters would not stay in the cache together are
        parts, or several each.
        """
        c = self.c
        apart = c.groups if self.filters.nbytes > machine().l2 // 2 else 1
        filters, tiles = c.groups * c.filters // apart, self.all_tiles // apart
        least = math.sqrt(filters * self.workers / c.pixels)
        return apart * max(1, min(tiles, self.workers, round(least)))

    @staticmethod
    def applies(c: Correlation, itemsize: int, x_format: str, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it.

        It can: 1×1, channels-last, no padding.  It suits: tiles of pixels fill the lines.
        """
        mr, _ = choose_tile(c.pixels, c.filters, lanes(itemsize))
        line = c.columns.outputs * (c.rows.outputs if is_dense(c) else 1)
        return (
            x_format == y_format == "nhwc"
            and not c.folded
            and all(
                a.window == 1 and a.first >= 0 and a.first + (a.outputs - 1) * a.advance < a.inputs
                for a in (c.rows, c.columns)
            )
            and line >= mr
            and round_up(line, mr) <= _LONGEST * line
        )

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        return Stage(
            matrix_kernel(self.itemsize),
            self.workers,
            **tile_pitched(self.itemsize, self.mr, self.nv),
            scratch_bytes=self.worker_bytes,
            w_tile=self.filters.tile_bytes,
            tiles=self.filters.tiles,
            all_tiles=self.all_tiles,
            filters=c.filters,
            channels=c.channels,
            fetching_y=round(self.all_tiles * c.filters / (c.filters + c.channels)),
            splits=self.splits,
            bundle=self._bundle(),
        )

    def _bundle(self) -> int:
        """Tiles of pixels that meet a tile of filters in one go: what they read or write is near.

        A sum of several parts passes through scratch, which has room for one tile.
        """
        c = self.c
        pixel = c.groups * max(c.channels, c.filters) * self.itemsize
        near = machine().l2 // _NEAR // (self.mr * pixel)
        return max(1, min(_TILES, near)) if c.channels <= TERMS else 1

    def _words(self, x_strides, y_strides) -> dict[str, int]:
        """The arguments for arrays with these strides."""
        c = self.c
        images, n_lines, length = pixel_lines(c, x_strides, y_strides)
        tiles = -(-length // self.mr)
        most = min(_TILES, -(-images * n_lines * tiles * self.splits // (6 * self.workers)))
        span = even_split(tiles, most) * self.mr
        spans = -(-length // span)
        (xn, xc, xh, xw), (yn, yk, yh, yw) = x_strides, y_strides
        return dict(
            xn=xn,
            xh=c.rows.advance * xh,
            xg=xc * c.channels,
            xw=c.columns.advance * xw,
            yn=yn,
            yh=c.rows.step * yh,
            yg=yk * c.filters,
            yw=c.columns.step * yw,
            lines=n_lines,
            length=length,
            span=span,
            spans=spans,
            tasks=images * n_lines * spans * self.splits,
        )

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        # Lines shorter than a tile are computed together; y is whole.
        if self.c.columns.outputs < self.mr:
            x = with_joined_lines(self.c, x)
        return x, w, bias

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        filters = self.filters.prepare(room.filters, at, s)
        rows, columns = self.c.rows, self.c.columns
        (_, _, xh, xw), (_, _, yh, yw) = s.x, s.y
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            x=at.first + (rows.first * xh + columns.first * xw),
            y=at.out + (rows.start * yh + columns.start * yw),
            **self._words(s.x, s.y),
            **filters.words,
        )
        return Prepared(multiplying, filters)
