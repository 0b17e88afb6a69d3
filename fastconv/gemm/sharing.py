"""How workers share out sums over blocks of pixels. Plain arithmetic, no kernel.

Sums are kept in *copies*, each for some of the blocks, added up at the end; and units of a copy are
divided into *parts*.  A task sums a part of a copy.  What it sums depends on the number of workers
alone, so results repeat bit by bit; who does it does not.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.machine import machine

from .tiling import round_up

EVEN = 4  # blocks for a weight of 1: so many that it does not matter that there are only whole ones
_WORTH = 2_500_000  # floating-point operations of a worker: some twenty microseconds
_BYTE = 8  # of them in the time of a byte to or from memory
_PASSED = 14  # of one from core to core: to be read there, and overwritten by the next call
_MOST_COPIES = 4  # for each worker
_COPY_PIXELS = 1024  # for each copy: its sums are added in the time of some 35
_FIRST_WEIGHT = 3  # times a spare copy's blocks: of those that workers begin with
_SHARED = 32 << 20  # bytes at most for all workers, of a last cache that others may use, too
_COPIED = 16 << 20  # bytes of all copies, at most, of sums that are copied to read less
_UNEVEN = 1.1  # by so much the largest of their shares of the blocks may exceed the mean
_LEAST_PART = 2  # units, where there are more parts than workers: they share what is packed


def workers_for(flops: float, tasks: int, threads: int, nbytes: int = 0) -> int:
    """Threads worth starting: what each of them has to do should take longer than that.

    It is arithmetic, or moving bytes, whichever takes longer.
    """
    return max(1, min(threads, tasks, int(max(flops, _BYTE * nbytes) // _WORTH) + 1))


def pays(flops: float, workers: int, passed: int) -> bool:
    """Whether ``workers`` save more than it takes to pass on what one of them writes for all.

    That are so many bytes, as far as the cache of a core holds them.
    """
    return flops - flops / workers > _PASSED * min(passed, machine().l2)


def leave_idle(tasks: int, workers: int) -> bool:
    """Whether so many equal tasks leave workers without one for over a quarter of the time."""
    return 4 * tasks < 3 * round_up(tasks, workers)


def share_out(
    workers: int, blocks: int, units: int, copy_bytes: int, pixels: int, turns: int
) -> tuple[int, int]:
    """Copies of sums of ``copy_bytes`` over blocks of pixels, and parts.

    Every worker has a copy, or several, if that stays in the cache; or if units are too few.
    Larger sums are copied, too, if there are pixels enough to add the copies up: what a worker
    packs and reads no other does then, but for those that share a copy and have a part of it each.
    Of a single copy they have parts for up to so many ``turns``: whoever is done early takes
    another.
    """
    small = 2 * copy_bytes <= machine().l2
    if small or units < workers:
        copies = min(workers, blocks)
        spare = spare_copies(workers, units, blocks // EVEN, pixels) if small else 1
        return max(copies, spare), min(units, workers // copies)
    copies = _affordable(workers, blocks, copy_bytes, pixels)
    if copies > 1:
        return copies, workers // copies
    return 1, _parts(workers, units, turns) if workers > 1 else 1


def room_for_copies() -> int:
    """Bytes of all copies of sums too large for a worker's own cache, which the last one holds."""
    return min(machine().l3 // 5 * 2, _COPIED)


def room_for_all() -> int:
    """Bytes of what is made once for all workers, which read it from the last cache."""
    return min(machine().l3 // 2, _SHARED)


def _affordable(workers: int, blocks: int, copy_bytes: int, pixels: int) -> int:
    """Copies that as many workers have each, as the pixels and bytes to add up allow."""
    most = min(workers, blocks, pixels // _COPY_PIXELS, room_for_copies() // copy_bytes)
    fair = (n for n in range(2, most + 1) if workers % n == 0)
    return max((n for n in fair if round_up(blocks, n) <= _UNEVEN * blocks), default=1)


def _parts(workers: int, units: int, turns: int) -> int:
    """Parts of the units for up to so many turns, as long as equal workers take no longer.

    There are as many units as workers, or more.
    """
    longest = -(-units // workers)
    for turn in range(turns, 1, -1):
        parts = max(workers, min(turn * workers, units // _LEAST_PART))
        if -(-parts // workers) * -(-units // parts) <= longest:
            return parts
    return workers


def spare_copies(workers: int, units: int, weight: int, pixels: int) -> int:
    """Several copies for each worker, or 1 where they do not pay.

    Workers are not equally fast: whoever is done early takes another copy.  They are as many as
    there are ``pixels`` for, where no more workers than units add them up, and as a total
    ``weight`` allows.
    """
    fair = pixels * min(units, workers) // workers // _COPY_PIXELS
    allowed = weight - (_FIRST_WEIGHT - 1) * workers
    copies = min(_MOST_COPIES * workers, fair, allowed)
    return copies if workers > 1 and 2 * copies >= 3 * workers else 1


def total_weight(copies: int, workers: int) -> int:
    """Into so many blocks, or a multiple of it, :func:`cuts` are as even as they can be."""
    return int(_weights(copies, workers).sum())


def cuts(blocks: int, copies: int, workers: int) -> np.ndarray:
    """Where the blocks of each copy begin, and those of the last end."""
    ends = np.cumsum(_weights(copies, workers))
    return np.concatenate([[0], blocks * ends // ends[-1]])


def _weights(copies: int, workers: int) -> np.ndarray:
    """The shares of copies: where some are spare, those that workers begin with are larger."""
    weights = np.ones(copies, np.int64)
    if copies > workers:
        weights[np.arange(workers) * copies // workers] = _FIRST_WEIGHT
    return weights
