"""The kernel that ends a weight gradient: add the copies of the sums, reorder them into dw."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.profile import OUTPUT
from fastconv.plans.sum_tasks import add_copies
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy, copy_strided
from fastconv.simd.tasks import next_task
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes "
    # copies of the sums, and those of a task, of a product
    "sums copy_bytes copies block_bytes tap_bytes "
    # dw, bytes from group to group, from filter to filter, from channel to channel
    "dw dg dk dc "
    # taps of a filter, of a product; filters of a tile, tiles of a group; blocks of channels
    "taps joined tile tiles_k n_blocks block channels filters "
    # the first filter of the last tile
    "last"
)


@functools.cache
def weight_sum_kernel(itemsize: int) -> Kernel:
    """Write dw[k, c, r, s]; a task is one tile of filters and one block of channels.

    Vectors of filters are transposed for many channels at once, to write whole cache lines.

    Its sums are ``[tap // joined][tap % joined][channel][lane]``, ``tap_bytes`` to a product.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def weight_sum(worker, a):
        like = element(itemsize)
        row = a.tile * itemsize
        pixel = vector * itemsize
        staged = a.scratch + worker * a.scratch_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            sums = a.sums + task * a.block_bytes
            add_copies(like, sums, a.copies, a.copy_bytes, a.block_bytes)
            block = task % a.n_blocks
            tile = task // a.n_blocks % a.tiles_k
            group = task // a.n_blocks // a.tiles_k
            first = min(tile * a.tile, a.last)
            n_lanes = min(a.tile, a.filters - first)
            valid = min(a.block, a.channels - block * a.block)
            target = a.dw + group * a.dg + first * a.dk + block * a.block * a.dc
            if a.dk == itemsize:  # one tap, x and dy in each other's place
                for c in range(valid):
                    copy(target + c * a.dc, sums + c * row, n_lanes * itemsize)
                continue
            for c in range(0, valid, vector):
                together = min(vector, valid - c)
                for lane in range(0, n_lanes, vector):
                    for t in range(a.taps):
                        source = sums + t // a.joined * a.tap_bytes + lane * itemsize
                        source += (t % a.joined * a.block + c) * row
                        copy_strided(
                            like, staged + t * pixel, a.taps * pixel, source, row, together
                        )
                    at = target + lane * a.dk + c * a.dc
                    for t in range(0, together * a.taps, vector):
                        transpose_tile(
                            like, at + t * itemsize, a.dk, staged + t * pixel, pixel,
                            min(vector, together * a.taps - t), min(vector, n_lanes - lane),
                        )  # fmt: skip
        lap(a.profile, worker, OUTPUT, clock)

    return weight_sum
