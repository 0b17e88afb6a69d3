"""Packed filters that last: for layers that run again and again with the same weights.

Weights are plain arrays, which anybody may write to unseen.  So a call compares their bytes with a
copy, on all threads, which takes less than packing them, or than mapping them to components.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastconv.core.address import address
from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.profile import WEIGHT
from fastconv.core.program import SCRATCH, Program, operands
from fastconv.core.stage import Stage
from fastconv.core.workspace import ALIGN, aligned
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import put_word, same
from fastconv.simd.tasks import next_task

from .arrays import Setting

if TYPE_CHECKING:
    from .packed_filters import PackedFilters

_SHARE = 1 << 17  # bytes of a task


@functools.cache
def _compare_kernel() -> Kernel:
    @kernel(record("counter profile tasks one other nbytes share flag"))
    def compare(worker, a):
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            at = task * a.share
            if same(a.one + at, a.other + at, min(a.share, a.nbytes - at)) == 0:
                put_word(a.flag, 1)
        lap(a.profile, worker, WEIGHT, clock)

    return compare


@functools.cache
def _stage(workers: int) -> Stage:
    return Stage(_compare_kernel(), workers, share=_SHARE)


def _equal(one: np.ndarray, other: np.ndarray, threads: int) -> bool:
    """Whether two C-contiguous arrays of one shape hold the same bytes."""
    differ = np.zeros(1, np.int64)
    tasks = -(-one.nbytes // _SHARE)
    _stage(max(1, min(threads, tasks))).run(
        one=address(one), other=address(other), nbytes=one.nbytes, tasks=tasks,
        flag=address(differ),
    )  # fmt: skip
    return not differ[0]


class _Entry(NamedTuple):
    """Filters as they were packed, from copies of the weights and the bias."""

    weight: np.ndarray
    bias: bytes | None
    memory: np.ndarray
    places: tuple[int, int]  # of the packed filters and the biases

    def holds(self, weight: np.ndarray, bias: np.ndarray | None, threads: int) -> bool:
        """Whether that is what would be packed now."""
        if (None if bias is None else bias.tobytes()) != self.bias:
            return False
        return _equal(self.weight, np.ascontiguousarray(weight), threads)


def _packed(filters: PackedFilters, weight, bias) -> _Entry:
    memory = np.empty(filters.kept_bytes + ALIGN, np.uint8)
    target = aligned(address(memory))
    # Packed is what was copied: another thread may be writing to the weights.
    weight, bias = np.array(weight, order="C"), None if bias is None else bias.copy()
    setting = Setting((), weight.strides, (), bias is not None, False)
    packing = Program([filters.packing_call(SCRATCH, operands(), setting)])
    packing.run(target, None, weight, None, bias)
    return _Entry(weight, None if bias is None else bias.tobytes(), memory, filters.places(target))


class _Session(NamedTuple):
    """What a ``with`` block found, and what it used."""

    found: dict[PackedFilters, _Entry]
    used: dict[PackedFilters, _Entry]


_session: contextvars.ContextVar[_Session | None] = contextvars.ContextVar("filters", default=None)


class KeptFilters:
    """The filters that plans pack inside ``with kept.reused():``, for the next time.

    What a block did not use is dropped at its end, so that an image of another size, or a contest
    of algorithms, leaves nothing behind.  Blocks in several Python threads may share one object:
    an entry is never written to once it is there.
    """

    def __init__(self) -> None:
        self._entries: dict[PackedFilters, _Entry] = {}

    @contextlib.contextmanager
    def reused(self) -> Iterator[None]:
        session = _Session(self._entries, {})
        token = _session.set(session)
        try:
            yield
        finally:
            _session.reset(token)
        self._entries = session.used

    def __deepcopy__(self, memo) -> KeptFilters:
        return KeptFilters()

    def __reduce__(self):
        return KeptFilters, ()

    @property
    def nbytes(self) -> int:
        """Memory that the packed filters and the copies of their weights take."""
        return sum(e.memory.nbytes + e.weight.nbytes for e in self._entries.values())


def kept(filters: PackedFilters, weight, bias) -> tuple[int, int] | None:
    """Where ``filters`` are, packed, if a block around asks for keeping them; None if not."""
    session = _session.get()
    if session is None:
        return None
    again = filters in session.used
    entry = session.used[filters] if again else session.found.get(filters)
    if entry is None or not entry.holds(weight, bias, filters.threads):
        if again:  # one plan may run several times, on weights of its own: the first ones are kept
            return None
        entry = _packed(filters, weight, bias)
    # Threads may share a session: whoever is second leaves alone what the first one's call reads.
    return entry.places if session.used.setdefault(filters, entry) is entry else None
