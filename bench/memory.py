"""Print what memory a call takes beside PyTorch's, layer by layer and pass by pass.  Linux only.

    python bench/memory.py [--algorithm direct] [--layers vgg …] [--threads N]

A figure is the most memory that is resident during a call above what was resident before it: the
result and everything the call allocates.  Both libraries get the same arrays in the same memory
format, and neither has kept anything but its code from the calls before.
"""

from __future__ import annotations

import argparse
import ctypes
import re
from collections.abc import Callable
from pathlib import Path

import torch
from table import Layer, layers

import fastconv as fc
from fastconv.core import workspace
from fastconv.core.problem import DIRECTIONS, FORMATS

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _resident(field: str) -> int:
    """``VmRSS``, resident now, or ``VmHWM``, the most since the last reset; bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", _STATUS.read_text())
    return int(found[1]) * 1024


def peak(function: Callable[[], object]) -> int:
    """Bytes resident at most during a call, above those before it."""
    function()  # compiles, and decides
    workspace.release()
    ctypes.CDLL(None).malloc_trim(0)
    _RESET.write_text("5")  # the most resident is what is resident now
    before = _resident("VmRSS")
    function()
    return _resident("VmHWM") - before


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithm", default="auto")
    parser.add_argument("--layers", nargs="+", default=[], help="parts of their names")
    parser.add_argument("--threads", type=int, default=fc.get_num_threads())
    return parser.parse_args()


def main() -> None:
    args = arguments()
    fc.set_num_threads(args.threads)
    torch.set_num_threads(args.threads)
    print(f"{args.threads} threads; MiB\n")
    print(f"{'layer':<26}{'pass':<17}{'format':<8}{'torch':>9}{'own':>9}{'more':>9}")
    most = 0.0
    for name, problem in layers(args.layers).items():
        layer = Layer(problem, args.algorithm)
        for direction in DIRECTIONS:
            for order in FORMATS:
                calls = (layer.torch(direction, order), layer.fastconv(direction, order))
                theirs, own = (peak(call) / 2**20 for call in calls)
                most = max(most, own - theirs)
                figures = "".join(f"{mib:9.1f}" for mib in (theirs, own, own - theirs))
                print(f"{name:<26}{direction:<17}{order:<8}{figures}", flush=True)
    print(f"\nmost above PyTorch: {most:.1f} MiB")


if __name__ == "__main__":
    main()
