"""Register tiles for the taps of a window, which read no operand more often than they must.

They compute what those of :mod:`.microkernel` do, but for ``lanes``, which sums over no channels.
Neighbouring pixels share most of their windows:

* ``sliding``: a panel whose rows are the taps of a window that moves along (:mod:`.sliding`).
* ``line``: rows are pixels of a line, evenly apart, and what one tap of a pixel reads other taps of
  its neighbours read too: an element is broadcast once for all of them.
* ``parities``: the same where every vector is of other outputs, which take other taps.
* ``lanes``: a line whose channels are the lanes of all operands.
* ``planar``: a packed panel of filters, against vectors of neighbouring pixels wherever they are.
"""

from __future__ import annotations

import itertools

from .copying import LINE
from .dealt import Dealt
from .microkernel import finish, prefetch_vectors, products, unrolled, word
from .vector import Vectors, i64

_APART = 4  # parts of a line that are read in turns
_UNROLLED = 108  # products, about


def _far_apart(places) -> list[int]:
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


def emit_line(
    v: Vectors, shape, count, a, a_step, n_rows, b, fetch, lines, init, relu, c, c_pitch
):  # fmt: skip
    builder, (mr, nv, held, taps, advance, spread, channels, groups, share, ahead) = (
        v.builder, shape,
    )  # fmt: skip
    pixel, width = groups * channels * v.itemsize, nv * v.nbytes
    if held == spread == groups == 1:
        channels, taps = taps * channels, 1  # all of them side by side
    dealt = Dealt(v, channels, groups, share)
    # Weights of several taps leave no register to LLVM, but in a loop.
    at_once = _steps_at_once(channels, mr * nv) if held == groups == 1 else 0
    met: dict[int, list[tuple[int, int]]] = {}  # pixel of the line → rows and taps that meet there
    for m, tap in itertools.product(range(mr), range(held)):
        met.setdefault(m * advance + tap * spread, []).append((m, tap))

    def some_taps(index, carried):
        a, b, *acc = carried

        def channel(cursor, b, acc):
            panels = [
                [v.load(v.offset(b, tap * channels * width), j) for j in range(nv)]
                for tap in range(held)
            ]
            for at in _far_apart(met):
                x = dealt.take(a, cursor, at * pixel)
                for m, tap in met[at]:
                    for j in range(nv):
                        acc[m * nv + j] = v.fma(x, panels[tap][j], acc[m * nv + j])
            return dealt.next(cursor), v.offset(b, width)

        def several(index, carried):
            cursor, b, *acc = carried
            for i in range(max(1, at_once)):
                # Where windows overlap, LLVM would keep what other steps read, and spill it.
                cursor, b = channel(v.opaque(cursor) if i else cursor, b, acc)
            return [cursor, b, *acc]

        acc = [dealt.first(a), b, *acc]
        if channels == at_once:
            acc = several(None, acc)[2:]
        else:
            acc = v.loop(v.opaque(i64(channels // max(1, at_once))), acc, several)[2:]
        return [v.offset(a, held * spread * pixel), v.offset(b, held * channels * width), *acc]

    def window_row(index, carried):
        all_taps = a, b, *acc = carried
        if held == taps:
            all_taps = some_taps(None, all_taps)
        else:
            all_taps = v.loop(v.opaque(i64(taps)), all_taps, some_taps)
        _, b, *acc = all_taps
        return [builder.add(a, a_step), b, *acc]

    def tile(index, carried):
        a, fetch, c, behind = carried
        if ahead:
            rows = _in_turn(v, behind, c_pitch)
            for _ in range(mr):
                prefetch_vectors(v, next(rows), nv)
            behind = next(rows)
        fetch = v.prefetch_lines(fetch, lines, i64(LINE))
        acc = v.loop(n_rows, [a, b, *[v.zero] * (mr * nv)], window_row)[2:]
        rows = _in_turn(v, c, c_pitch)
        finish(v, acc, init, i64(0), relu, lambda m: next(rows), mr, nv)
        return [v.offset(a, mr * advance * pixel), fetch, next(rows), behind]

    behind = builder.add(c, builder.mul(c_pitch, i64(mr)))
    v.loop(count, [a, fetch, c, behind], tile)


def emit_parities(v: Vectors, shape, a, a_step, b, init, relu, c, c_pitch, places):
    builder, (mr, channels, groups, *axes) = v.builder, shape
    (down, rows, reach_rows), (across, columns, reach_columns) = axes[:3], axes[3:]
    nv, dealt = down * across, Dealt(v, channels, groups, v.lanes // groups)
    pixel, width = groups * channels * v.itemsize, nv * v.nbytes

    def reached(u, tap):
        """The vectors whose outputs take a tap of the window."""
        for i, j in itertools.product(range(down), range(across)):
            if reach_rows >> (i * rows + u) & 1 and reach_columns >> (j * columns + tap) & 1:
                yield i * across + j

    acc = [v.zero] * (mr * nv)
    for u in range(rows):
        taps = {tap: list(reached(u, tap)) for tap in range(columns)}

        def channel(index, carried, taps=taps, a=a):
            cursor, b, *acc = carried
            panels = {
                tap: {j: v.load(v.offset(b, tap * channels * width), j) for j in vectors}
                for tap, vectors in taps.items()
            }
            for at in _far_apart(range(mr + columns - 1)):
                x = dealt.take(a, cursor, at * pixel)
                for tap in range(max(0, at - mr + 1), min(columns, at + 1)):
                    for j, weights in panels[tap].items():
                        k = (at - tap) * nv + j
                        acc[k] = v.fma(x, weights, acc[k])
            return [dealt.next(cursor), v.offset(b, width), *acc]

        acc = v.loop(v.opaque(i64(channels)), [dealt.first(a), b, *acc], channel)[2:]
        a, b = builder.add(a, a_step), v.offset(b, columns * channels * width)
    floor = v.floor(relu)
    for m in range(mr):
        row = v.offset(c, builder.mul(c_pitch, i64(m)))
        for j in range(nv):
            value = builder.fadd(acc[m * nv + j], v.load(init, j))
            v.store(v.at_least(value, floor), builder.add(row, word(v, places, j)))


def emit_lanes(
    v: Vectors, shape, x, x_step, pitch, n_rows, w, w_unit, init, relu, y, y_pitch
):  # fmt: skip
    builder, (mr, nu, taps, advance, spread, low, high) = v.builder, shape
    met: dict[int, list[tuple[int, int]]] = {}  # pixel of the line → outputs and taps
    for m, tap in itertools.product(range(mr), range(taps)):
        met.setdefault(m * advance + tap * spread, []).append((m, tap))

    def row(index, carried):
        x, w, *acc = carried
        step = v.opaque(pitch)  # or its multiples would be kept, more than there are registers for
        at = builder.add(x, builder.mul(step, i64(low)))
        panels = [builder.add(w, builder.mul(w_unit, i64(u))) for u in range(nu)]
        weights = [[v.load(panel, tap) for tap in range(taps)] for panel in panels]
        for position in range(low, high):
            for u in range(nu) if position in met else ():
                pixel = v.load(at, u)
                for m, tap in met[position]:
                    acc[m * nu + u] = v.fma(pixel, weights[u][tap], acc[m * nu + u])
            at = builder.add(at, step)
        return [builder.add(x, x_step), v.offset(w, taps * v.nbytes), *acc]

    acc = v.loop(n_rows, [x, w, *[v.zero] * (mr * nu)], row)[2:]

    def target(m):
        return v.offset(y, builder.mul(y_pitch, i64(m)))

    finish(v, acc, init, i64(0), relu, target, mr, nu)


def emit_planar(
    v: Vectors, shape, a, x, places, taps, n_taps, init, pitch, starts, relu, y, y_pitch, targets
):  # fmt: skip
    builder, (mr, nv) = v.builder, shape
    step = mr * v.itemsize
    pixels = [builder.add(x, word(v, places, j)) for j in range(nv)]

    def block(size):
        def steps(index, carried):
            a, entry, *acc = carried
            for u in range(size):
                shift = word(v, entry, u)
                panel = [v.load(builder.add(at, shift)) for at in pixels]
                rows = [v.offset(a, u * step + m * v.itemsize) for m in range(mr)]
                acc = products(v, acc, rows, panel)
            return [v.offset(a, size * step), v.offset(entry, size * 8), *acc]

        return steps

    acc = unrolled(v, n_taps)([a, taps, *[v.zero] * (mr * nv)], block)[2:]
    floor = v.floor(relu)
    for m in range(mr):
        before, row = (
            builder.add(base, builder.mul(step, i64(m)))
            for base, step in ((init, pitch), (y, y_pitch))
        )
        for j in range(nv):
            start = v.load(builder.add(before, word(v, starts, j)))
            value = v.at_least(builder.fadd(acc[m * nv + j], start), floor)
            v.store(value, builder.add(row, word(v, targets, j)))
