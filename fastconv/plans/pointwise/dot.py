"""``direct`` for a few 1×1 filters on channels-last pixels: y[p, k] = Σ_c x[p, c] · w[k, c].

The sums run along the lanes, which hold channels; filters in the lanes would leave most of them
empty.  So the product takes hardly longer than reading x.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.once import made_once
from fastconv.core.program import Operands
from fastconv.core.stage import Stage
from fastconv.gemm.sharing import workers_for
from fastconv.gemm.tiling import even_split, round_up
from fastconv.plans.arrays import Room, Setting
from fastconv.plans.correlation import Correlation
from fastconv.plans.packed_filters import Filters, Prepared
from fastconv.plans.part import Part
from fastconv.simd.dots import dot_rows
from fastconv.simd.tiles import tile_dots
from fastconv.simd.vector import lanes

from .dot_kernel import dot_kernel
from .matrix import is_dense, pixel_lines, with_joined_lines

# Multiply-adds in the time of adding up the lanes of a tile, for each lane; and of storing the
# results of a pixel that has its filters in the lanes.
_ADDING, _STORING = 7, 10
_TASK = 512  # pixels, about


def _work(c: Correlation, vector: int) -> float:
    """Multiply-adds of vectors for one pixel; those that take as long among them."""
    sums = c.filters * -(-c.channels // vector)
    return sums + _ADDING * vector / dot_rows(c.filters, vector)


class _Rows:
    """The filters as rows of channels, so few that NumPy arranges them."""

    nbytes = 0

    def __init__(self, c: Correlation):
        self._forward = c.forward
        self._tap = c.rows.taps[0][0], c.columns.taps[0][0]

    def found(self, w: np.ndarray, bias) -> tuple:
        """The filters, their strides and the biases: none are kept."""
        return w, w.strides, bias

    def arranged(self, w: np.ndarray) -> np.ndarray:
        """``w`` as [filter, channel]."""
        rows = w[..., *self._tap]
        return np.ascontiguousarray(rows if self._forward else rows.T)


class DotCorrelation(Part):
    """One correlation of a plan, like :class:`.BlockedCorrelation`."""

    packed_bytes = worker_bytes = nbytes = 0

    def __init__(self, c: Correlation, itemsize: int, threads: int):
        self.c = c
        self.itemsize = itemsize
        self.vector = lanes(itemsize)
        self.mr = dot_rows(c.filters, self.vector)
        self.filters = _Rows(c)
        tasks = -(-c.pixels // self.mr)
        self.workers = workers_for(self.flops, tasks, threads, c.moved(itemsize))

    @staticmethod
    def applies(c: Correlation, itemsize: int, x_format: str, y_format: str) -> bool:
        """Whether this plan can run ``c`` and suits it.

        It can: 1×1, channels-last, no padding, no groups.  It suits: few filters of many channels.
        """
        vector = lanes(itemsize)
        return (
            x_format == y_format == "nhwc"
            and c.groups == 1
            and not c.folded
            and is_dense(c)
            and c.filters <= vector
            and c.rows.outputs * c.columns.outputs >= dot_rows(c.filters, vector)
            and _work(c, vector) <= c.channels + _STORING
        )

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.pixels

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        c = self.c
        return 2 * c.pixels * c.filters * round_up(c.channels, self.vector)

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        return Stage(
            dot_kernel(),
            self.workers,
            **tile_dots(self.itemsize, self.mr, c.filters),
            channels=c.channels,
            w_pitch=c.channels * self.itemsize,
        )

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        w = self.filters.arranged(w)
        start = np.zeros(self.vector, w.dtype)
        if bias is not None:
            start[: self.mr * bias.size] = np.tile(bias, self.mr)
        return with_joined_lines(self.c, x), w, start

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        images, _, length = pixel_lines(self.c, s.x, s.y)
        least = -(-images * length // (6 * self.workers))
        span = round_up(even_split(length, min(_TASK, least)), self.mr)
        spans = -(-length // span)
        (xn, _, _, xw), (yn, _, _, yw) = s.x, s.y
        multiplying = self.stage.call(
            tasks=images * spans,
            relu=s.relu,
            x=at.first,
            xn=xn,
            xw=xw,
            y=at.out,
            yn=yn,
            yw=yw,
            length=length,
            span=span,
            spans=spans,
            w=at.second,
            bias=at.bias,
        )
        return Prepared(multiplying, Filters({}))
