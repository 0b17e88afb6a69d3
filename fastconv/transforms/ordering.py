"""The order of a program's instructions, and how many values it keeps alive."""

from __future__ import annotations

from collections import Counter

from .program import ZERO, Op, Program


def ordered(program: Program) -> Program:
    """The program with its instructions in an order that keeps few values alive.

    They are chosen one by one.  Inputs count as loaded at their first use, outputs as stored at
    once.
    """
    inputs, ops, results = program
    reads = [{op.x, op.y} - {ZERO} for op in ops]
    left = Counter(source for sources in reads for source in sources)
    readers: dict[int, list[int]] = {}
    for k, sources in enumerate(reads):
        for source in sources:
            readers.setdefault(source, []).append(k)
    waiting = [sum(source >= inputs for source in sources) for sources in reads]
    ready = {k for k, count in enumerate(waiting) if not count}
    place = {source: source for source in range(inputs)}
    loaded: set[int] = set()
    listed: list[Op] = []

    def cost(k):
        fresh = sum(source < inputs and source not in loaded for source in reads[k])
        freed = sum(left[source] == 1 for source in reads[k])
        kept = left[k + inputs] > 0
        latest = max(place[source] for source in reads[k])
        return kept + fresh - freed, -latest, k

    while ready:
        k = min(ready, key=cost)
        ready.remove(k)
        op, value = ops[k], k + inputs
        place[value] = inputs + len(listed)
        listed.append(op._replace(x=place[op.x], y=place.get(op.y, ZERO)))
        loaded |= reads[k]
        left.subtract(reads[k])
        for reader in readers.get(value, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.add(reader)
    at = tuple(ZERO if i == ZERO else place[i] for i in results)
    return Program(inputs, tuple(listed), at)
