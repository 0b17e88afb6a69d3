"""What the kernels need to know of the processor: vector length, registers, caches, tiles.

One row of :data:`ISAS` describes an instruction set.  Everything that depends on the hardware is
read from the row of the host, so a new instruction set is a new row.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from .once import making


@dataclass(frozen=True)
class Isa:
    """One instruction set.

    ``tiles`` lists the register tiles (rows × vectors) a matrix-product kernel may use, the best
    first: rows·vectors accumulators, ``vectors`` operands and a broadcast must fit ``registers``.
    Those of ``panels`` are better only where the elements of all rows stand side by side.
    ``load`` is the time of a load, in that of a multiply-add, where tiles wait for nothing else.
    ``masks`` says whether a part of a vector is best stored under a mask.
    """

    name: str
    vector_bytes: int
    registers: int
    tiles: tuple[tuple[int, int], ...]
    features: frozenset[str] = frozenset()
    panels: tuple[tuple[int, int], ...] = ()
    load: float = 1.0
    masks: bool = False

    @property
    def most_rows(self) -> int:
        """The most rows of any of the tiles."""
        return max(rows for rows, _ in self.tiles)


# 14 or 16 rows are missing: so many addresses do not fit the other registers, and cost a tenth.
_TILES_32 = (
    *((12, 2), (13, 2), (11, 2), (10, 2), (9, 3), (8, 3), (6, 4), (5, 5), (9, 2), (8, 2), (6, 2)),
    *((12, 1), (9, 1), (8, 1)),
)
_TILES_16 = ((6, 2), (4, 3), (5, 2), (12, 1), (4, 2), (8, 1))

ISAS = (
    Isa("avx512", 64, 32, _TILES_32, frozenset({"avx512f"}), ((16, 1),), masks=True),
    Isa("avx2", 32, 16, _TILES_16, frozenset({"avx2", "fma"}), load=1.55),  # of Zen 3, measured
    Isa("neon", 16, 32, ((8, 3), (12, 2), (6, 4), (8, 2), (24, 1), (8, 1)), frozenset({"neon"})),
    Isa("sse", 16, 16, _TILES_16, frozenset({"sse2"})),
    Isa("generic", 16, 16, _TILES_16),
)

# Processor names that NUMBA_CPU_NAME may ask for, by the instruction set they are tested as.
_NAMED = {
    "generic": frozenset(),
    "x86-64": frozenset({"sse2"}),
    "x86-64-v2": frozenset({"sse2"}),
    "nehalem": frozenset({"sse2"}),
    "x86-64-v3": frozenset({"avx2", "fma"}),
    "haswell": frozenset({"avx2", "fma"}),
    "skylake": frozenset({"avx2", "fma"}),
    "znver3": frozenset({"avx2", "fma"}),
    "x86-64-v4": frozenset({"avx512f"}),
    "skylake-avx512": frozenset({"avx512f"}),
    "sapphirerapids": frozenset({"avx512f"}),
    "znver4": frozenset({"avx512f"}),
}


PAGE, _LINE = 4096, 64  # bytes


@dataclass(frozen=True)
class Machine:
    """The processor kernels are compiled for: its name, instruction set and caches in bytes."""

    cpu: str
    isa: Isa
    l1: int
    l2: int
    l3: int

    def lines_apart(self, pitch: int) -> int:
        """Cache lines, ``pitch`` bytes apart, that the first level has room for.

        It looks for a line by where that is in a page: where pitches are multiples of many lines,
        all are looked for in few places.
        """
        return _lines_apart(self.l1, PAGE, pitch)

    def far_lines_apart(self, pitch: int) -> int:
        """The same of the second level, if it has eight places for a line, as most have."""
        return _lines_apart(self.l2, self.l2 // 8, pitch)


def _lines_apart(size: int, period: int, pitch: int) -> int:
    """Of a cache that looks in the same places for lines a ``period`` apart."""
    return size // period * min(period // _LINE, period // math.gcd(period, pitch))


def _target() -> tuple[str, frozenset[str]]:
    """The processor numba compiles for and its features, ``NUMBA_CPU_*`` respected."""
    import llvmlite.binding as llvm
    from numba import config

    with making:
        host, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    asked = config.CPU_NAME
    if config.CPU_FEATURES:
        listed = config.CPU_FEATURES.split(",")
        return asked or host, frozenset(f[1:] for f in listed if f.startswith("+"))
    if asked and asked != host:
        # An unknown name gets the vectors every 64-bit processor has: never an illegal instruction.
        return asked, _NAMED.get(asked, frozenset())
    return host, frozenset(name for name, present in features.items() if present)


def _cache_bytes(level: int, default: int) -> int:
    """Size of the data cache at ``level`` as Linux reports it, or ``default``."""
    for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if int((entry / "level").read_text()) != level:
                continue
            if (entry / "type").read_text().strip() == "Instruction":
                continue
            size = (entry / "size").read_text().strip()
            return int(size.removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return default


@functools.cache
def machine() -> Machine:
    """The machine this process compiles for (constant for the life of the process)."""
    cpu, features = _target()
    isa = next(isa for isa in ISAS if isa.features <= features)
    return Machine(
        cpu, isa, _cache_bytes(1, 32 << 10), _cache_bytes(2, 1 << 20), _cache_bytes(3, 32 << 20)
    )


_MATRIX_FEATURES = frozenset({"amx-tile", "amx-bf16", "avx512bf16"})
_ARCH_PRCTL, _ASK_STATE, _TILE_DATA = 158, 0x1023, 18  # of Linux on x86-64


@functools.cache
def matrix_unit() -> bool:
    """Whether this process may use a matrix unit for bfloat16: it is there, and Linux lends it.

    Source: "Using XSTATE features in user space applications", the Linux kernel's documentation.
    """
    _, features = _target()
    if not (features >= _MATRIX_FEATURES and sys.platform == "linux"):
        return False
    return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK_STATE, _TILE_DATA) == 0


@functools.cache
def processor_name() -> str:
    """The processor's marketing name, where the system tells it."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def cpu_count() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
