"""Filters packed for a correlation: when, by whom, and where; and how its results are stored."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fastconv.core.jit import Function
from fastconv.core.machine import machine
from fastconv.core.once import made_once
from fastconv.core.program import Address, Call, Operands, Words
from fastconv.core.stage import Stage
from fastconv.core.workspace import aligned
from fastconv.gemm.results import PLANES, ROWS, SCATTER, SPREAD
from fastconv.gemm.sharing import pays, workers_for
from fastconv.gemm.tiling import round_up
from fastconv.gemm.weights import (
    NO_TAP,
    TOGETHER,
    pack_filters,
    pack_weights,
    reader,
    reading_order,
    taps_of_elements,
)
from fastconv.simd.vector import lanes

from . import kept_filters
from .arrays import Setting
from .correlation import Correlation


class Filters(NamedTuple):
    """What a kernel is told of the filters, and what packs them.

    They are packed already if no call does so; or tasks do it.
    """

    words: dict[str, int | Words | Address]
    calls: tuple[Call, ...] = ()


class Prepared(NamedTuple):
    """The calls of a correlation: packing filters, if need be, and then multiplying.

    In between the input of a plan that is made of one correlation may be spread.
    """

    multiplying: Call
    filters: Filters
    spreading: tuple[Call, ...] = ()


_TASKS = 2  # of packing, for each thread
_LEAST_BLOCK = 64  # channels


class PackedFilters:
    """The filters of a correlation, packed into the workspace of every call; or kept from before.

    (:mod:`.kept_filters` has those.)  Filters of one tap may have any ``block`` of channels: None
    for what gives enough tasks.
    """

    def __init__(self, c: Correlation, itemsize: int, width: int, block: int | None, threads: int):
        self.correlation = c
        self.width, self.threads = width, threads
        self.itemsize = itemsize
        self.taps = c.tap_table()
        self.tiles = -(-c.lanes // width)
        self.last = (self.tiles - 1) * width  # first lane of the last tile
        self.block = block or self._fair_block()
        self.n_blocks = self.phase_blocks = -(-c.channels // self.block)
        self.block_bytes = self.taps.shape[1] * self.block * width * itemsize
        self.tile_bytes = self.n_blocks * self.block_bytes
        self.bias_bytes = aligned(c.groups * self.tiles * width * itemsize)
        self.nbytes = self.bias_bytes + aligned(c.groups * self.tiles * self.tile_bytes)

    @made_once
    def kept_bytes(self) -> int:
        """Room for packing all of them, even if in a call tasks pack what they need."""
        return self.nbytes

    @property
    def written(self) -> int:
        """Bytes of the packed filters."""
        return self.correlation.groups * self.tiles * self.tile_bytes

    @property
    def effort(self) -> int:
        """Floating-point operations in the time of packing them."""
        return 64 * self.written // self.itemsize

    def settle_workers(self, flops: int, tasks: int, moved: int, by_tasks: bool = False) -> int:
        """Threads worth starting on a product with these filters, which tasks may pack themselves.

        Else one does all where passing them from core to core would take longer.  A worker that is
        alone then packs them, too, if its cache holds them.
        """
        if by_tasks:
            return workers_for(flops + self.effort, tasks, self.threads, moved)
        workers = workers_for(flops, tasks, self.threads, moved)
        if not pays(flops + self.effort, workers, self.written):
            workers = 1
        if workers == 1 and self.written <= machine().l2:
            self.threads = 1
        return workers

    def _fair_block(self) -> int:
        c = self.correlation
        parts = -(-_TASKS * self.threads // (c.groups * self.tiles))
        return min(c.channels, round_up(-(-c.channels // parts), _LEAST_BLOCK))

    @property
    def packer(self) -> Function:
        """What packs one block of channels of one tile."""
        return pack_filters(self.itemsize)

    @made_once
    def stage(self) -> Stage:
        """The packing kernel with its arguments; compiled when first asked for."""
        constants = self._constants()
        workers = workers_for(self.effort, constants["tasks"], self.threads)
        return Stage(pack_weights(self.itemsize), workers, pack=self.packer.address, **constants)

    def _constants(self) -> dict[str, int]:
        """The arguments of packing."""
        c = self.correlation
        read = c.groups * c.filters * c.channels * self.taps.shape[1] * self.itemsize
        return dict(
            tasks=c.groups * self.tiles * self.n_blocks,
            n_taps=self.taps.shape[1],
            folds=c.rows.block * c.columns.block,
            filters=c.filters,
            channels=c.channels,
            block=self.block,
            n_blocks=self.n_blocks,
            phase_blocks=self.phase_blocks,
            tile=self.width,
            tiles=self.tiles,
            last=self.last,
            vector=lanes(self.itemsize),
            far=int(read > machine().l2),
        )

    def _arguments(self, packed: Address) -> dict[str, Address]:
        """The arguments that say where the packed filters go."""
        return dict(target=packed)

    def _reading(self, w_strides) -> dict[str, int | np.ndarray]:
        """How filters with these strides are read.

        Forward, lanes are the filters k and sums run over c; for the input gradient it is the
        other way round.
        """
        c = self.correlation
        sk, sc, wr, ws = w_strides
        wk, wc = (sk, sc) if c.forward else (sc, sk)
        offsets = self.taps[..., 0] * wr + self.taps[..., 1] * ws
        offsets[self.taps[..., 0] < 0] = NO_TAP
        order = reading_order(offsets, wk, wc, self.itemsize, c.filters % lanes(self.itemsize) == 0)
        elements, taps = 0, offsets
        if order == TOGETHER:
            elements = wk // self.itemsize
            taps = taps_of_elements(offsets[0], wk, self.itemsize)
        return dict(
            wk=wk,
            wc=wc,
            wg=c.filters * wk if c.forward else c.channels * wc,
            order=order,
            read=reader(self.itemsize, order, elements).address,
            taps=taps,
        )

    def packing_call(self, target: Address, at: Operands, s: Setting) -> Call:
        """What packs the filters and the biases of a call at ``target``."""
        packed, biases = self.places(target)
        return self.stage.call(
            **self._reading(s.w),
            w=at.second,
            bias=at.bias if s.biased else 0,
            bias_target=biases,
            **self._arguments(packed),
        )

    def places(self, target: Address) -> tuple[Address, Address]:
        """Where the packed filters and, right before them, the biases are, packed at ``target``.

        Vectors of a fold's last lanes reach beyond the biases: what is there must not be NaN.
        """
        biases = self.correlation.groups * self.tiles * self.width * self.itemsize
        return target + self.bias_bytes, target + (self.bias_bytes - biases)

    def found(self, w: np.ndarray, bias) -> tuple:
        """Filters, their strides, biases: kept ones, whose address is enough, or as given."""
        places = kept_filters.kept(self, w, bias)
        if places is None:
            return w, w.strides, bias
        return places[0], None, places[1]

    def prepare(self, target: Address, at: Operands, s: Setting, by_tasks: bool = False) -> Filters:
        """The filters to be packed at ``target``; or left for the tasks that need them.

        Those call :attr:`packer` with the address of the arguments of :attr:`stage`, and only the
        biases are at ``target``.
        """
        if s.w is None:
            return Filters(dict(w=at.second, bias=at.bias))
        packed, biases = self.places(target)
        call = self.packing_call(target, at, s)
        if by_tasks:
            return Filters(dict(pack=self.packer.address, packing=call.words, bias=biases))
        return Filters(dict(w=packed, bias=biases), (call,))


def output_order(c: Correlation, y_format: str) -> int:
    """How tiles of the result are stored in an output of this memory order."""
    if c.rows.block * c.columns.block > 1:
        return SCATTER
    if y_format == "nhwc":
        return ROWS
    return PLANES if c.columns.step == 1 else SPREAD


@functools.lru_cache(maxsize=256)
def lane_table(c: Correlation, yk: int, yh: int, yw: int) -> np.ndarray:
    """(offset in bytes, row, column) of every lane inside its block of outputs."""
    rows, columns, filters = np.meshgrid(
        np.arange(c.rows.block), np.arange(c.columns.block), np.arange(c.filters), indexing="ij"
    )
    offset = rows * yh + columns * yw + filters * yk
    return np.stack([offset, rows, columns], axis=-1).reshape(-1, 3).astype(np.int64)
