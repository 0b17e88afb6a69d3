"""Linear flow graphs, and how they become programs.

A graph says what is added to what, with which factor, and leaves everything else open.  Making a
program of it settles three things:

- **Scale.**  Values are kept at multiples of themselves that save instructions (:mod:`.scaling`).
- **Chains.**  Sums of several terms are cut into instructions of two operands.
- **Order.**  Instructions are listed so that few values wait for their use (:mod:`.ordering`).

A map is transposed by turning every arrow of its graph around (Bordewijk's theorem): the factors
stay, sums become forks and forks become sums.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from .ordering import ordered
from .program import ZERO, Op, Program
from .scaling import scaled


class Flow(NamedTuple):
    """Values 0 … inputs − 1 are given; value inputs + k is the sum of ``sums[k]``.

    A sum maps earlier values to their factors (Fractions or floats).  ``results`` are the values
    of the outputs, -1 for zero.
    """

    inputs: int
    sums: list[dict]
    results: tuple[int, ...]


def transpose(program: Program) -> Program:
    """The program of the transposed matrix: as many products, terms and forks exchanged."""
    return to_program(reverse(to_flow(program)))


def to_flow(program: Program) -> Flow:
    sums = []
    for a, x, b, y in program.ops:
        terms = {x: a}
        if y >= 0:
            terms[y] = terms.get(y, 0) + b
        sums.append(terms)
    return Flow(program.inputs, sums, program.results)


def reverse(flow: Flow) -> Flow:
    """The transposed graph: outputs are its inputs, and inputs its outputs."""
    total = flow.inputs + len(flow.sums)
    gathered: list[dict] = [{} for _ in range(total)]
    for new, old in enumerate(flow.results):
        if old != ZERO:
            gathered[old][new] = 1
    at = [ZERO] * total
    sums = []
    for old in reversed(range(total)):
        if not gathered[old]:
            continue
        at[old] = len(flow.results) + len(sums)
        sums.append(gathered[old])
        if old >= flow.inputs:
            for source, factor in flow.sums[old - flow.inputs].items():
                gathered[source][at[old]] = factor
    return Flow(len(flow.results), sums, tuple(at[: flow.inputs]))


def to_program(flow: Flow) -> Program:
    """The cheapest program found for the graph: see above."""
    flow = _used(_absorbed(flow))
    return ordered(_chained(flow, scaled(flow)))


def _absorbed(flow: Flow) -> Flow:
    """Multiples of a sum that nothing else reads become sums themselves."""
    reads = Counter(i for terms in flow.sums for i in terms)
    reads.update(flow.results)
    sums = []
    for terms in flow.sums:
        (source, factor), *rest = terms.items()
        if not rest and source >= flow.inputs and reads[source] == 1:
            terms = {i: factor * other for i, other in sums[source - flow.inputs].items()}
        sums.append(terms)
    return flow._replace(sums=sums)


def _used(flow: Flow) -> Flow:
    """The graph without the sums that no output needs."""
    needed = set(flow.results)
    for index in reversed(range(len(flow.sums))):
        if index + flow.inputs in needed:
            needed.update(flow.sums[index])
    keep = [k for k in range(len(flow.sums)) if k + flow.inputs in needed]
    new = {k: k for k in range(-1, flow.inputs)}
    new.update({k + flow.inputs: flow.inputs + place for place, k in enumerate(keep)})
    sums = [{new[i]: factor for i, factor in flow.sums[k].items()} for k in keep]
    return Flow(flow.inputs, sums, tuple(new[i] for i in flow.results))


def _chained(flow: Flow, sums: list[dict]) -> Program:
    """Instructions for the sums, one after the other."""
    ops: list[Op] = []
    at = list(range(flow.inputs))

    def emit(a, x, b, y):
        if a == -1 and b == 1:
            a, x, b, y = 1, y, -1, x
        ops.append(Op(float(a), x, b, y))
        return flow.inputs + len(ops) - 1

    for terms in sums:
        # From a factor 1 on, each further term is one instruction.
        (first, factor), *rest = sorted(terms.items(), key=lambda term: _rank(term[1]))
        value = at[first]
        if abs(factor) != 1 or (factor != 1 and not rest):
            value, factor = emit(factor, value, 0, ZERO), 1
        for source, other in rest:
            value = emit(other, at[source], factor, value)
            factor = 1
        at.append(value)
    return Program(
        flow.inputs, tuple(ops), tuple(ZERO if i == ZERO else at[i] for i in flow.results)
    )


def _rank(factor) -> int:
    return 0 if factor == 1 else 1 if factor == -1 else 2
