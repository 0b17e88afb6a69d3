"""``direct`` for 1×1 filters on planes (NCHW): y[k, pixel] = Σ_c w[k, c] · x[c, pixel].

A matrix product of the filters with the data as it stands, so the operands change roles: vector
lanes run over pixels, which are contiguous in x and in y, and weights are broadcast.  Nothing is
transposed.  A span of pixels is copied into panels ``[tile][channel][pixel]`` that stay in L2 (the
planes themselves, whole pages apart, would compete for few sets of the cache), with the images of a
batch one after the other, so that small ones fill whole tiles together.

Filters are read where they are, if channels or filters stand side by side: what one core packs
another one waits for.  A tile has no more of them than the first cache has places for, whose number
is small where rows are whole pages apart; and where channels are, so that all that a tile reads
competes for few places, a copy is worth its time once there are enough pixels.

A few images may leave a few pixels over when vectors are full: 7×7 = 3 · 16 + 1.  If it is channels
of the filters that stand side by side, those of such pixels are made to, and their results are dot
products along the lanes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Address, Operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import best_tiles, even_split, round_up, tile_score
from fastconv.plans.arrays import Room, Setting
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import Filters, PackedFilters, Prepared
from fastconv.plans.unfolded import UnfoldedCorrelation
from fastconv.simd.copying import LINE
from fastconv.simd.dots import dot_rows
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tiles import tile_dots, tile_planes
from fastconv.simd.vector import lanes

from .planes_kernel import planes_kernel

_TILES = 16  # of pixels in a span: enough to write long stretches of every plane
_TRANSPOSING = 1.1  # how much longer the plan that transposes takes at least
_TURNS = 8  # tasks for each thread, at least
_MOST_OVER = 0.5  # of a vector: pixels left over
_GAIN = 1.05  # of leaving them over, at least
_COPIED = 384  # pixels, from which on filters are copied that compete for the first cache
_FAR = 4  # times as long it takes if they compete for the second, too


def _panel_bytes(c: Correlation, itemsize: int, nv: int) -> int:
    return c.channels * nv * lanes(itemsize) * itemsize


def _left_over(c: Correlation, vector: int) -> int:
    """How many pixels are left to dot products, by which tiles of the others do better."""
    rest = c.pixels % vector
    whole_tiles = c.pixels >= vector and c.filters >= machine().isa.most_rows
    long_rows = c.forward and c.channels >= vector
    if rest > _MOST_OVER * vector or not whole_tiles or not long_rows:
        return 0
    gain = _score(c, c.pixels - rest, vector) / _score(c, c.pixels, vector)
    return rest if gain > _GAIN else 0


def _score(c: Correlation, pixels: int, vector: int) -> float:
    """The share of the peak that the best tile may reach if it has so many of the pixels."""
    return tile_score(c.filters, pixels, vector) * c.pixels / pixels


class _Spans(NamedTuple):
    """Pixels in tiles, those left over, and how many make a span; tasks, and those of a span."""

    pixels: int
    over: int
    span: int
    splits: int
    tasks: int


class _Filters(PackedFilters):
    """Filters that are packed, and kept, only where they cannot be read as they are, or slowly."""

    def readable(self, strides: tuple[int, ...]) -> bool:
        """Whether filters or channels stand side by side, near enough; and the filters fill a tile.

        Those of a tile that stand side by side are read channel by channel.
        """
        c = self.correlation
        wk, wc = strides[:2] if c.forward else strides[1::-1]
        if c.filters < self.width:
            return False
        return wc == self.itemsize or (wk == self.itemsize and not self._compete(wc))

    def _compete(self, pitch: int) -> bool:
        """Whether channels so many bytes apart compete for places, at the cost of a copy."""
        c, host = self.correlation, machine()
        channels = min(c.channels, TERMS)
        missed = _FAR if channels > host.far_lines_apart(pitch) else 1
        return channels > host.lines_apart(pitch) and missed * c.pixels >= _COPIED

    def found(self, w: np.ndarray, bias) -> tuple:
        return (w, w.strides, bias) if self.readable(w.strides) else super().found(w, bias)


class PlanesCorrelation(UnfoldedCorrelation):
    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        over = _left_over(c, self.vector)
        self.mr, self.nv = self._choose_tile(c.pixels - over)
        self.width = self.nv * self.vector
        self.filters = _Filters(c, itemsize, self.mr, None, threads)
        self.spans = self._spans(over, threads)
        self.spans_of_all = self._spans(0, threads)  # where filters do not allow to leave any over
        pixels = max(self.spans.span, self.spans_of_all.span) + over
        room = (2 * self.mr * self.width + pixels * c.channels) * itemsize
        self.worker_bytes = aligned(room + LINE)
        self.workers = workers_for(self.flops, self.spans.tasks, threads, c.moved(itemsize))
        self.nbytes = self.filters.nbytes + self.workers * self.worker_bytes

    @staticmethod
    def applies(c: Correlation, itemsize: int, x_format: str, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it.

        It can: 1×1, whole planes of NCHW, no padding.  It suits: some tiles of pixels fit in L2,
        images fill vectors, and filling tiles with pixels wastes less than transposing costs.
        """
        axes = (c.rows, c.columns)
        vector = lanes(itemsize)
        pixels = c.pixels - _left_over(c, vector)
        used = _score(c, pixels, vector) / tile_score(c.pixels, c.filters, vector)
        return (
            x_format == y_format == "nchw"
            and c.rows.window * c.columns.window == 1
            and all(a.outputs == a.size and a.step == 1 and a.first >= 0 for a in axes)
            and all(a.first + (a.outputs - 1) * a.advance < a.inputs for a in axes)
            and 4 * _panel_bytes(c, itemsize, 2) <= machine().l2
            and c.rows.outputs * c.columns.outputs >= vector
            and used * _TRANSPOSING > 1
        )

    def _spans(self, over: int, threads: int) -> _Spans:
        c, pixels = self.c, self.c.pixels - over
        tiles = -(-pixels // self.width)
        fitting = machine().l2 // 2 // _panel_bytes(c, self.itemsize, self.nv)
        share = max(1, min(_TILES, fitting, tiles // threads))
        span = even_split(tiles, share) * self.width
        spans = -(-pixels // span)
        wanted = -(-_TURNS * threads // (spans * c.groups)) if threads > 1 else 1
        splits = min(self.filters.tiles, wanted)
        return _Spans(pixels, over, span, splits, spans * c.groups * splits)

    def _choose_tile(self, pixels: int) -> tuple[int, int]:
        """The best tile, if there is one whose filters the first cache has places for."""
        c = self.c
        tiles = best_tiles(c.filters, pixels, self.vector, far=True)
        if c.forward:
            places = machine().lines_apart(c.channels * self.itemsize)
            tiles = [tile for tile in tiles if tile[0] <= places] or tiles
        return tiles[0]

    @property
    def packed_bytes(self) -> int:
        """Memory traffic of packing filters that lie as PyTorch's do: written once, read once."""
        row = self.c.channels if self.c.forward else self.c.filters
        there = self.filters.readable((row * self.itemsize, self.itemsize))
        return 0 if there else 2 * self.filters.nbytes

    @property
    def flops(self) -> int:
        """Executed, tiles filled up with zeros."""
        c = self.c
        pixels = round_up(self.spans.pixels, self.width) + self.spans.over
        return 2 * c.groups * self.filters.tiles * self.mr * pixels * c.channels

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        return Stage(
            planes_kernel(self.itemsize),
            self.workers,
            scratch_bytes=self.worker_bytes,
            tiles=self.filters.tiles,
            filters=c.filters,
            channels=c.channels,
            plane=c.rows.outputs * c.columns.outputs,
            row_first=c.rows.first,
            row_step=c.rows.advance,
            column_first=c.columns.first,
            column_step=c.columns.advance,
            groups=c.groups,
        )

    def _dots(self, over: int) -> dict[str, int]:
        """The register tile of the pixels left over; compiled when first asked for."""
        if over == 0:
            return {}
        rows = min(self.mr, dot_rows(over, self.vector))
        return dict(dots=tile_dots(self.itemsize, rows, over)["multiply"], dot_rows=rows)

    def _words(self, x_strides, y_strides) -> dict[str, int]:
        """The arguments for arrays with these strides."""
        c = self.c
        (xn, xc, xh, xw), (yn, yk, _, _) = x_strides, y_strides
        line = c.columns.outputs
        if c.rows.advance * xh == line * c.columns.advance * xw:  # all rows of a plane in one step
            line *= c.rows.outputs
        y_steps = dict(yn=yn, yg=yk * c.filters, yk=yk)
        return dict(xn=xn, xg=xc * c.channels, xc=xc, xh=xh, xw=xw, **y_steps, line=line)

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        there = s.w is not None and self.filters.readable(s.w)
        filters = self._filters_there(at, s) if there else self._packed_filters(room.filters, at, s)
        multiplying = self.stage.call(
            scratch=room.workers,
            relu=s.relu,
            x=at.first,
            y=at.out,
            **self._words(s.x, s.y),
            **filters.words,
            biased=s.biased,
        )
        return Prepared(multiplying, filters)

    def _tile(self, side_by_side: bool) -> dict[str, int]:
        """The register tile, whose rows of A stand side by side or in a stretch each."""
        return tile_planes(self.itemsize, self.mr, self.nv, 1 if side_by_side else self.mr)

    def _filters_there(self, at: Operands, s: Setting) -> Filters:
        """The filters where they are; the last tile ends with the last of them."""
        c = self.c
        wk, wc = (s.w[0], s.w[1]) if c.forward else (s.w[1], s.w[0])
        spans = self.spans if wc == self.itemsize else self.spans_of_all
        return Filters(
            dict(
                **spans._asdict(),
                **self._dots(spans.over),
                **self._tile(wk == self.itemsize),
                w=at.second,
                w_group=c.filters * wk if c.forward else c.channels * wc,
                w_row=wk,
                last=c.filters - self.mr,
                w_pitch=wk,
                w_step=wc,
                bias=at.bias,
                bias_group=c.filters,
            )
        )

    def _packed_filters(self, base: Address, at: Operands, s: Setting) -> Filters:
        packed, tiles = self.filters, self.filters.tiles
        words, calls = packed.prepare(base, at, s)
        words = dict(
            **self.spans_of_all._asdict(),
            **self._tile(True),
            **words,
            w_group=tiles * packed.tile_bytes,
            w_row=packed.tile_bytes // self.mr,
            last=packed.last,
            w_step=self.mr * self.itemsize,
            bias_group=tiles * self.mr,
        )
        return Filters(words, calls)
