"""Passes made of several correlations: all filters are packed at once, then all are multiplied."""

from __future__ import annotations

from fastconv.core.problem import ConvProblem
from fastconv.core.workspace import Scratch
from fastconv.plans.clearing import start_of
from fastconv.plans.turns import run_together

from .algorithm import Plan


def workspace(parts: list) -> int:
    """Bytes of scratch: the filters of all parts, and what their workers have in turns."""
    if len(parts) == 1:
        return parts[0].nbytes
    filters = sum(part.filters.nbytes for part in parts)
    return filters + max((part.workers for part in parts), default=0) * _worker_bytes(parts)


def _worker_bytes(parts: list) -> int:
    return max((part.worker_bytes for part in parts), default=0)


def plan_of_parts(problem: ConvProblem, parts: list, threads: int) -> Plan:
    """A plan that runs every part."""
    forward = problem.direction == "forward"
    start = start_of(problem, parts, threads)
    filter_bytes = sum(part.filters.nbytes for part in parts)
    nbytes, worker_bytes = workspace(parts), _worker_bytes(parts)

    def run_all(first, second, out, bias, relu):
        start(out, bias, relu)
        prepared = []
        with Scratch(nbytes) as base:
            room = base + filter_bytes
            for part in parts:
                prepared.append(part.prepare(base, room, first, second, out, bias, relu, forward))
                base += part.filters.nbytes
            packings = [p.filters.packing for p in prepared if p.filters.packing is not None]
            run_together(packings)
            run_together([p.multiplying for p in prepared], worker_bytes)
        # Every part runs, whether or not the results of another are finite.
        return all(p.outcome is None or p.outcome() for p in prepared)

    def run_one(first, second, out, bias, relu):
        start(out, bias, relu)
        with Scratch(nbytes) as base:
            multiplying, filters, outcome, _memory = parts[0].prepare(
                base, base + filter_bytes, first, second, out, bias, relu, forward
            )
            filters.pack()
            multiplying.run()
        return outcome is None or outcome()

    return run_one if len(parts) == 1 else run_all
