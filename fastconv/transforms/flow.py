"""Linear flow graphs, and how they become programs.

A graph says what is added to what, with which factor, and leaves everything else open.  Making a
program of it settles three things:

- **Scale.**  A value nobody outside sees may be kept at any multiple of itself.  Dividing by one
  of the factors in its sum makes that factor 1, and a sum of k terms takes k − 1 instructions; the
  divisor reappears in the factors of its consumers, which are fused multiply-adds anyway.  (With
  rotations as the sums this is the FFT of Linzer and Feig, 1993.)
- **Chains.**  Sums of several terms are cut into instructions of two operands.
- **Order.**  Instructions are listed so that few values wait for their use: vector registers are
  scarce.

A map is transposed by turning every arrow of its graph around (Bordewijk's theorem): the factors
stay, sums become forks and forks become sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from .program import ZERO, Op, Program

_EXACT = 2**24  # integers below have their own float32


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
    flow = _used(flow)
    scaled = _scaled(flow)
    return _ordered(flow, *_chained(flow, scaled))


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


def _scaled(flow: Flow) -> list[dict]:
    """The sums with factors as they are once every value is kept at a scale of its choice."""
    outputs = set(flow.results)
    choices: list = [None] * len(flow.sums)
    best, cost = _at_scale(flow, outputs, choices)
    if not cost[0]:
        return best
    # Some output has no factor 1: another choice for a sum before it may spare it a scaling.
    for index, terms in enumerate(flow.sums):
        if index + flow.inputs in outputs or len(terms) < 2:
            continue
        for choice in terms:
            trial = [*choices[:index], choice, *choices[index + 1 :]]
            sums, price = _at_scale(flow, outputs, trial)
            if price < cost:
                best, cost, choices = sums, price, trial
        if not cost[0]:
            break
    return best


def _at_scale(flow: Flow, outputs: set, choices: list) -> tuple[list[dict], tuple]:
    """The sums at the scales of ``choices`` (the term whose factor becomes 1), and their cost."""
    divided: list = [1] * flow.inputs
    sums = []
    scalings = products = inexact = 0
    for index, (terms, choice) in enumerate(zip(flow.sums, choices, strict=True)):
        factors = {i: factor * divided[i] for i, factor in terms.items()}
        divisor = 1
        if index + flow.inputs not in outputs:
            divisor = factors[_unit(factors) if choice is None else choice]
            factors = {i: _settle(factor / divisor) for i, factor in factors.items()}
        else:
            factors = {i: _settle(factor) for i, factor in factors.items()}
            scalings += not any(abs(factor) == 1 for factor in factors.values())
        divided.append(divisor)
        sums.append(factors)
        products += sum(abs(factor) != 1 for factor in factors.values())
        inexact += sum(not _is_exact(factor) for factor in factors.values())
    return sums, (scalings, products, inexact)


def _unit(factors: dict):
    """The term to divide by: it leaves most factors ±1, then most exact ones, then none large."""

    def cost(choice):
        ratios = [abs(_settle(factor / factors[choice])) for factor in factors.values()]
        inexact = sum(not _is_exact(ratio) for ratio in ratios)
        return sum(ratio != 1 for ratio in ratios), inexact, max(ratios)

    return min(factors, key=cost)


def _settle(factor):
    """±1 where rounding missed it."""
    return (1 if factor > 0 else -1) if abs(abs(factor) - 1) < 1e-12 else factor


def _is_exact(factor) -> bool:
    numerator, denominator = factor.as_integer_ratio()
    return abs(numerator) < _EXACT and denominator & (denominator - 1) == 0


def _chained(flow: Flow, sums: Iterable[dict]) -> tuple[list[Op], list[int]]:
    """Instructions for the sums, one after the other, and the value that holds each."""
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
        if not rest:
            at.append(value if factor == 1 else emit(factor, value, 0, ZERO))
            continue
        if abs(factor) != 1:
            value, factor = emit(factor, value, 0, ZERO), 1
        for source, other in rest:
            value = emit(other, at[source], factor, value)
            factor = 1
        at.append(value)
    return ops, at


def _rank(factor) -> int:
    return 0 if factor == 1 else 1 if factor == -1 else 2


def _ordered(flow: Flow, ops: list[Op], at: list[int]) -> Program:
    """The instructions in an order that keeps few values alive, chosen one by one.

    Inputs count as loaded at their first use and outputs as stored at once.
    """
    reads = [{op.x, op.y} - {ZERO} for op in ops]
    left = Counter(source for sources in reads for source in sources)
    readers: dict[int, list[int]] = {}
    for k, sources in enumerate(reads):
        for source in sources:
            readers.setdefault(source, []).append(k)
    waiting = [sum(source >= flow.inputs for source in sources) for sources in reads]
    ready = {k for k, count in enumerate(waiting) if not count}
    place = {source: source for source in range(flow.inputs)}
    loaded: set[int] = set()
    result: list[Op] = []

    def cost(k):
        fresh = sum(source < flow.inputs and source not in loaded for source in reads[k])
        freed = sum(left[source] == 1 for source in reads[k])
        kept = left[k + flow.inputs] > 0
        latest = max(place[source] for source in reads[k])
        return kept + fresh - freed, -latest, k

    while ready:
        k = min(ready, key=cost)
        ready.remove(k)
        op, value = ops[k], k + flow.inputs
        place[value] = flow.inputs + len(result)
        result.append(op._replace(x=place[op.x], y=place.get(op.y, ZERO)))
        loaded |= reads[k]
        left.subtract(reads[k])
        for reader in readers.get(value, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.add(reader)
    results = tuple(ZERO if i == ZERO else place[at[i]] for i in flow.results)
    return Program(flow.inputs, tuple(result), results)
