"""The kernel of ``depthwise`` weight gradients of few channels-last channels: lane by lane."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_lines
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import accumulate, zero
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.vector import element, lanes

LANE_TERMS = 256  # of a sum in one go, and of partial sums

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes dy yn yh "
    # sums of each task: bytes of all, and of one vector of a period; where partial ones are in
    # scratch
    "sums copy_bytes unit_bytes period partial "
    # the window: input rows from output to output; bytes of its lines, and from tap to tap
    "row_advance line tap "
    # output rows of all, and of a block; blocks of an image, and all; the buffer of their window
    "I block_i blocks_i blocks buffer_rows buffer_columns "
    # elements of a line of dy
    "elements "
    # the tile of a single line
    "multiply_one",
    tile=TILE,
    input=WINDOW,
)


@inner
def _add_lines(a, item, vector, multiply, most, x, dy, sums):
    """The products of some lines, a vector of a period after the other, added to ``sums``.

    A stretch of so many vectors at ``most`` is summed in one go; how many sums each vector got.
    """
    whole, rest, step = a.elements // vector, a.elements % vector, a.period * vector * item
    added = 0
    for u in range(a.period):
        at, count = u * vector * item, (whole - u + a.period - 1) // a.period
        last = rest if whole % a.period == u else 0
        stretches = max(1, (count + most - 1) // most)
        for stretch in range(stretches):
            first, end = stretch * most, min(count, (stretch + 1) * most)
            ragged = last if stretch + 1 == stretches else 0
            if end > first or ragged > 0:
                call(
                    multiply, x + at + first * step, a.line, a.tap, end - first, step,
                    dy + at + first * step, a.yh, ragged, sums + u * a.unit_bytes,
                )  # fmt: skip
        added = max(added, stretches)
    return added


@functools.cache
def flat_weight_kernel(itemsize: int) -> Kernel:
    """A task is some blocks, a few rows of an image each, and has sums of its own.

    Sums of equal terms stray the further the longer they are: so those of a task are sums of
    partial ones, and these of a tile's.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def flat_weight(worker, a):
        like = element(itemsize)
        window = a.scratch + worker * a.scratch_bytes
        partial = window + a.partial
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            sums, added = a.sums + task * a.copy_bytes, 0
            zero(sums, a.copy_bytes)
            zero(partial, a.copy_bytes)
            last = (task + 1) * a.blocks // a.tasks
            for block in range(task * a.blocks // a.tasks, last):
                image, i0 = block // a.blocks_i, block % a.blocks_i * a.block_i
                pack_lines(like, a, itemsize, window, image, 0, i0)
                clock = lap(a.profile, worker, INPUT, clock)
                rows, i = min(a.block_i, a.I - i0), 0
                while i < rows:
                    multiply, lines = a.multiply_one, 1
                    if i + a.tile.mr <= rows:
                        multiply, lines = a.tile.multiply, a.tile.mr
                    added += _add_lines(
                        a, itemsize, vector, multiply, LANE_TERMS // lines,
                        window + i * a.row_advance * a.line,
                        a.dy + image * a.yn + (i0 + i) * a.yh, partial,
                    )  # fmt: skip
                    i += lines
                    if added >= LANE_TERMS or (block + 1 == last and i >= rows):
                        accumulate(like, sums, partial, a.copy_bytes)
                        zero(partial, a.copy_bytes)
                        added = 0
                clock = lap(a.profile, worker, MULTIPLY, clock)

    return flat_weight
