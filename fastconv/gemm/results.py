"""Storing results that cannot go straight to memory: part of a tile, or another order."""

from __future__ import annotations

import functools

from fastconv.core.jit import Function, callee, inner, record, record_at
from fastconv.simd.copying import copy, copy_strided, get_word, move
from fastconv.simd.strided import spread_tile
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

# Where the result of a tile goes, from the strides of the output: the lanes of a pixel are side by
# side, or the pixels of a lane, or these are a few elements apart, or every element stands alone.
ROWS, PLANES, SPREAD, SCATTER = range(4)

PLACE = 24  # bytes of an entry that says where a pixel or a lane goes: its offset, row and column

# What a kernel that stores tiles needs in its arguments: the strides between lanes and between
# neighbouring pixels, and for SCATTER the table of lanes: (offset in bytes, row and column inside
# the block of outputs).
RESULT = record("store lane_step pixel_step lane_table")


@inner
def _run(pixels, first, end, step):
    """How many pixels from ``first`` on lie ``step`` bytes apart in memory."""
    length = 1
    while first + length < end and get_word(pixels + (first + length) * PLACE) == (
        get_word(pixels + first * PLACE) + length * step
    ):
        length += 1
    return length


@inner
def _scatter(like, a, item, source, y, lane, n_lanes, down, across):
    """Store the lanes of one block of folded outputs, those inside ``down`` × ``across``."""
    first = a.lane_table + lane * PLACE
    last = first + (n_lanes - 1) * PLACE
    second = min(1, n_lanes - 1)
    if (
        # First and last may be right though lanes are out of order, which the second one tells.
        get_word(first + second * PLACE) - get_word(first) == second * item
        and get_word(last) - get_word(first) == (n_lanes - 1) * item
        and get_word(first + 8) == get_word(last + 8) < down
        and get_word(last + 16) < across
    ):  # neighbours in memory
        copy(y + get_word(first), source, n_lanes * item)
        return
    for v in range(n_lanes):
        entry = first + v * PLACE
        if get_word(entry + 8) < down and get_word(entry + 16) < across:
            move(like, y + get_word(entry), source + v * item)


@inner
def store_planes(like, a, item, target, source, pitch, rows, columns):
    """``rows`` pixels of ``columns`` lanes, up to a vector of each, ``pitch`` bytes apart."""
    if a.store == PLANES:
        transpose_tile(like, target, a.lane_step, source, pitch, rows, columns)
    elif a.pixel_step == 2 * item:
        spread_tile(like, target, a.lane_step, source, pitch, rows, columns)
    else:
        for v in range(columns):
            for j in range(rows):
                to = target + v * a.lane_step + j * a.pixel_step
                move(like, to, source + j * pitch + v * item)


@inner
def store_tile(like, a, item, vector, tile, row, y, pixels, count, rows, columns, lane, n_lanes):
    """Store ``count`` rows of a tile (``row`` bytes each), whose first lane is output ``lane``.

    ``pixels`` is a table of three words for each row: its offset from ``y``, and its output row and
    column, counted from there.  Folded outputs beyond the ``rows`` × ``columns`` left are dropped.
    """
    if a.store == ROWS:
        for i in range(count):
            copy(y + get_word(pixels + i * PLACE) + lane * item, tile + i * row, n_lanes * item)
    elif a.store in (PLANES, SPREAD):
        i = 0
        while i < count:
            length = _run(pixels, i, count, a.pixel_step)
            target = y + get_word(pixels + i * PLACE) + lane * a.lane_step
            if length < 3:
                for j in range(i, i + length):
                    for v in range(n_lanes):
                        to = target + (j - i) * a.pixel_step + v * a.lane_step
                        move(like, to, tile + j * row + v * item)
            else:
                for j in range(0, length, vector):
                    for v in range(0, n_lanes, vector):
                        store_planes(
                            like, a, item, target + v * a.lane_step + j * a.pixel_step,
                            tile + (i + j) * row + v * item, row,
                            min(vector, length - j), min(vector, n_lanes - v),
                        )  # fmt: skip
            i += length
    else:
        for i in range(count):
            target = y + get_word(pixels + i * PLACE)
            down = rows - get_word(pixels + i * PLACE + 8)
            across = columns - get_word(pixels + i * PLACE + 16)
            _scatter(like, a, item, tile + i * row, target, lane, n_lanes, down, across)


@functools.cache
def row_storer(itemsize: int, store: int) -> Function:
    """``store_rows(result, source, pitch, y, row_step, step, rows, columns, row_outputs,
    column_outputs, down, across, lane, n_lanes)``: ``rows`` × ``columns`` pixels of a vector each.

    They are outputs from ``lane`` on.  Rows are ``pitch`` bytes apart in ``source``, pixels one
    vector.  In y, whose first pixel is at ``y``, they are ``row_step`` and ``step`` bytes apart,
    ``row_outputs`` and ``column_outputs`` outputs; ``down`` × ``across`` are left from the first
    pixel on, folded ones beyond are dropped.  ``result`` is the address of a :data:`RESULT`.
    """
    vector = lanes(itemsize)
    pixel = vector * itemsize

    @callee
    def store_rows(
        result, source, pitch, y, row_step, step, rows, columns, row_outputs, column_outputs, down,
        across, lane, n_lanes,
    ):  # fmt: skip
        a, like = record_at(result, RESULT), element(itemsize)
        for i in range(rows):
            line, target = source + i * pitch, y + i * row_step
            if store == ROWS:
                if n_lanes == vector:
                    copy_strided(like, target + lane * itemsize, step, line, pixel, columns)
                else:
                    for j in range(columns):
                        to = target + j * step + lane * itemsize
                        copy(to, line + j * pixel, n_lanes * itemsize)
            elif store == SCATTER:
                for j in range(columns):
                    _scatter(
                        like, a, itemsize, line + j * pixel, target + j * step, lane, n_lanes,
                        down - i * row_outputs, across - j * column_outputs,
                    )  # fmt: skip
            else:
                for j in range(0, columns, vector):
                    store_planes(
                        like, a, itemsize, target + lane * a.lane_step + j * a.pixel_step,
                        line + j * pixel, pixel, min(vector, columns - j), n_lanes,
                    )  # fmt: skip

    return store_rows
