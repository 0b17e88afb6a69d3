"""Copying a window of the input into padded rows.

The layout is ``[image][block of channels][row][column][channel]``.

Padding becomes zeros in the buffer, so that the kernels above know no borders, and both memory
orders of the input become one: neighbouring pixels stand ``block`` elements apart.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.jit import inner, record
from fastconv.simd.copying import (
    LINE,
    copy,
    copy_filled,
    copy_rows,
    copy_strided,
    fetch,
    move,
    zero,
)
from fastconv.simd.interleaving import MOST_PLANES, interleave
from fastconv.simd.strided import take_even, take_fourth
from fastconv.simd.transposing import transpose_even, transpose_taps, transpose_tile

# What a kernel that packs windows needs in its arguments: the source, whose rows are read
# ``row_source`` apart beginning at ``row_first`` (columns alike), and the blocks of channels.
WINDOW = record(
    "x xn xg xc xh xw height width row_first row_source column_first column_source "
    "channels block n_blocks vector"
)

_WIDE = 8  # vectors of a pixel, which are copied together: those of pixels far apart would compete
_SHORT_ROW = 512  # bytes up to which rows are not cleared at their two ends, one by one


def window_record(channels, block, size, first, source, vector) -> np.ndarray:
    """The words of :data:`WINDOW`, but for the six of the array itself (address and strides).

    ``size``, ``first`` and ``source`` are pairs (rows, columns).
    """
    blocks = -(-channels // block)
    (rows, columns), (top, left), (down, across) = size, first, source
    words = (rows, columns, top, down, left, across, channels, block, blocks, vector)
    return np.array((0,) * 6 + words, np.int64)


@inner
def element_at(a, image, group, channel, row, column):
    """The address of an element of the source."""
    return a.x + image * a.xn + group * a.xg + channel * a.xc + row * a.xh + column * a.xw


@inner
def _side_by_side(a, valid, item):
    """Whether pixels of ``valid`` channels stand in the source as in the window."""
    whole = valid == a.block and (a.xc == item or valid == 1)
    return whole and a.column_source * a.xw == a.block * item


@inner
def _fetch_planes(a, source, first, end, nbytes):
    """So many bytes of each of a vector of planes, from number ``first`` on, if there are more."""
    for c in range(first, min(end, first + a.vector)):
        fetch(source + c * a.xc, (nbytes + LINE - 1) // LINE, LINE)


@inner
def _pixels(like, a, target, source, count, valid, item):
    """``count`` pixels of ``valid`` channels, in either memory order."""
    step = a.column_source * a.xw
    pixel = a.block * item
    if _side_by_side(a, valid, item):
        copy(target, source, count * pixel)
    elif a.xc == item:
        whole = valid // a.vector * a.vector
        if valid >= _WIDE * a.vector or (valid > whole and a.block < whole + a.vector):
            for j in range(count):
                copy(target + j * pixel, source + j * step, valid * item)
            return
        for c in range(0, whole, a.vector):
            copy_strided(like, target + c * item, pixel, source + c * item, step, count)
        if valid > whole:  # the rest of a vector is zero there
            to, at = target + whole * item, source + whole * item
            copy_filled(like, to, pixel, at, step, count, valid - whole)
    elif step == item and 1 < valid == a.block <= MOST_PLANES and count >= a.vector:
        interleave(like, target, source, a.xc, valid, count)
    elif step == item or (step == 2 * item and valid > 1):
        for c in range(0, valid, a.vector):
            _fetch_planes(a, source, c + a.vector, valid, count * step)
            for j in range(0, count, a.vector):
                to, at = target + j * pixel + c * item, source + c * a.xc + j * step
                channels, pixels = min(a.vector, valid - c), min(a.vector, count - j)
                if step == item:
                    transpose_tile(like, to, pixel, at, a.xc, channels, pixels)
                else:
                    transpose_even(like, to, pixel, at, a.xc, channels, pixels)
    elif step == 2 * item and a.block == 1 and count >= a.vector:
        take_even(like, target, source, count)
    elif step == 4 * item and a.block == 1 and count >= a.vector:
        take_fourth(like, target, source, count)
    else:
        for c in range(valid):
            for j in range(count):
                move(like, target + j * pixel + c * item, source + c * a.xc + j * step)


@inner
def positions_inside(first, source, positions, extent):
    """Which of so many ``positions``, ``source`` apart from ``first`` on, lie within an extent.

    The first of them, and the first behind them.
    """
    low = min(positions, max(0, -(first // source)))
    return low, max(low, min(positions, (extent - 1 - first) // source + 1))


@inner
def _joins_rows(a, count, item):
    """Whether planes are transposed whose rows, of ``count`` pixels, follow one another.

    Rows of whole vectors are as well transposed one by one.
    """
    planes = a.column_source * a.xw == item and a.xc != item and min(a.block, a.channels) > 1
    return planes and a.row_source == 1 and a.xh == count * item and count % a.vector != 0


@inner
def _planes(like, a, target, pitch, source, rows, count, valid, item):
    """``rows`` of ``count`` pixels of ``valid`` planes, ``pitch`` bytes apart in ``target``."""
    pixel = a.block * item
    for c in range(0, valid, a.vector):
        for i in range(0, rows * count, a.vector):
            transpose_taps(
                like, target + i // count * pitch + c * item, i % count, count, pixel, pitch,
                source + c * a.xc + i * item, a.xc, min(a.vector, valid - c),
                min(a.vector, rows * count - i),
            )  # fmt: skip


@inner
def _are_short(a, nbytes, item):
    """Whether rows are best copied together, one vector of each after another.

    Up to 8 vectors of 64 bytes, as measured, or 4 of 32: more come from memory out of order.
    """
    return 8 * nbytes <= (a.vector * item) ** 2


@inner
def _short_rows(like, a, item, target, columns, source, top, inside, rows, low, high):
    """Rows of pixels side by side; those of the source, ``inside``, begin with row ``top``."""
    pitch = columns * a.block * item
    zero(target, top * pitch)
    copy_rows(
        like, target + top * pitch, pitch, source, a.row_source * a.xh, inside, low * a.block,
        high * a.block, columns * a.block,
    )  # fmt: skip
    zero(target + (top + inside) * pitch, (rows - top - inside) * pitch)


@inner
def pack_block(like, a, item, target, image, group, block, row, rows, column, columns):
    """Fill ``target`` with ``rows`` × ``columns`` positions of one block of channels.

    The first position holds the source's row ``row`` and column ``column``, if it has them.
    """
    pixel = a.block * item
    low, high = positions_inside(column, a.column_source, columns, a.width)
    valid = min(a.block, a.channels - block * a.block)
    if _are_short(a, columns * pixel, item) and _side_by_side(a, valid, item):
        top, bottom = positions_inside(row, a.row_source, rows, a.height)
        source = element_at(a, image, group, block * a.block, row + top * a.row_source, column)
        _short_rows(like, a, item, target, columns, source, top, bottom - top, rows, low, high)
        return
    cleared = valid < a.block or columns * pixel <= _SHORT_ROW
    if cleared:
        zero(target, rows * columns * pixel)
    first = column + low * a.column_source
    joined = _joins_rows(a, high - low, item)
    if joined:
        top, bottom = max(0, row), min(a.height, row + rows)
        source = element_at(a, image, group, block * a.block, top, first)
        to = target + ((top - row) * columns + low) * pixel
        _planes(like, a, to, columns * pixel, source, bottom - top, high - low, valid, item)
    for b in range(rows):
        h = row + b * a.row_source
        if h < 0 or h >= a.height or low >= columns:
            if not cleared:
                zero(target, columns * pixel)
        else:
            if not cleared:
                zero(target, low * pixel)
                zero(target + high * pixel, (columns - high) * pixel)
            if not joined:
                source = element_at(a, image, group, block * a.block, h, first)
                _pixels(like, a, target + low * pixel, source, high - low, valid, item)
        target += columns * pixel


@inner
def pack_lines(like, a, item, target, image, group, i0):
    """What whole rows of outputs read, from row ``i0`` on: all rows of the buffer of a kernel."""
    x = a.input
    pack_block(
        like, x, item, target, image, group, 0, x.row_first + i0 * a.row_advance, a.buffer_rows,
        x.column_first, a.buffer_columns,
    )  # fmt: skip
