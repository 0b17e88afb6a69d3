"""Register tiles whose rows of A are elements side by side, or stretches of such, step by step.

What a step prefetches is of as many bytes as what it reads of B.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite.ir import Value

from .microkernel import finish, finish_listed, prefetch_vectors, run_start, step_of, unrolled
from .vector import Vectors, i64


def _rows(v: Vectors, shape, a, a_pitch):
    """The addresses of the rows of A in a step."""
    mr, _, stretches = shape
    for _ in range(stretches):
        yield from (v.offset(a, m * v.itemsize) for m in range(mr // stretches))
        a = v.builder.add(a, a_pitch)


class Panel(NamedTuple):
    """What the sums of a panel read and prefetch (:func:`.tile_panel`)."""

    a: Value
    a_pitch: Value
    a_step: Value
    runs: Value
    n_runs: Value
    length: Value
    b: Value
    b_step: Value
    fetch: Value
    fetch_step: Value

    def start(self, v: Vectors, run) -> list:
        """Where a run begins in A and in B, and what is prefetched then."""
        return run_start(v, self.runs, run, self.a, self.b, self.fetch)

    def moved(self, v: Vectors, at) -> list:
        """The three addresses a step further."""
        return list(map(v.builder.add, at, [self.a_step, self.b_step, self.fetch_step]))


PANEL = len(Panel._fields)


def _steps(v: Vectors, shape, panel: Panel):
    """The body of so many steps, which carry three addresses and the sums."""

    def block(size):
        def steps(index, carried):
            at, acc = carried[:3], carried[3:]
            for _ in range(size):
                a, b, fetch = at
                prefetch_vectors(v, fetch, shape[1])
                acc = step_of(v, acc, list(_rows(v, shape, a, panel.a_pitch)), b, shape[1])
                at = panel.moved(v, at)
            return [*at, *acc]

        return steps

    return block


def emit_panel(v: Vectors, shape, *words):
    panel, ending = Panel(*words[:PANEL]), words[PANEL:]
    mr, nv, _ = shape
    loop, block = unrolled(v, panel.length), _steps(v, shape, panel)

    def run(index, acc):
        return loop([*panel.start(v, index), *acc], block)[3:]

    finish_listed(v, v.loop(panel.n_runs, [v.zero] * (mr * nv), run), ending, mr, nv)


def emit_planes(
    v: Vectors, shape, count, a, a_pitch, a_step, length, b, fetch, fetch_step, fetch_tile, init,
    pitch, relu, c, c_pitch,
):  # fmt: skip
    builder, (mr, nv, _) = v.builder, shape
    # A step that LLVM knew would let it read ahead for later steps, and spill what it finds.
    b_step = v.opaque(i64(nv * v.nbytes))
    panel = Panel(a, a_pitch, a_step, None, None, length, b, b_step, fetch, fetch_step)
    loop, block = unrolled(v, length), _steps(v, shape, panel)

    def tile(index, carried):
        b, fetch, c = carried
        _, b, _, *acc = loop([a, b, fetch, *[v.zero] * (mr * nv)], block)
        finish(
            v, acc, init, pitch, relu, lambda m: v.offset(c, builder.mul(c_pitch, i64(m))), mr, nv
        )
        return [b, builder.add(fetch, fetch_tile), v.offset(c, nv * v.nbytes)]

    v.loop(count, [b, fetch, c], tile)
