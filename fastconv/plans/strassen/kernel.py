"""The kernel of Strassen's sums: one sweep over the blocks of an array and over their parts."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.profile import INPUT, OUTPUT
from fastconv.simd.blocks import LEFT, RIGHT, block_sums
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element

BLOCKS = ("b11", "b12", "b21", "b22")

LAYOUT = record(
    f"counter profile tasks {' '.join(BLOCKS)} parts part_step relu flag "
    # rows of ``length`` elements, each in ``pieces`` of ``piece``; rows to a task
    "rows share length pieces piece "
    # the last two of the three axes that rows lie on, and the strides of all three in bytes
    "middle inner block_outer block_middle block_inner part_outer part_middle part_inner"
)


@functools.cache
def block_sums_kernel(itemsize: int, operation: int) -> Kernel:
    """``operation`` is one of :mod:`fastconv.simd.blocks`."""
    phase = INPUT if operation in (LEFT, RIGHT) else OUTPUT

    @kernel(LAYOUT)
    def sums(worker, a):
        like = element(itemsize)
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            first = task // a.pieces * a.share
            begin = task % a.pieces * a.piece
            count = min(a.piece, a.length - begin)
            for row in range(first, min(first + a.share, a.rows)):
                i, rest = row // (a.middle * a.inner), row % (a.middle * a.inner)
                j, k = rest // a.inner, rest % a.inner
                at = begin * itemsize
                to = a.parts + at + i * a.part_outer + j * a.part_middle + k * a.part_inner
                at += i * a.block_outer + j * a.block_middle + k * a.block_inner
                block_sums(
                    like, operation, count, a.b11 + at, a.b12 + at, a.b21 + at, a.b22 + at,
                    to, a.part_step, a.relu, a.flag,
                )  # fmt: skip
        lap(a.profile, worker, phase, clock)

    return sums
