"""The kernel of 1×1 filters on channels-last pixels: a product of matrices as they stand."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import MULTIPLY
from fastconv.simd.clock import lap, started
from fastconv.simd.microkernel import TERMS
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu "
    # the arrays: bytes between images, lines, groups, pixels; lines of an image
    "x xn xh xg xw y yn yh yg yw lines "
    # packed filters, bytes of a tile of them; tiles of a group and of all
    "w bias w_tile tiles all_tiles filters channels "
    # pixels of a line, of a task; tasks of a line; tiles of pixels that a call makes at most
    "length span spans bundle "
    # parts of the filters, which have tasks of their own
    "splits "
    # tiles of filters in whose time y is fetched ahead; x in that of the others
    "fetching_y",
    tile=TILE,
)


@inner
def _ahead(index, count, terms, at, nbytes):
    """The part of so many bytes that one of ``count`` tiles fetches, and how far apart in steps."""
    step = nbytes // (count * terms)
    return at + index * terms * step, step


@inner
def _multiply(a, item, row, count, x, y, split, tile):
    """The pixels of ``count`` tiles by a part of the filters; fetches as many that follow.

    More than one only if a sum is made in one go.
    """
    terms, pixels = count * a.channels, count * a.tile.mr
    for index in range(split * a.all_tiles // a.splits, (split + 1) * a.all_tiles // a.splits):
        group, t = index // a.tiles, index % a.tiles
        source, result = x + group * a.xg, y + group * a.yg + t * row
        columns = min(a.tile.nr, a.filters - t * a.tile.nr)
        if index < a.fetching_y:
            ahead, step = _ahead(index, a.fetching_y, terms, y + pixels * a.yw, pixels * a.yw)
        else:
            first, others = a.fetching_y, a.all_tiles - a.fetching_y
            ahead, step = _ahead(index - first, others, terms, x + pixels * a.xw, pixels * a.xw)
        w, init, pitch = a.w + index * a.w_tile, a.bias + index * row, 0
        for c in range(0, a.channels, TERMS):
            last = c + TERMS >= a.channels
            target, to, stored = tile, row, a.tile.nr
            if last:
                target, to, stored = result, a.yw, columns
            call(
                a.tile.multiply, count, source + c * item, a.xw, min(TERMS, a.channels - c),
                w + c * row, ahead + c * step, step, init, pitch,
                a.relu if last else 0, target, to, stored,
            )  # fmt: skip
            init, pitch = tile, row


@functools.cache
def matrix_kernel(itemsize: int) -> Kernel:
    """Multiply tiles of pixels by tiles of vectors of filters.

    The last tile of a line begins a tile before its end, and computes some pixels again.
    """

    @kernel(LAYOUT)
    def matrix(worker, a):
        mr, row = a.tile.mr, a.tile.nr * itemsize
        tile = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            split, rest = task % a.splits, task // a.splits
            line, first = rest // a.spans, rest % a.spans * a.span
            image, line = line // a.lines, line % a.lines
            x = a.x + image * a.xn + line * a.xh
            y = a.y + image * a.yn + line * a.yh
            start, end = first, min(first + a.span, a.length)
            while start < end:
                p = min(start, a.length - mr)
                count = max(1, min(a.bundle, (end - start) // mr))
                _multiply(a, itemsize, row, count, x + p * a.xw, y + p * a.yw, split, tile)
                start += count * mr
        lap(a.profile, worker, MULTIPLY, clock)

    return matrix
