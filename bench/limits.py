"""The limits of the machine, measured: multiply-adds in registers, and bytes from memory."""

from __future__ import annotations

import functools
import time

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from fastconv.core import threads
from fastconv.core.jit import Kernel, kernel, record
from fastconv.core.machine import machine
from fastconv.core.stage import Stage, address
from fastconv.simd.copying import copy
from fastconv.simd.vector import Vectors, element, i64, lanes


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
_COPY = record("target source nbytes")


@functools.cache
def _peak_kernel(itemsize: int) -> Kernel:
    @kernel(_PEAK)
    def fma_peak(worker, args):
        a = numba.carray(args, 1)[0]
        _chains(element(itemsize), a.count, a.target + worker * a.step)

    return fma_peak


@functools.cache
def _copy_kernel() -> Kernel:
    @kernel(_COPY)
    def memory_copy(worker, args):
        a = numba.carray(args, 1)[0]
        copy(a.target + worker * a.nbytes, a.source + worker * a.nbytes, a.nbytes)

    return memory_copy


def _best(run, seconds: float) -> float:
    run()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def fma_peak(dtype: str = "float32", seconds: float = 0.5) -> float:
    """FLOP/s of all threads together, nothing but multiply-adds on registers."""
    itemsize = np.dtype(dtype).itemsize
    workers = threads.get_num_threads()
    width = lanes(itemsize)
    memory = np.full((workers, 4, width), 0.5, dtype)
    count = 200_000
    stage = Stage(
        _peak_kernel(itemsize), workers, count=count, target=address(memory), step=memory[0].nbytes
    )
    return 2 * width * _accumulators() * count * workers / _best(stage.run, seconds)


def memory_bandwidth(seconds: float = 0.5) -> float:
    """Bytes/s of a copy far larger than the caches, read and written ones counted."""
    workers = threads.get_num_threads()
    source = np.ones(1 << 26, np.uint8)
    target = np.zeros_like(source)
    stage = Stage(
        _copy_kernel(), workers, target=address(target), source=address(source),
        nbytes=len(source) // workers,
    )  # fmt: skip
    return 2 * len(source) / _best(stage.run, seconds)
