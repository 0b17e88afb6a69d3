"""The register tile of a window that moves along: a panel whose rows are its taps.

What one row reads in a step, the next one reads in the step after.  So an element of A, which is of
a *column* of the window, is broadcast once for all taps that meet there, and the vectors of B that
the others will meet stay in registers.
"""

from __future__ import annotations

from fastconv.core.machine import machine

from .microkernel import finish_listed, prefetch_vectors
from .panel import PANEL, Panel
from .taps import FEWEST_SUMS
from .vector import I64, Vectors, i64


def sliding_turns(mr: int, nv: int, taps: int) -> int:
    """In how many sets of sums the steps of a sliding tile take turns; they are added in the end.

    Few sums would wait for one another; two sets of them do not, if the registers hold both.
    """
    fit = 2 * mr * nv + taps * nv + 1 <= machine().isa.registers
    return 2 if mr * nv < FEWEST_SUMS and fit else 1


class _Sliding:
    """Emits the steps of a run.

    Carried are where A, B and what is prefetched are; the vectors of B that further taps will meet,
    ``held`` of them, the last one first; and the sums.
    """

    def __init__(self, v: Vectors, shape: tuple[int, ...], panel: Panel):
        self.v, self.panel = v, panel
        mr, self.nv, self.stretches, self.taps = shape
        self.channels = mr // (self.stretches * self.taps)
        self.held, self.sums = (self.taps - 1) * self.nv, mr * self.nv
        self.turns = sliding_turns(mr, self.nv, self.taps)

    def add(self, acc: list, turn: int, a, met: dict[int, list]) -> None:
        """Add the products of a column with the vectors that some taps have ``met``."""
        v, nv = self.v, self.nv
        for r in range(self.stretches):
            for c in range(self.channels):
                x = v.broadcast(v.offset(a, c * v.itemsize))
                for tap, vectors in met.items():
                    row = (r * self.taps + tap) * self.channels + c
                    first = turn % self.turns * self.sums + row * nv
                    for j in range(nv):
                        acc[first + j] = v.fma(x, vectors[j], acc[first + j])
            a = v.builder.add(a, self.panel.a_pitch)

    def column(self, carried: list, turn: int, reached: int) -> list:
        """One more vector of B, and the column that ``reached`` taps meet."""
        a, b, ahead, *rest = carried
        past, acc = rest[: self.held], rest[self.held :]
        met = [self.v.load(b, j) for j in range(self.nv)] + past
        some = {tap: met[tap * self.nv :][: self.nv] for tap in range(reached)}
        self.add(acc, turn, a, some)
        return [*self.panel.moved(self.v, [a, b, ahead]), *met[: self.held], *acc]

    def head(self, index, carried: list) -> list:
        """The first columns, which not all taps meet."""
        for reached in range(1, self.taps):
            carried = self.column(carried, reached, reached)
        return carried

    def inside(self, columns: int):
        """The body of so many columns at a time that all taps meet."""

        def body(index, carried):
            for turn in range(columns):
                prefetch_vectors(self.v, carried[2], self.nv)
                carried = self.column(carried, turn, self.taps)
            return carried

        return body

    def tail(self, index, carried: list) -> list:
        """The last columns, which the first taps have passed."""
        a, b, ahead, *rest = carried
        past, acc = rest[: self.held], rest[self.held :]
        for passed in range(1, self.taps):
            left = range(passed, self.taps)
            met = {tap: past[(tap - passed) * self.nv :][: self.nv] for tap in left}
            self.add(acc, passed, a, met)
            a = self.v.builder.add(a, self.panel.a_step)
        return [a, b, ahead, *past, *acc]

    def alone(self, index, carried: list) -> list:
        """A step of a run that is shorter than the window: every tap reads for itself."""
        a, b, ahead, *acc = carried
        builder, panel = self.v.builder, self.panel
        met, at = [self.v.load(b, j) for j in range(self.nv)], a
        for tap in range(self.taps):
            self.add(acc, tap, at, {tap: met})
            at = builder.add(at, panel.a_step)
        return [builder.add(a, panel.a_step), builder.add(b, panel.b_step), ahead, *acc]

    def run(self, index, acc: list) -> list:
        v, builder, length = self.v, self.v.builder, self.panel.length
        start = self.panel.start(v, index)
        rest = builder.sub(length, i64(self.taps - 1))
        whole = builder.zext(builder.icmp_signed(">=", rest, i64(0)), I64)
        middle = builder.mul(whole, rest)
        parts = [(builder.sdiv(middle, i64(self.turns)), self.inside(self.turns))]
        if self.turns > 1:
            parts.append((builder.srem(middle, i64(self.turns)), self.inside(1)))
        carried = [*start, *[v.zero] * self.held, *acc]
        for count, body in ((whole, self.head), *parts, (whole, self.tail)):
            carried = v.loop(v.opaque(count), carried, body)
        short = builder.mul(length, builder.sub(i64(1), whole))
        return v.loop(short, [*start, *carried[3 + self.held :]], self.alone)[3:]


def emit_sliding(v: Vectors, shape, *words):
    panel, ending = Panel(*words[:PANEL]), words[PANEL:]
    tile = _Sliding(v, shape, panel)
    sums, count = tile.sums, tile.turns * tile.sums
    acc = v.loop(panel.n_runs, [v.zero] * count, tile.run)
    for other in range(sums, count, sums):
        acc[:sums] = map(v.builder.fadd, acc[:sums], acc[other : other + sums])
    finish_listed(v, acc[:sums], ending, *shape[:2])
