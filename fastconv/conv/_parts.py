"""Passes made of several correlations: all filters are packed at once, then all are multiplied."""

from __future__ import annotations

from fastconv.core.linking import WORD
from fastconv.core.problem import ConvProblem
from fastconv.core.program import SCRATCH, Address, Program, Programs, operands
from fastconv.plans.arrays import FLAGS, Room, Setting, no_flags
from fastconv.plans.clearing import start_of
from fastconv.plans.turns import in_turns

from .algorithm import FlaggedPlan


def workspace(parts: list) -> int:
    """Bytes of scratch: the filters of all parts, and what their workers have in turns."""
    if len(parts) == 1:
        return parts[0].nbytes
    filters = sum(part.filters.nbytes for part in parts)
    return filters + max((part.workers for part in parts), default=0) * _worker_bytes(parts)


def _worker_bytes(parts: list) -> int:
    return max((part.worker_bytes for part in parts), default=0)


def _program(parts: list, settings: list[tuple]) -> Program:
    """What runs the parts, each in its :class:`Setting`."""
    flags = no_flags(len(parts))
    filters, workers = SCRATCH, SCRATCH + sum(part.filters.nbytes for part in parts)
    prepared = []
    for i, (part, setting) in enumerate(zip(parts, settings, strict=True)):
        room = Room(filters, workers, Address(flags, WORD * FLAGS * i))
        prepared.append(part.prepare(room, operands(i), Setting(*setting)))
        filters += part.filters.nbytes
    packing = in_turns([call for p in prepared for call in p.filters.calls])
    spreading = [call for p in prepared for call in p.spreading]
    assert not spreading or len(parts) == 1, "workers of all parts have one room"
    multiplying = in_turns([p.multiplying for p in prepared], _worker_bytes(parts))
    return Program(packing + spreading + multiplying, flags)


def plan_of_parts(problem: ConvProblem, parts: list, threads: int) -> FlaggedPlan:
    """A plan that runs every part."""
    start = start_of(problem, sum(part.outputs for part in parts), threads)
    programs = Programs(workspace(parts))

    def run(first, second, out, bias, relu):
        start(out, bias, relu)
        settings, arrays = [], []
        for part in parts:
            x, w, b = part.arranged(first, second, bias)
            w, strides, b = part.filters.found(w, b)
            settings.append((x.strides, strides, out.strides, b is not None, relu))
            arrays += (x, w, out, b)
        return programs.run(tuple(settings), lambda: _program(parts, settings), *arrays)

    return run
