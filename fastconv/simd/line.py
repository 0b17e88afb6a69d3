"""The register tile of pixels of a line, evenly apart, against vectors of filters.

What one tap of a pixel reads other taps of its neighbours read too.  Where the weights of all taps
of a row fit in registers they are *held*, and an element is broadcast once for all that meet there.
"""

from __future__ import annotations

import itertools

from .copying import LINE
from .dealt import Dealt
from .microkernel import finish, prefetch_vectors
from .vector import Vectors, i64

_APART = 4  # parts of a line that are read in turns
_UNROLLED = 108  # products without a loop, about


def far_apart(places) -> list[int]:
    """An order of pixels: neighbours add to the same sums, and would wait for one another."""
    part = -(-len(places) // _APART)
    return [at for first in range(part) for at in sorted(places)[first::part]]


def _in_turn(v: Vectors, at, step):
    """Addresses a ``step`` apart, from ``at`` on, each made when it is needed."""
    while True:
        yield at
        at = v.opaque(v.builder.add(at, step))


def _steps_at_once(steps: int, products: int) -> int:
    """Of so many products each, without a loop: all of them, or a part."""
    most = max(1, _UNROLLED // products)
    return max(n for n in range(1, most + 1) if steps % n == 0)


class _Line:
    """Emits the sums of a tile.

    Carried are where the elements of the line and the weights are, and the sums.
    """

    def __init__(self, v: Vectors, shape: tuple[int, ...]):
        self.v = v
        self.mr, self.nv, self.held, self.taps, advance, spread, channels, groups, share = shape
        self.pixel, self.width = groups * channels * v.itemsize, self.nv * v.nbytes
        self.advance, self.spread = advance * self.pixel, self.held * spread * self.pixel
        # Weights of several taps leave no register to spare, which LLVM minds only in a loop.
        self.unrolls = self.held == groups == 1
        if self.unrolls and spread == 1:  # channels of all taps stand side by side
            channels, self.taps = self.taps * channels, 1
        self.channels, self.dealt = channels, Dealt(v, channels, groups, share)
        self.at_once = _steps_at_once(channels, self.mr * self.nv) if self.unrolls else 1
        self.met: dict[int, list[tuple[int, int]]] = {}  # pixel → rows and taps that meet there
        for m, tap in itertools.product(range(self.mr), range(self.held)):
            self.met.setdefault(m * advance + tap * spread, []).append((m, tap))

    def add_channel(self, pixels, cursor, weights, acc: list) -> None:
        """Add the products of a channel of all pixels with the weights that are held."""
        v, nv, tap_bytes = self.v, self.nv, self.channels * self.width
        panels = [
            [v.load(v.offset(weights, tap * tap_bytes), j) for j in range(nv)]
            for tap in range(self.held)
        ]
        for at in far_apart(self.met):
            x = self.dealt.take(pixels, cursor, at * self.pixel)
            for m, tap in self.met[at]:
                for j in range(nv):
                    acc[m * nv + j] = v.fma(x, panels[tap][j], acc[m * nv + j])

    def some_taps(self, index, carried: list) -> list:
        """As many taps as are held, of all channels."""
        v = self.v
        pixels, weights, *acc = carried

        def several(index, carried):
            cursor, weights, *acc = carried
            for i in range(self.at_once):
                # Where windows overlap, LLVM would keep what other steps read, and spill it.
                cursor = v.opaque(cursor) if i else cursor
                self.add_channel(pixels, cursor, weights, acc)
                cursor, weights = self.dealt.next(cursor), v.offset(weights, self.width)
            return [cursor, weights, *acc]

        carried = [self.dealt.first(pixels), weights, *acc]
        if self.unrolls and self.at_once == self.channels:
            carried = several(None, carried)
        else:
            carried = v.loop(v.opaque(i64(self.channels // self.at_once)), carried, several)
        passed = self.held * self.channels * self.width
        return [v.offset(pixels, self.spread), v.offset(weights, passed), *carried[2:]]

    def window(self, a, a_step, n_rows, b) -> list:
        """The sums over all rows of the window."""
        v = self.v

        def row(index, carried):
            a = carried[0]
            if self.held == self.taps:
                carried = self.some_taps(None, carried)
            else:
                carried = v.loop(v.opaque(i64(self.taps)), carried, self.some_taps)
            return [v.builder.add(a, a_step), *carried[1:]]

        return v.loop(n_rows, [a, b, *[v.zero] * (self.mr * self.nv)], row)[2:]


def emit_line(
    v: Vectors, shape, count, a, a_step, n_rows, b, fetch, lines, init, relu, c, c_pitch
):  # fmt: skip
    *shape, ahead = shape
    line = _Line(v, shape)
    mr, nv = line.mr, line.nv

    def tile(index, carried):
        a, fetch, c, next_c = carried
        if ahead:
            rows = _in_turn(v, next_c, c_pitch)
            for _ in range(mr):
                prefetch_vectors(v, next(rows), nv)
            next_c = next(rows)
        fetch = v.prefetch_lines(fetch, lines, i64(LINE))
        acc = line.window(a, a_step, n_rows, b)
        rows = _in_turn(v, c, c_pitch)
        finish(v, acc, init, i64(0), relu, lambda m: next(rows), mr, nv)
        return [v.offset(a, mr * line.advance), fetch, next(rows), next_c]

    next_c = v.builder.add(c, v.builder.mul(c_pitch, i64(mr)))
    v.loop(count, [a, fetch, c, next_c], tile)
