"""The limits of the machine, measured: multiply-adds in registers, bytes moved, starting threads.

They are what the cost model divides by, and what speeds are compared with.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from fastconv.core.address import address
from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.machine import PAGE, machine
from fastconv.core.stage import Stage

from .copying import copy_far
from .vector import Vectors, element, i64, lanes

_ROUNDS = 50_000  # of multiply-adds in one run: about a millisecond
_FAR = 1 << 25  # bytes, beyond what caches keep of a copy and its source


@intrinsic
def _chains(typingctx, like, count, target):
    """``count`` rounds of independent multiply-adds in registers; their sum goes to ``target``."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        _, count, target = arguments
        # Loaded, so that the compiler cannot see what is multiplied.
        factor, start = v.load(target), v.load(target, 1)
        acc = [builder.fadd(start, factor) for _ in range(_accumulators())]

        def body(index, acc):
            return [v.fma(a, factor, start) for a in acc]

        acc = v.loop(count, acc, body)
        v.store(functools.reduce(builder.fadd, acc), v.offset(target, i64(2 * v.nbytes)))
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen


def _accumulators() -> int:
    return machine().isa.registers - 4


_PEAK = record("count target step")
_COPY = record("target source nbytes repeats")


@functools.cache
def _peak_kernel(itemsize: int) -> Kernel:
    @kernel(_PEAK)
    def fma_peak(worker, a):
        _chains(element(itemsize), a.count, a.target + worker * a.step)

    return fma_peak


@functools.cache
def _copy_kernel() -> Kernel:
    @kernel(_COPY)
    def memory_copy(worker, a):
        for _ in range(a.repeats):
            copy_far(a.target + worker * a.nbytes, a.source + worker * a.nbytes, a.nbytes)

    return memory_copy


def _fastest(run: Callable[[], None], seconds: float) -> float:
    """Seconds of the fastest of the runs that fit in ``seconds``, and of five at least."""
    run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def multiply_adds(dtype: str, workers: int) -> tuple[Callable[[], None], int]:
    """A run of all workers together, nothing but multiply-adds on registers, and its operations.

    It takes about a millisecond: what can be timed in turns with something else.
    """
    itemsize = np.dtype(dtype).itemsize
    width = lanes(itemsize)
    memory = np.full((workers, 4, width), 0.5, dtype)
    stage = Stage(
        _peak_kernel(itemsize), workers,
        count=_ROUNDS, target=memory, step=memory[0].nbytes,
    )  # fmt: skip
    return stage.run, 2 * width * _accumulators() * _ROUNDS * workers


def fma_peak(dtype: str, workers: int, seconds: float = 0.5) -> float:
    """FLOP/s of all workers together, nothing but multiply-adds on registers."""
    run, flop = multiply_adds(dtype, workers)
    return flop / _fastest(run, seconds)


def bandwidth(workers: int, nbytes: int = _FAR, seconds: float = 0.5) -> float:
    """Bytes/s of workers that copy ``nbytes`` together, read and written ones counted.

    Far more bytes than the caches hold give the memory's bandwidth, fewer that of a cache.
    """
    # Whole pages apart: AMD's Zen 3 takes twenty times as long for some other distances.
    apart = -(-nbytes // PAGE) * PAGE
    memory = np.ones(apart + nbytes, np.uint8)
    repeats = -(-_FAR // (8 * nbytes))
    stage = Stage(
        _copy_kernel(), workers,
        target=address(memory[apart:]), source=address(memory), nbytes=nbytes // workers,
        repeats=repeats,
    )  # fmt: skip
    return 2 * nbytes * repeats / _fastest(stage.run, seconds)


def launch(workers: int, seconds: float = 0.02) -> float:
    """Seconds to start ``workers`` on a kernel that has nothing to do."""
    stage = Stage(_copy_kernel(), workers, repeats=0)
    return _fastest(stage.run, seconds)
