"""Show versions, the processor and the vectors used on it, threads, and the kernel cache."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

import fastconv
from fastconv.core import cache, checks, jit, machine, threads
from fastconv.core.stage import Stage

HELP = "what fastconv found on this machine and how it uses it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    facts = collect()
    print(json.dumps(facts, indent=2)) if args.json else _show(facts)
    return 0


def collect() -> dict[str, dict]:
    """Everything the command shows, as plain values: section → name → value."""
    return {
        "versions": _versions(),
        "processor": _processor(),
        "vectors": {dtype: _vectors(dtype) for dtype in checks.DTYPES},
        "threads": _threads(),
        "cache": _cache(),
    }


def _versions() -> dict[str, str]:
    numeric = {name: version(name) for name in ("numpy", "numba", "llvmlite")}
    return {"fastconv": fastconv.__version__, "python": platform.python_version(), **numeric}


def _processor() -> dict[str, str | int]:
    host = machine.machine()
    return {
        "name": machine.processor_name(),
        "architecture": platform.machine(),
        "target": host.cpu,
        "isa": host.isa.name,
        "vector_bits": 8 * host.isa.vector_bytes,
        "registers": host.isa.registers,
        "l1_bytes": host.l1,
        "l2_bytes": host.l2,
    }


def _vectors(dtype: str) -> dict:
    """Lanes of a register, and the tiles (output rows × columns) held in registers, best first."""
    isa = machine.machine().isa
    lanes = isa.vector_bytes // np.dtype(dtype).itemsize
    return {"lanes": lanes, "tiles": [f"{rows}x{vectors * lanes}" for rows, vectors in isa.tiles]}


def _threads() -> dict[str, str | int]:
    return {
        "processors": machine.cpu_count(),
        "threads": fastconv.get_num_threads(),
        "layer": _threading_layer(),
    }


def _threading_layer() -> str:
    """The threading layer, which numba chooses at the first parallel launch: so launch nothing."""

    def nothing(worker, a):
        pass

    empty = jit.kernel(jit.record("unused"))(nothing)
    Stage(empty, fastconv.get_num_threads()).run()
    return threads.threading_layer()


def _cache() -> dict[str, str | int | None]:
    """The kernels of this version, and what earlier versions left behind."""
    folder = cache.cache_directory()
    if folder is None:
        return {"directory": None, "kernels": 0, "bytes": 0, "stale_versions": 0, "stale_bytes": 0}
    here = Path(folder)
    older = [other for other in here.parent.glob("kernels-*") if other != here]
    return {
        "directory": folder,
        "kernels": sum(1 for _ in here.glob(f"*{cache.SUFFIX}")),
        "bytes": _size(here),
        "stale_versions": len(older),
        "stale_bytes": sum(map(_size, older)),
    }


def _size(folder: Path) -> int:
    """Bytes of the files below; other processes may be replacing some."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size if path.is_file() else 0
    return size


def _show(facts: dict[str, dict]) -> None:
    from rich.table import Table

    from .console import amount, console

    processor, workers, cache = facts["processor"], facts["threads"], facts["cache"]
    rows = {
        "versions": "  ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "processor": f"{processor['name']} ({processor['architecture']}, {processor['target']})",
        "vectors": f"{processor['isa']}: {processor['registers']} registers "
        f"of {processor['vector_bits']} bits",
    }
    for dtype, found in facts["vectors"].items():
        tile = found["tiles"][0].replace("x", "×")
        rows[f"  {dtype}"] = f"{found['lanes']} lanes, {tile} register tile"
    rows["caches"] = (
        f"L1 {amount(processor['l1_bytes'])}, L2 {amount(processor['l2_bytes'])} per core"
    )
    rows["threads"] = f"{workers['threads']} of {workers['processors']} processors"
    rows["threading layer"] = workers["layer"]
    rows["kernel cache"] = cache["directory"] or "none (no writable directory)"
    rows["  holds"] = f"{cache['kernels']} kernels, {amount(cache['bytes'])}"
    if cache["stale_versions"]:
        rows["  left over"] = (
            f"{amount(cache['stale_bytes'])} of {cache['stale_versions']} other versions"
        )
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows.items():
        table.add_row(name, text)
    console().print(table)
