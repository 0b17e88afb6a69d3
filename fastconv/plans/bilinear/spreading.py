"""Spreading all tiles of an operand before they are multiplied: once, for all workers.

Worth it where several tasks multiply the same components: a last cache holds them, in chunks of
channels.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.stage import Stage
from fastconv.simd.clock import lap, started
from fastconv.simd.tasks import next_task
from fastconv.simd.vector import element, lanes
from fastconv.transforms.maps import spread

from .grid import TileGrid
from .phases import PHASES
from .tiles import TILING, spread_tiles

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes "
    # what its time is noted as; channels of a chunk, chunks of a group; where the components of the
    # first go, bytes to those of the next
    "phase chunk chunks target target_bytes",
    input=PHASES,
    tiling=TILING,
)


@functools.cache
def spreading_kernel(itemsize: int) -> Kernel:
    """Spread all tiles; a task is a chunk of channels of a group."""
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def spreading(worker, a):
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            group, first = task // a.chunks, task % a.chunks * a.chunk
            end = min(a.input.window.channels, first + a.chunk)
            spread_tiles(
                element(itemsize), a.tiling, a.input, itemsize, None, group, first // vector,
                -(-end // vector), 0, a.tiling.all_tiles, a.target + task * a.target_bytes,
                a.scratch + worker * a.scratch_bytes,
            )  # fmt: skip
        lap(a.profile, worker, a.phase, clock)

    return spreading


def spreading_stage(
    grid: TileGrid,
    itemsize: int,
    workers: int,
    which: int,
    phase: int,
    chunk: int,
    **constants: int,
) -> Stage:
    """The stage that does so by the map ``which`` of ``grid``, of its input or output.

    ``constants`` are the window, where its components go, and the scratch of a worker.
    """
    chunks = -(-constants["channels"] // chunk)
    tasks = grid.c.groups * chunks
    pixel = lanes(itemsize) * itemsize
    return Stage(
        spreading_kernel(itemsize),
        min(workers, tasks),
        tasks=tasks,
        phase=phase,
        chunk=chunk,
        chunks=chunks,
        map=spread(itemsize, which, grid.tiling).address,
        **grid.constants(grid.tiles, pixel),
        **constants,
    )
