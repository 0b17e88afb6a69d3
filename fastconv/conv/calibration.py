"""This host in four numbers, measured once and kept; and what a cost takes on it.

    t = t_call + Σ stages max(flops / (η·peak·workers), bytes / bandwidth) + launches·t₀

η belongs to the kernels, everything else to the host.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from fastconv.core import store
from fastconv.core.locks import Lock
from fastconv.core.machine import machine, processor_name
from fastconv.simd import limits

from .algorithm import Cost, Work


class Kind(NamedTuple):
    """A kind of work: the share η of the peak that it reaches, and where its bytes are."""

    efficiency: float
    near: bool = False  # its bytes never leave the caches


KINDS = {
    "product": Kind(0.85),  # a register tile over operands in cache
    "matrix": Kind(2.8),  # on the matrix unit, three products for one, counted as one
    "matrix sums": Kind(2.8),  # the same over the pixels
    "split": Kind(1.0, near=True),  # operands in halves, transposed or not
    "taps": Kind(0.6),  # a load for every product or two: sums of few channels
    "transform": Kind(0.22, near=True),  # additions and multiplications of tiles
    "fourier": Kind(0.11, near=True),  # the same, of more values than there are registers
    "spectrum": Kind(0.2, near=True),  # the same for one channel alone, products included
    "gather": Kind(1.0, near=True),  # no arithmetic: columns copied together, or pixels apart
    "copy": Kind(1.0),  # no arithmetic: operands packed, or read and written between products
    "numpy": Kind(0.02),  # tap by tap through temporary arrays
}
_SECONDS = (0.01, 0.02, 0.01, 0.01)  # of measuring the peak, the memory, a cache, a launch
_ROUNDS = 3  # of all but the memory; the best counts, for others slow a host down by turns
_LONGEST_LAUNCH = 500e-6  # seconds; the slowest threading layer takes a quarter of that
_CALL = 6e-6  # seconds of Python that a call costs


class Host(NamedTuple):
    """What a number of threads of this host can do in one dtype."""

    peak: float  # FLOP/s of one thread
    memory: float  # bytes/s of all threads, from and to memory
    cache: float  # bytes/s of one thread, from and to its L2 cache
    launch: float  # seconds to start all threads


_PLAUSIBLE = {  # bounds of what any host may reach; what is stored beyond them is damaged
    "peak": (1e6, 1e15),
    "memory": (1e6, 1e15),
    "cache": (1e6, 1e15),
    "launch": (1e-9, 1.0),
}

# Stands in where any host would choose the same, or where measuring it would cost more than a
# choice can gain.
NOMINAL = Host(peak=1e11, memory=4e10, cache=1e11, launch=5e-6)


def identity(threads: int) -> dict[str, Any]:
    """What makes a host, as part of a key: measurements hold for this processor and threads."""
    return {"processor": processor_name(), "isa": machine().isa.name, "threads": threads}


_lock = Lock()


def host(dtype: str, threads: int) -> Host:
    """The host as measured: by this process, by an earlier one, or now (about 0.2 s)."""
    with _lock:
        return _host(dtype, threads)


@functools.cache
def _host(dtype: str, threads: int) -> Host:
    key = {**identity(threads), "dtype": dtype}
    stored = store.recall("hosts", key, _valid)
    if stored is not None:
        return Host(**stored)
    made = _measure(dtype, threads)
    if made.launch > _LONGEST_LAUNCH:  # others keep the processors busy: true for now only
        return made._replace(launch=_LONGEST_LAUNCH)
    store.remember("hosts", key, made._asdict())
    return made


def _measure(dtype: str, threads: int) -> Host:
    """Where one thread can tell, one is asked: it waits for no other that is kept from running."""
    peak, memory, cache, launch = _SECONDS
    rounds = [
        (
            limits.fma_peak(dtype, 1, peak),
            limits.bandwidth(1, machine().l2 // 4, cache),
            limits.launch(threads, launch),
        )
        for _ in range(_ROUNDS)
    ]
    peaks, caches, launches = zip(*rounds, strict=True)
    far = max(limits.bandwidth(n, seconds=memory) for n in {1, threads})
    return Host(max(peaks), far, max(caches), min(launches))


def _valid(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(Host._fields)
        and all(isinstance(v, float) for v in value.values())
        and all(low < value[name] < high for name, (low, high) in _PLAUSIBLE.items())
    )


def seconds(cost: Cost, host: Host) -> float:
    """What the model predicts for one call."""
    far = sum(work.nbytes for work in cost.stages if not KINDS[work.kind].near)
    resident = far <= machine().l2 * max((work.workers for work in cost.stages), default=1)
    return _CALL + sum(_seconds(work, host, resident) for work in cost.stages)


def _seconds(work: Work, host: Host, resident: bool) -> float:
    kind = KINDS[work.kind]
    arithmetic = work.flops / (kind.efficiency * host.peak * work.workers)
    bandwidth = host.cache * work.workers if kind.near or resident else host.memory
    start = host.launch if work.workers > 1 else 0
    return max(arithmetic, work.nbytes / bandwidth) + work.launches * start
