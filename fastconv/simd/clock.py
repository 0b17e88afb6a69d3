"""The time of a kernel's phases: ticks of each worker, if somebody asks.

A kernel whose arguments have the field ``profile`` reads the clock between its phases and adds the
ticks since the last reading to those of its worker.  Unasked, that costs a comparison.
"""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.core.jit import Kernel, inner, kernel, record
from fastconv.core.profile import PHASES, WORDS, noted
from fastconv.core.stage import Stage

from .copying import get_word, put_word
from .vector import I64

# A counter that any program may read and that runs at a steady rate.
_X86 = platform.machine().lower() in ("x86_64", "amd64")
_COUNTER = "llvm.readcyclecounter" if _X86 else "llvm.readsteadycounter"
_CALIBRATION = 0.01  # seconds


@intrinsic
def _ticks(typingctx):
    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(I64, [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, _COUNTER), [])

    return types.int64(), codegen


@inner
def started(profile):
    """The clock's reading, or 0 if nobody asks."""
    return _ticks() if profile != 0 else 0


@inner
def lap(profile, worker, phase, since):
    """Add the ticks since a reading to a phase of this worker; the new reading."""
    if profile == 0:
        return 0
    now = _ticks()
    at = profile + (worker * WORDS + phase) * 8
    put_word(at, get_word(at) + now - since)
    return now


@functools.cache
def _clock_kernel() -> Kernel:
    @kernel(record("profile"))
    def read_clock(worker, a):
        lap(a.profile, worker, 0, 0)

    return read_clock


@functools.cache
def _tick_rate() -> float:
    """Ticks in a second."""
    stage = Stage(_clock_kernel(), 1)

    def reading() -> tuple[float, int]:
        ticks = np.zeros((1, WORDS), np.int64)
        with noted(ticks):
            stage.run()
        return time.perf_counter(), int(ticks[0, 0])

    reading()
    began, first = reading()
    time.sleep(_CALIBRATION)
    ended, last = reading()
    return (last - first) / (ended - began)


def seconds_by_phase(run: Callable[[], object], workers: int) -> dict[str, float]:
    """What a call of ``run`` spends in each phase of its kernels: the mean over so many workers.

    Phases that take no time are left out: all of them if no kernel notes any.
    """
    rate = _tick_rate()
    ticks = np.zeros((workers, WORDS), np.int64)
    with noted(ticks):
        run()
    means = ticks[:, : len(PHASES)].mean(axis=0) / rate
    return {name: float(mean) for name, mean in zip(PHASES, means, strict=True) if mean > 0}
