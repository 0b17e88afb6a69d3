"""Packing filters for a correlation: ``[group][tile][block of channels][tap][channel][lane]``.

One tile of lanes is what the register tile reads, step after step, as one stream.  The last one may
begin before the one before it ends.  Lanes beyond the last filter, channels beyond the last one and
taps that no weight joins are zero.  Blocks may belong to *phases*, which take the same channels
with taps of their own.  The bias is laid out beside it, one value for each lane.
"""

from __future__ import annotations

import functools

import numpy as np

from fastconv.core.jit import (
    Function,
    Kernel,
    address_of,
    call,
    callee,
    inner,
    kernel,
    record,
    record_at,
)
from fastconv.core.profile import WEIGHT
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import LINE, copy, fetch, get_word, move, zero
from fastconv.simd.interleaving import separate_taps
from fastconv.simd.strided import gather_lanes
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_half, transpose_taps, transpose_tile
from fastconv.simd.vector import element, lanes

# What a kernel that packs filters needs in its arguments; ``taps`` are offsets, or what
# :func:`taps_of_elements` says of filters TOGETHER.
PACKING = record(
    "counter tasks w wg wk wc bias taps target bias_target "
    "read order n_taps folds filters channels block n_blocks phase_blocks tile tiles last vector "
    # whether the filters do not fit a cache: where taps stand together, those of the next block of
    # channels are fetched meanwhile
    "far"
)
LAYOUT = record("profile pack", packing=PACKING)

# How a vector of lanes can be read: with taps that no weight joins, element by element or by lanes;
# else by the axis of the filters that is contiguous in memory, or STRIDED where none is.  RUNS are
# of all taps, then of those of the next channel.  Filters TOGETHER are no further apart than a
# vector; all elements from one to the next are read, some or all of which are taps.
SCATTERED, GAPS, CHANNELS, LANES, RUNS, TAPS, TAPS_REVERSED, TOGETHER, STRIDED = range(9)
NO_TAP = -(2**62)


def reading_order(offsets: np.ndarray, wk: int, wc: int, itemsize: int, whole: bool) -> int:
    """The fastest way to read filters with these strides; ``offsets[fold, tap]`` in bytes.

    ``whole`` says that the lanes of a vector are all of one fold.
    """
    if len(offsets) > 1 or NO_TAP in offsets:
        return GAPS if whole else SCATTERED
    ascending = np.arange(offsets.shape[1]) * itemsize
    if wk == itemsize:
        return LANES
    if wc == itemsize:
        return CHANNELS
    if len(ascending) == 1:
        return STRIDED
    # Then a channel has ended where the next one begins, and there is what is read of it.
    apart = wk <= min(wc, lanes(itemsize) * itemsize)
    if apart and _are_elements(offsets[0], wk, itemsize):
        return TOGETHER
    if np.array_equal(offsets[0], ascending):
        return RUNS if wc == len(ascending) * itemsize else TAPS
    if np.array_equal(offsets[0], ascending[::-1]):
        return TAPS_REVERSED
    return STRIDED


def _are_elements(offsets: np.ndarray, nbytes: int, itemsize: int) -> bool:
    """Whether they are those of different elements among so many bytes."""
    aligned = nbytes % itemsize == 0 and not (offsets % itemsize).any()
    different = len(np.unique(offsets)) == len(offsets)
    return bool(aligned and different and offsets.min() >= 0 and offsets.max() < nbytes)


def taps_of_elements(offsets: np.ndarray, nbytes: int, itemsize: int) -> np.ndarray:
    """Which tap each element of so many bytes is; −1 for none."""
    taps = np.full(nbytes // itemsize, -1, np.int64)
    taps[offsets // itemsize] = np.arange(len(offsets))
    return taps


@inner
def _scattered(like, a, taps, w, target, first, count, row, start, valid):
    """Element by element: any strides, folded outputs, missing taps."""
    item = row // a.tile
    for lane in range(first, first + count):
        fold, k = lane // a.filters, lane % a.filters
        for t in range(a.n_taps):
            offset = get_word(taps + (fold * a.n_taps + t) * 8)
            if offset == NO_TAP:
                continue
            source = w + k * a.wk + start * a.wc + offset
            to = target + t * a.block * row + (lane - first) * item
            for c in range(valid):
                move(like, to + c * row, source + c * a.wc)


@inner
def _strided(like, a, taps, w, target, first, count, row, start, valid):
    """Some taps of filters that stand further apart: all of a channel, which share cache lines."""
    fold, k = first // a.filters, first % a.filters
    taps += fold * a.n_taps * 8
    for c in range(valid):
        source = w + k * a.wk + (start + c) * a.wc
        for t in range(a.n_taps):
            offset = get_word(taps + t * 8)
            if offset != NO_TAP:
                gather_lanes(like, target + (t * a.block + c) * row, source + offset, a.wk, count)


@inner
def _runs(like, a, w, target, first, count, row, start, valid):
    """Channel by channel, whose taps stand one behind the other."""
    item = row // a.tile
    source = w + first * a.wk + start * a.wc
    length = valid * a.n_taps
    ahead = a.far != 0 and start + a.block < a.channels
    for i in range(0, length, a.vector):
        if ahead and i * item % LINE == 0:
            fetch(source + (length + i) * item, count, a.wk)
        c, tap = i // a.n_taps, i % a.n_taps
        transpose_taps(
            like, target + c * row, tap, a.n_taps, a.block * row, row, source + i * item, a.wk,
            count, min(a.vector, length - i),
        )  # fmt: skip


@inner
def _by_lanes(like, a, w, target, first, count, row, start, valid):
    item = row // a.tile
    for t in range(a.n_taps):
        source = w + first * a.wk + start * a.wc + get_word(a.taps + t * 8)
        for c in range(valid):
            copy(target + (t * a.block + c) * row, source + c * a.wc, count * item)


@inner
def _by_channels(like, a, w, target, first, count, row, start, valid):
    item = row // a.tile
    for t in range(a.n_taps):
        source = w + first * a.wk + start * a.wc + get_word(a.taps + t * 8)
        for i in range(0, valid, a.vector):
            transpose_tile(
                like, target + (t * a.block + i) * row, row, source + i * item, a.wk, count,
                min(a.vector, valid - i),
            )  # fmt: skip


@inner
def _by_taps(like, a, w, target, first, count, row, start, valid):
    """Channel by channel; taps that are too few for a vector as half of one and what is left."""
    item, half = row // a.tile, a.vector // 2
    step = a.block * row
    if a.order == TAPS_REVERSED:
        target += (a.n_taps - 1) * step
        step = -step
    ahead = a.far != 0 and start + a.block < a.channels and a.wk == a.n_taps * item
    for c in range(valid):
        source, to = w + first * a.wk + (start + c) * a.wc, target + c * row
        if ahead:
            fetch(source + a.block * a.wc, count * a.wk // LINE + 1, LINE)
        left = a.n_taps
        while left > 0:
            taps = min(left, a.vector)
            if taps == 1:
                gather_lanes(like, to, source, a.wk, count)
            elif count == a.vector and half <= taps < a.vector:
                taps = half
                transpose_half(like, to, step, source, a.wk)
            else:
                transpose_tile(like, to, step, source, a.wk, count, taps)
            source, to, left = source + taps * item, to + taps * step, left - taps


@functools.cache
def _together(itemsize: int, elements: int) -> Function:
    """Channel by channel, whose filters are so many elements apart; ``taps`` are of these."""

    @callee
    def read(args, taps, w, target, first, count, row, start, valid):
        a, like = record_at(args, PACKING), element(itemsize)
        ahead = a.far != 0 and start + a.block < a.channels
        for c in range(valid):
            source, to = w + first * a.wk + (start + c) * a.wc, target + c * row
            if ahead:
                fetch(source + a.block * a.wc, count * a.wk // LINE + 1, LINE)
            # What is behind the last tap of the last filter is perhaps not there.
            more = first + count < a.filters or start + c + 1 < a.channels
            if count == a.vector and more:
                separate_taps(like, elements, to, a.block * row, source, taps)
            else:
                for e in range(elements):
                    tap = get_word(taps + e * 8)
                    if tap >= 0:
                        at = source + e * itemsize
                        gather_lanes(like, to + tap * a.block * row, at, a.wk, count)

    return read


@functools.cache
def reader(itemsize: int, order: int, elements: int = 0) -> Function:
    """``read(args, taps, w, target, first, count, row, start, valid)``: a vector of lanes.

    Or all lanes of a tile at once, if they stand together (LANES).  A function for each order, for
    few are ever needed; and for each number of ``elements`` of filters TOGETHER.
    """
    if order == TOGETHER:
        return _together(itemsize, elements)

    @callee
    def read(args, taps, w, target, first, count, row, start, valid):
        a, like = record_at(args, PACKING), element(itemsize)
        if order == SCATTERED:
            _scattered(like, a, taps, w, target, first, count, row, start, valid)
        elif order == RUNS:
            _runs(like, a, w, target, first, count, row, start, valid)
        elif order in (GAPS, STRIDED):
            _strided(like, a, taps, w, target, first, count, row, start, valid)
        elif order == LANES:
            _by_lanes(like, a, w, target, first, count, row, start, valid)
        elif order == CHANNELS:
            _by_channels(like, a, w, target, first, count, row, start, valid)
        else:
            _by_taps(like, a, w, target, first, count, row, start, valid)

    return read


@inner
def pack_task(like, a, item, vector, task, target):
    """Pack one block of channels of one tile of lanes; with the first block, the tile's bias."""
    row = a.tile * item
    size = a.n_taps * a.block * row
    all_lanes = a.folds * a.filters
    block = task % a.n_blocks
    tile = task // a.n_blocks % a.tiles
    group = task // a.n_blocks // a.tiles
    first = min(tile * a.tile, a.last)
    ahead = min(a.tile, all_lanes - first)
    if block == 0:
        bias = a.bias_target + (group * a.tiles + tile) * row
        zero(bias, row)
        if a.bias != 0:
            for lane in range(ahead):
                k = group * a.filters + (first + lane) % a.filters
                move(like, bias + lane * item, a.bias + k * item)
    w = a.w + group * a.wg
    start = block % a.phase_blocks * a.block
    taps = a.taps + block // a.phase_blocks * a.folds * a.n_taps * 8
    valid = min(a.block, a.channels - start)
    if ahead < a.tile or valid < a.block or a.order <= GAPS:
        zero(target, size)
    width = a.tile if a.order == LANES else vector  # lines that stand together are read together
    for lane in range(0, ahead, width):
        call(
            a.read, address_of(a), taps, w, target + lane * item, first + lane,
            min(width, ahead - lane), row, start, valid,
        )  # fmt: skip


@functools.cache
def pack_filters(itemsize: int) -> Function:
    """``pack(args, task, target)``: one task of :func:`pack_weights`, whose arguments are given."""
    vector = lanes(itemsize)

    @callee
    def pack(args, task, target):
        pack_task(
            element(itemsize), record_at(args, LAYOUT).packing, itemsize, vector, task, target
        )

    return pack


@functools.cache
def pack_weights(itemsize: int) -> Kernel:
    """Fill ``target`` and ``bias_target``; a task is one block of channels of one tile of lanes."""

    @kernel(LAYOUT)
    def pack_all(worker, a):
        size = a.packing.n_taps * a.packing.block * a.packing.tile * itemsize
        clock = started(a.profile)
        while True:
            task = next_task(a.packing.counter, worker, a.packing.tasks)
            if task >= a.packing.tasks:
                break
            call(a.pack, address_of(a), task, a.packing.target + task * size)
        lap(a.profile, worker, WEIGHT, clock)

    return pack_all
