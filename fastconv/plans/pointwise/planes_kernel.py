"""The kernel of 1×1 filters on planes: lanes are pixels, broadcasts are weights.

Pixels left over when tiles are full are dot products of their channels and those of filters.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.simd.copying import LINE, copy, move, put_word, zero
from fastconv.simd.microkernel import TERMS
from fastconv.simd.phases import lap, started
from fastconv.simd.strided import take_even
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

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
def _pack(like, a, item, vector, width, panels, group, first, count):
    """A span of pixels as ``[tile][channel][pixel]``; images follow one another.

    Channel by channel, so that memory is read in stretches as long as the span.
    """
    row, step = width * item, a.column_step * a.xw
    panel = a.channels * row
    done = 0
    while done < count:
        source, following = _pixel(a, group, first + done)
        run, begun = min(count - done, following), done % width
        head = min(run, (width - begun) % width)  # which go on with a tile
        tiles, tail = (run - head) // width, (run - head) % width
        to = panels + done // width * panel + begun * item
        whole = panels + (done + head) // width * panel
        for c in range(a.channels):
            at, target = source + c * a.xc, whole + c * row
            _take(like, item, vector, to + c * row, at, step, head)
            at += head * step
            for _ in range(tiles):
                _take(like, item, vector, target, at, step, width)
                at += width * step
                target += panel
            _take(like, item, vector, target, at, step, tail)
        done += run


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


@functools.cache
def planes_kernel(itemsize: int) -> Kernel:
    """Multiply tiles of filters by tiles of vectors of pixels."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def planes(worker, a):
        like = element(itemsize)
        mr, width = a.tile.mr, a.tile.nr
        row = width * itemsize
        tile = a.scratch + worker * a.scratch_bytes
        start = tile + mr * row
        panels = start + mr * row
        straight_rows = panels + a.span * a.channels * itemsize
        staged_rows = straight_rows + mr * 8
        run = staged_rows + mr * 8
        over = (run + 24 + LINE - 1) // LINE * LINE
        panel_bytes = a.channels * row
        zero(run, 24)
        zero(start, mr * row)
        for m in range(mr):
            put_word(straight_rows + m * 8, m * a.yk)
            put_word(staged_rows + m * 8, m * row)
        packed = -1  # the span of pixels in the panels
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, rest = task % a.splits, task // a.splits
            group, first = rest % a.groups, rest // a.groups * a.span
            count = min(a.span, a.pixels - first)
            with_over = a.over > 0 and first + count == a.pixels
            if rest != packed:
                _pack(like, a, itemsize, vector, width, panels, group, first, count)
                if with_over:
                    _pack_over(like, a, itemsize, group, over)
                packed = rest
            clock = lap(a.profile, worker, INPUT, clock)
            next_group, following = (rest + 1) % a.groups, (rest + 1) // a.groups * a.span
            first_tile, end = split * a.tiles // a.splits, (split + 1) * a.tiles // a.splits
            for t in range(first_tile, end):
                k = min(t * mr, a.last)
                rows = min(mr, a.filters - k)
                w = a.w + group * a.w_group + k * a.w_row
                if a.biased:
                    for m in range(rows):
                        bias = a.bias + (group * a.bias_group + k + m) * itemsize
                        for lane in range(width):
                            move(like, start + m * row + lane * itemsize, bias)
                y = a.y + group * a.yg + k * a.yk
                panel = panels
                for p in range(0, count, width):
                    ahead = min(width, count - p)
                    image, at = (first + p) // a.plane, (first + p) % a.plane
                    straight = rows == mr and ahead == width and at + width <= a.plane
                    to, shift = staged_rows, tile
                    if straight:
                        to, shift = straight_rows, y + image * a.yn + at * itemsize
                    # Each tile of pixels fetches the same one of the next span, in turns.
                    fetch, fetch_step = panel, 0
                    turn = p * (end - first_tile) // count == t - first_tile
                    if turn and split + 1 == a.splits and following + p < a.pixels:
                        fetch, _ = _pixel(a, next_group, following + p)
                        fetch_step = a.xc
                    init = start
                    for c in range(0, a.channels, TERMS):
                        last = c + TERMS >= a.channels
                        call(
                            a.tile.multiply, w + c * a.w_step, a.w_pitch, a.w_step, run, 1,
                            min(TERMS, a.channels - c), panel + c * row, row,
                            fetch + c * fetch_step, fetch_step, init, row, a.relu if last else 0,
                            to if last else staged_rows, 8, shift if last else tile,
                        )  # fmt: skip
                        init = tile
                    panel += panel_bytes
                    if not straight:
                        _store(a, itemsize, row, tile, y, first + p, ahead, rows)
                if with_over:
                    _multiply_over(like, a, itemsize, row, w, start, over, tile, y)
            clock = lap(a.profile, worker, MULTIPLY, clock)

    return planes
