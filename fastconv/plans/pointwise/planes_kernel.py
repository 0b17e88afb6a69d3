"""The kernel of 1×1 filters on planes: lanes are pixels, broadcasts are weights.

Pixels left over when tiles are full are dot products of their channels and those of filters.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import LINE, copy, fetch, line_from, move, zero
from fastconv.simd.microkernel import TERMS
from fastconv.simd.strided import take_even
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

_PLANES_AHEAD = 8  # is the plane that is fetched: what follows in this one is not read next

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu "
    # the arrays: strides in bytes; the planes of y are contiguous
    "x xn xg xc xh xw y yn yg yk "
    # filters, as packed or where they are: bytes from group to group and from one to the next, the
    # first one of the last tile; in a tile from row to row (or 0) and from channel to channel
    "w w_group w_row last w_pitch w_step tiles filters channels "
    # whether there is a bias, and how many there are in a group
    "bias biased bias_group "
    # pixels in tiles, of an image, of a stretch of x that has one step, of a task
    "pixels plane line span "
    # pixels left over, the register tile of their dot products, its rows
    "over dots dot_rows "
    # input rows and columns: of the first pixel, from one pixel to the next
    "row_first row_step column_first column_step "
    # tasks: groups × parts of the filters × spans of pixels
    "groups splits",
    tile=TILE,
)


class _Room(NamedTuple):
    """A worker's scratch, by address."""

    tile: int  # results that do not go straight to y
    start: int  # what those of a tile begin with
    panels: int  # a span of pixels
    over: int  # pixels left over


class _Span(NamedTuple):
    """Pixels of a group that a task multiplies; those that the next task packs, if they differ."""

    group: int
    first: int
    count: int
    next_group: int
    next_first: int


class _Tile(NamedTuple):
    """A tile of filters: where it is and where its results go; those it has of its own."""

    w: int
    y: int
    k: int  # the first, of its group
    rows: int


@inner
def _room_of(a, item, worker):
    mr, row = a.tile.mr, a.tile.nr * item
    tile = a.scratch + worker * a.scratch_bytes
    start = tile + mr * row
    panels = start + mr * row
    over = panels + line_from(a.span * a.channels * item)
    return _Room(tile, start, panels, over)


@inner
def _span_at(a, number):
    first, following = number // a.groups * a.span, (number + 1) // a.groups * a.span
    return _Span(
        number % a.groups, first, min(a.span, a.pixels - first), (number + 1) % a.groups, following
    )


@inner
def _tile_at(a, group, t):
    k = min(t * a.tile.mr, a.last)
    w, y = a.w + group * a.w_group + k * a.w_row, a.y + group * a.yg + k * a.yk
    return _Tile(w, y, k, min(a.tile.mr, a.filters - k))


@inner
def _pixel(a, group, p):
    """Where a pixel is in the first plane of a group, and how many follow it in its stretch."""
    image, at = p // a.plane, p % a.plane
    i, j = at // a.line, at % a.line
    source = a.x + image * a.xn + group * a.xg
    source += (a.row_first + i * a.row_step) * a.xh
    return source + (a.column_first + j * a.column_step) * a.xw, a.line - j


@inner
def _take(like, item, vector, to, at, step, count):
    """``count`` pixels of a plane, ``step`` bytes apart."""
    if step == item:
        copy(to, at, count * item)
    elif step == 2 * item and count >= vector:
        take_even(like, to, at, count)
    else:
        for i in range(count):
            move(like, to + i * item, at + i * step)


@inner
def _pack_part(like, a, item, vector, to, begun, at, column, pixels, ahead):
    """So many pixels of a plane, beginning at this ``column`` of a line that is ``at``.

    Those of a channel go on where ``begun`` of the tile at ``to`` are there.  What is so many bytes
    ``ahead`` is fetched.
    """
    width, step = a.tile.nr, a.column_step * a.xw
    panel = a.channels * width * item
    while pixels > 0:
        source, run = at + column * step, min(pixels, a.line - column)
        pixels -= run
        if ahead != 0:
            fetch(source + ahead, (run * step + LINE - 1) // LINE, LINE)
        if begun > 0:
            some = min(run, width - begun)
            _take(like, item, vector, to + begun * item, source, step, some)
            source, begun, run = source + some * step, begun + some, run - some
            if begun == width:
                to, begun = to + panel, 0
        for _ in range(run // width):
            _take(like, item, vector, to, source, step, width)
            source, to = source + width * step, to + panel
        run %= width
        if run > 0:
            _take(like, item, vector, to, source, step, run)
            begun = run
        at, column = at + a.row_step * a.xh, 0


@inner
def _pack(like, a, item, vector, width, panels, group, first, count):
    """A span of pixels as ``[tile][channel][pixel]``; images follow one another.

    Channel by channel, so that memory is read in long stretches.
    """
    row = width * item
    done = 0
    while done < count:
        image, at = (first + done) // a.plane, (first + done) % a.plane
        pixels = min(count - done, a.plane - at)
        line, column = at // a.line, at % a.line
        source = a.x + image * a.xn + group * a.xg + a.column_first * a.xw
        source += (a.row_first + line * a.row_step) * a.xh
        to, begun = panels + done // width * a.channels * row, done % width
        for c in range(a.channels):
            ahead = _PLANES_AHEAD * a.xc if c + _PLANES_AHEAD < a.channels else 0
            _pack_part(
                like, a, item, vector, to + c * row, begun, source + c * a.xc, column, pixels, ahead
            )
        done += pixels


@inner
def _store(a, item, row, tile, y, first, count, rows):
    """Part of a tile of results, or one that reaches into the next image."""
    done = 0
    while done < count:
        image, at = (first + done) // a.plane, (first + done) % a.plane
        run = min(count - done, a.plane - at)
        to = y + image * a.yn + at * item
        for m in range(rows):
            copy(to + m * a.yk, tile + m * row + done * item, run * item)
        done += run


@inner
def _pack_over(like, a, item, group, rows):
    """The pixels left over as ``[pixel][channel]``."""
    for n in range(a.over):
        source, _ = _pixel(a, group, a.pixels + n)
        for c in range(a.channels):
            move(like, rows + (n * a.channels + c) * item, source + c * a.xc)


@inner
def _multiply_over(like, a, item, row, w, start, rows, tile, y):
    """The pixels left over by a tile of filters; ``start`` has a row of biases for each.

    Results of a few filters, at most a vector, are in the first row of ``tile``, which is free by
    now; their biases in the second.
    """
    image, at = a.pixels // a.plane, a.pixels % a.plane
    y += image * a.yn + at * item
    init = start
    for first in range(0, a.tile.mr, a.dot_rows):
        m = min(first, a.tile.mr - a.dot_rows)
        if a.biased:
            init = tile + row
            for i in range(a.dot_rows * a.over):
                move(like, init + i * item, start + (m + i // a.over) * row)
        call(
            a.dots, w + m * a.w_pitch, a.w_pitch, a.channels, rows, a.channels * item, init, a.relu,
            tile,
        )  # fmt: skip
        for i in range(a.dot_rows):
            copy(y + (m + i) * a.yk, tile + i * a.over * item, a.over * item)


@inner
def _put_biases(like, a, item, start, group, tile):
    """A row of each filter's."""
    row = a.tile.nr * item
    for m in range(tile.rows):
        bias = a.bias + (group * a.bias_group + tile.k + m) * item
        for at in range(0, row, item):
            move(like, start + m * row + at, bias)


@inner
def _fetching(a, span, turn, turns):
    """Which pixels of a span, from one to another, fetch as many of the next span."""
    width = a.tile.nr
    tiles = (span.count + width - 1) // width
    first, end = turn * tiles // turns * width, (turn + 1) * tiles // turns * width
    return first, min(end, a.pixels - span.next_first)


@inner
def _multiply_span(a, item, room, span, tile, fetch_first, fetch_end):
    """All tiles of pixels by one of filters; some of them fetch the same of the next span."""
    width, row = a.tile.nr, a.tile.nr * item
    p = 0
    while p < span.count:
        image, at = (span.first + p) // a.plane, (span.first + p) % a.plane
        to, pitch = tile.y + image * a.yn + at * item, a.yk
        count = min(span.count - p, a.plane - at) // width
        straight = count > 0 and tile.rows == a.tile.mr
        if not straight:
            to, pitch, count = room.tile, row, 1
        panel = room.panels + p * a.channels * item
        ahead, ahead_step = panel, 0
        if p < fetch_first:
            count = min(count, (fetch_first - p) // width)
        elif p < fetch_end:
            ahead, following = _pixel(a, span.next_group, span.next_first + p)
            ahead_step = a.xc
            count = min(count, max(1, min(following, fetch_end - p) // width))
        if a.channels > TERMS:
            count = 1
        # Sums of too many terms are sums of shorter ones.
        init, relu = room.start, 0
        for c in range(0, a.channels, TERMS):
            c_to, c_pitch = room.tile, row
            if c + TERMS >= a.channels:
                relu, c_to, c_pitch = a.relu, to, pitch
            call(
                a.tile.multiply, count, tile.w + c * a.w_step, a.w_pitch, a.w_step,
                min(TERMS, a.channels - c), panel + c * row, ahead + c * ahead_step, ahead_step,
                width * a.column_step * a.xw, init, row, relu, c_to, c_pitch,
            )  # fmt: skip
            init = room.tile
        if not straight:
            part = min(width, span.count - p)
            _store(a, item, row, room.tile, tile.y, span.first + p, part, tile.rows)
        p += count * width


@functools.cache
def planes_kernel(itemsize: int) -> Kernel:
    """Multiply tiles of filters by tiles of vectors of pixels."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def planes(worker, a):
        like = element(itemsize)
        mr, width = a.tile.mr, a.tile.nr
        row = width * itemsize
        room = _room_of(a, itemsize, worker)
        zero(room.start, mr * row)
        packed = -1  # the span in the panels
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, number = task % a.splits, task // a.splits
            span = _span_at(a, number)
            with_over = a.over > 0 and span.first + span.count == a.pixels
            if number != packed:
                _pack(
                    like, a, itemsize, vector, width, room.panels, span.group, span.first,
                    span.count,
                )  # fmt: skip
                if with_over:
                    _pack_over(like, a, itemsize, span.group, room.over)
                packed = number
            clock = lap(a.profile, worker, INPUT, clock)
            first_tile, end = split * a.tiles // a.splits, (split + 1) * a.tiles // a.splits
            for t in range(first_tile, end):
                tile = _tile_at(a, span.group, t)
                if a.biased:
                    _put_biases(like, a, itemsize, room.start, span.group, tile)
                fetch_first = fetch_end = 0
                if split + 1 == a.splits:
                    fetch_first, fetch_end = _fetching(a, span, t - first_tile, end - first_tile)
                _multiply_span(a, itemsize, room, span, tile, fetch_first, fetch_end)
                if with_over:
                    _multiply_over(
                        like, a, itemsize, row, tile.w, room.start, room.over, room.tile, tile.y
                    )
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return planes
