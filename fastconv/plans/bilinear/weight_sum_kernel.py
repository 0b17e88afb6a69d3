"""The kernel that ends a bilinear weight gradient: dw = Wᵀ dU, dU the sum of its copies."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.profile import OUTPUT
from fastconv.plans.sum_tasks import add_copies
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element, lanes

from .taps import TAPS, gather_taps

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes sums copy_bytes copies u_component u_unit "
    "block n_blocks tiles_k",
    taps=TAPS,
)


@functools.cache
def bilinear_sum_kernel(itemsize: int) -> Kernel:
    """Add the copies of the sums and write dw; a task is some channels of one tile of filters."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def bilinear_sum(worker, a):
        like, taps = element(itemsize), a.taps
        row = taps.width * itemsize
        room = a.scratch + worker * a.scratch_bytes
        phases = taps.row_phases * taps.column_phases
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            unit, c0 = task // a.n_blocks, task % a.n_blocks * a.block
            c_end = min(taps.channels, c0 + a.block)
            sums = a.sums + unit * a.u_unit
            for at in range(taps.summed * phases):
                e, phase = at // phases, at % phases
                start = sums + e * a.u_component + (phase * taps.channels + c0) * row
                add_copies(like, start, a.copies, a.copy_bytes, (c_end - c0) * row)
            gather_taps(
                like, taps, itemsize, vector, sums, a.u_component, unit // a.tiles_k,
                unit % a.tiles_k * taps.width, c0, c_end, room,
            )  # fmt: skip
        lap(a.profile, worker, OUTPUT, clock)

    return bilinear_sum
