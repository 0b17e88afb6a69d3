"""The kernel that ends ``bf16x3``'s weight gradient: add the copies of the sums, write dw."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, inner, kernel, record
from fastconv.core.profile import OUTPUT
from fastconv.plans.sum_tasks import add_copies
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy
from fastconv.simd.matrix import LANES, TILE_BYTES
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element

LAYOUT = record(
    "counter profile tasks sums copy_bytes copies unit_bytes "
    # strides of dw in bytes: between groups, channels of the left and of the right operand
    "dw group_step left_step right_step "
    "taps left_tiles n_blocks left_tile block left_channels right_channels"
)


@inner
def _write(like, a, target, sums, rows, columns, next_tap):
    """``rows`` × ``columns`` channels (columns up to 16), all their taps."""
    if a.left_step == 4:  # a single tap, x being the left operand
        for k in range(0, rows, LANES):
            transpose_tile(
                like, target + k * 4, a.right_step, sums + k * LANES * 4, LANES * 4,
                min(LANES, rows - k), columns,
            )  # fmt: skip
    elif a.taps == 1:
        for k in range(rows):
            copy(target + k * a.left_step, sums + k * LANES * 4, columns * 4)
    else:
        for k in range(rows):
            for t in range(0, a.taps, LANES):
                transpose_tile(
                    like, target + k * a.left_step + t * 4, a.right_step,
                    sums + k * LANES * 4 + t * next_tap, next_tap, min(LANES, a.taps - t), columns,
                )  # fmt: skip


@functools.cache
def split_sum_kernel() -> Kernel:
    """Write dw; a task is a unit, whose sums are ``[tap][16 of the right][left][right]``."""

    @kernel(LAYOUT)
    def split_sum(worker, a):
        like = element(4)
        tile_bytes = a.left_tile // LANES * TILE_BYTES
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.unit_bytes
            add_copies(like, sums, a.copies, a.copy_bytes, a.unit_bytes)
            block, k = task % a.n_blocks, task // a.n_blocks % a.left_tiles
            group = task // a.n_blocks // a.left_tiles
            left, right = k * a.left_tile, block * a.block
            target = a.dw + group * a.group_step + left * a.left_step + right * a.right_step
            valid = min(a.block, a.right_channels - right)
            for c in range(0, valid, LANES):
                _write(
                    like, a, target + c * a.right_step, sums + c // LANES * tile_bytes,
                    min(a.left_tile, a.left_channels - left), min(LANES, valid - c),
                    a.block // LANES * tile_bytes,
                )  # fmt: skip
        lap(a.profile, worker, OUTPUT, clock)

    return split_sum
