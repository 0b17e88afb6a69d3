"""``direct`` for strided input gradients of a few channels: all parities of a line at once.

The outputs h ≡ a (mod stride), a *parity* of them, take taps of their own.  Where the filters fill
a vector, each parity of a block of outputs has one in the register tile, and what the tile reads
for one of them serves all; what no tap joins is left out.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.once import made_once
from fastconv.core.stage import Stage
from fastconv.gemm.tiling import ParityTile, parity_tile
from fastconv.plans.arrays import input_words
from fastconv.plans.correlation import Axis, Correlation
from fastconv.simd.tiles import tile_parities
from fastconv.simd.vector import lanes

from .line import LineCorrelation, groups_together, results_are_near, windows_are_near
from .parity_kernel import parity_kernel

_LEAST_SCORE = 0.6  # of the peak: parities one by one reach as much


def _reach(axis: Axis) -> int:
    """The taps that each parity takes, as bits ``parity·window + tap``."""
    taps = np.array(axis.taps).ravel()
    return sum(1 << i for i, tap in enumerate(taps) if tap >= 0)


def _taps(c: Correlation) -> list[int]:
    """How many vectors of weights the taps of each row of the window have."""
    rows, columns = (np.array(axis.taps) >= 0 for axis in (c.rows, c.columns))
    return [int(n) for n in rows.sum(axis=0) * columns.sum()]


def _best_tile(c: Correlation, together: int) -> ParityTile | None:
    columns = c.columns
    parities = c.rows.block * columns.block
    return parity_tile(columns.outputs, _taps(c), parities, columns.window, together)


class ParityCorrelation(LineCorrelation):
    kind = "taps"
    turned = 0

    @staticmethod
    def applies(c: Correlation, itemsize: int) -> bool:
        """Whether this plan can run the gradient ``c`` of all parities, and suits it."""
        together = groups_together(c, itemsize)
        if (
            together * c.filters != lanes(itemsize)
            or min(c.rows.block, c.columns.block) == 1  # with so few parities little is shared
            or sum(_taps(c)) == 1
            or not windows_are_near(c, itemsize, together)
        ):
            return False
        tile = _best_tile(c, together)
        if tile is None or not results_are_near(c, itemsize, tile.nv):
            return False
        return tile.score >= _LEAST_SCORE

    def _groups_together(self, c: Correlation) -> int:
        return groups_together(c, self.itemsize)

    def _choose_tile(self, c: Correlation) -> None:
        _, self.mr, self.nv = _best_tile(c, self.together)

    def _room(self, columns: int) -> int:
        """Blocks that wait for being stored: a line, or a tile of which some are no results."""
        return columns if self.planes else self.mr

    def _lines(self) -> int:
        """Of blocks: each has several rows of outputs."""
        return 1

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        return self.c.N * self.c.rows.size * self.c.columns.size

    @property
    def flops(self) -> int:
        """Executed."""
        c = self.c
        return 2 * c.groups * c.pixels * sum(_taps(c)) * c.channels // self.together * self.vector

    def _tile_words(self) -> dict[str, int]:
        c = self.c
        axes = [(a.block, a.window, _reach(a)) for a in (c.rows, c.columns)]
        return tile_parities(
            self.itemsize, self.mr, c.channels // self.together, self.together, *axes
        )

    @made_once
    def stage(self) -> Stage:
        """The multiplication; compiled when first asked for."""
        c = self.c
        step = self.vector * self.itemsize
        row_step = step * c.columns.block * (c.columns.outputs if self.planes else 1)
        return Stage(
            parity_kernel(self.itemsize),
            self.workers,
            **self._constants(),
            H=c.rows.size,
            W=c.columns.size,
            down=c.rows.block,
            across=c.columns.block,
            staged=self._table(row_step, step),
        )

    def _table(self, row_step: int, step: int) -> np.ndarray:
        """Where the parities of a block are: rows and pixels so many bytes apart."""
        rows, columns = np.indices((self.c.rows.block, self.c.columns.block))
        return (rows * row_step + columns * step).ravel()

    def _words(self, x_strides, y_strides):
        yn, yk, yh, yw = y_strides
        steps = dict(yn=yn, yg=yk * self.c.filters, yk=yk, yh=yh, yw=yw)
        words = input_words(x_strides, self.c.channels)
        return dict(**words, **steps, places=self._table(yh, yw))
