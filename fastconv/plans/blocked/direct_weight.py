"""``direct``'s weight gradient: one matrix product for each tap, for a row of taps, or for all."""

from __future__ import annotations

from array import array

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.gemm.tiling import channel_block, exact_tile, round_up, sliding_tile, tile_score
from fastconv.plans.buffer import Buffer
from fastconv.plans.pixels import tap_reach, whole_reach

from .weight import BlockedWeight

_JOINING_GAIN = 1.1  # joined taps cannot leave out the pixels that meet the padding
_SWAPPING_GAIN = 1.05  # below that operands keep their places
_STRAIGHT_GAIN = 1.2  # of sums that are not to be copied to dw
_NARROW_GAIN = 1.2  # of the narrower pixels in the lanes, where none are packed
_FEW_ROWS = 6  # fewer have tiles of their own
_PACKED, _TRANSPOSED = 10, 12  # multiply-adds in the time of moving a vector of x, of dy on planes


class DirectWeight(BlockedWeight):
    def _choose_products(self) -> None:
        """The taps of a row, or all of them, are joined if the channels are few."""
        c = self.c
        # Windows have as many positions for a pixel as there are inputs from one to the next.
        positions = Buffer(c.rows, 2).advance * Buffer(c.columns, 2).advance
        self.block = channel_block(c.channels, self.vector, self._most_channels(positions))
        self.joined, self.stretches, self.tile = 1, 1, None
        if c.columns.spread == 1 and c.rows.window * c.columns.window > 1:
            self._join()
        rows, columns = tap_reach(c.rows), tap_reach(c.columns)
        if self.joined > 1:  # joined taps cannot leave out any output
            columns = whole_reach(c.columns)
        if self.stretches > 1:
            rows = whole_reach(c.rows)
        self.reach = (rows, columns)
        self.products = (len(rows), len(columns))

    def _join(self) -> None:
        """By the tile: one that slides along a row, one for all taps, or any for a row of taps."""
        c = self.c
        down, across = c.rows.window, c.columns.window
        row_score = tile_score(self.block * across, c.filters, self.vector, panel=True)
        whole = self.block == c.channels  # as tiles for all of them need it
        if whole and c.columns.advance == 1 and across > 1:
            slid = sliding_tile(down, across, c.channels, c.filters, self.vector)
            if slid is not None and slid.score > row_score:
                self.joined, self.stretches = slid.tap_rows * across, slid.tap_rows
                self.sliding, self.tile = across, (self.joined * c.channels, slid.nv)
                return
        single = tile_score(self.block, c.filters, self.vector, panel=True)
        exact = exact_tile(down * across * c.channels, c.filters, self.vector)
        if whole and exact is not None:
            self.joined, self.stretches, self.tile = down * across, down, exact
        elif row_score > _JOINING_GAIN * single:
            self.joined = across

    @property
    def time_on_planes(self) -> float:
        """Of a group, in multiply-adds of vectors, if operands on planes have to be transposed."""
        c = self.c
        products = c.pixels * c.steps * c.filters / self.score
        read = c.N * c.rows.inputs * c.columns.inputs * c.channels
        transposed = c.pixels * round_up(c.filters, self.vector)
        return (products + _PACKED * read + _TRANSPOSED * transposed) / self.vector

    def _choose_tile(self) -> None:
        rows = self.joined * self.block
        if self.tile is None and rows < _FEW_ROWS:
            self.tile = exact_tile(rows, self.c.filters, self.vector)
        if self.tile is None:
            super()._choose_tile()
        else:
            self.mr, self.nv = self.tile


class SwappedWeight(DirectWeight):
    """The gradient of 1×1 filters, transposed: x and dy change places."""

    rows_of_dw = True

    def __init__(self, problem: ConvProblem, threads: int):
        super().__init__(_swapped(problem), threads)

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> array:
        return super().run(dy, x, dw.swapaxes(0, 1))


def _swapped(problem: ConvProblem) -> ConvProblem:
    """The problem whose input is the other's output gradient."""
    return problem._replace(
        C=problem.K, K=problem.C, x_format=problem.y_format, y_format=problem.x_format
    )


def _worth(plan: DirectWeight) -> float:
    """The score of a plan, and what its sums or its operands gain where they are.

    To be compared with that of the same operands swapped.
    """
    narrow = all(plan.in_place) and plan.c.filters < plan.c.channels
    gain = _STRAIGHT_GAIN if plan.straight else _NARROW_GAIN if narrow else 1
    return plan.score * gain


def direct_weight(problem: ConvProblem, threads: int) -> DirectWeight:
    """The faster plan: lanes are filters, or channels where every pixel is a term."""
    plan = DirectWeight(problem, threads)
    one = problem.R == problem.S == 1
    if one and problem.stride == (1, 1) and not any(problem.padding):
        swapped = SwappedWeight(problem, threads)
        if _SWAPPING_GAIN * _worth(plan) < _worth(swapped):
            return swapped
    return plan
