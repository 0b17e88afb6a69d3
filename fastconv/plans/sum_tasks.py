"""The tasks of weight gradients, in a plan and in its kernels (:mod:`fastconv.gemm.sharing`)."""

from __future__ import annotations

import numpy as np

from fastconv.core.jit import inner, record
from fastconv.gemm.sharing import cuts
from fastconv.simd.copying import accumulate, get_word

# A task is a copy of the sums × a part of its units; where the blocks of each copy begin.
SUM_TASKS = record("counter tasks copies parts units cuts")


def sum_tasks(
    workers: int, copies: int, parts: int, units: int, blocks: int
) -> dict[str, int | np.ndarray]:
    """What a plan settles of :data:`SUM_TASKS`."""
    return dict(
        tasks=copies * parts,
        copies=copies,
        parts=parts,
        units=units,
        cuts=cuts(blocks, copies, workers),
    )


@inner
def units_of(t, task):
    """The units of a task, from the first to before the last."""
    part = task // t.copies
    return part * t.units // t.parts, (part + 1) * t.units // t.parts


@inner
def blocks_of(t, task):
    """The blocks of a task, likewise."""
    at = t.cuts + task % t.copies * 8
    return get_word(at), get_word(at + 8)


@inner
def add_copies(like, sums, copies, copy_bytes, nbytes):
    """Add to so many bytes of the first copy those of the others."""
    for other in range(1, copies):
        accumulate(like, sums, sums + other * copy_bytes, nbytes)


@inner
def tiles_met(unit, last_unit, n_blocks, tiles):
    """The tiles that units from ``unit`` to before the last have in the group of the first.

    A unit is a tile of a block of a group; all are met where units go on to another block.
    """
    end = min(last_unit, (unit // tiles // n_blocks + 1) * n_blocks * tiles)
    first = unit % tiles
    if (end - 1) // tiles == unit // tiles:
        return first, first + end - unit
    return 0, tiles
