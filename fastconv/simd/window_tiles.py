"""Register tiles for the taps of a window, which read no operand more often than they must.

They compute what those of :mod:`.microkernel` do, but for ``lanes``, which sums over no channels.
Neighbouring pixels share most of their windows:

* ``sliding``: a panel whose rows are the taps of a window that moves along (:mod:`.sliding`).
* ``line``: rows are pixels of a line, evenly apart, whose taps share what they read (:mod:`.line`).
* ``parities``: the same where every vector is of other outputs, which take other taps.
* ``lanes``: a line whose channels are the lanes of all operands.
* ``planar``: a packed panel of filters, against vectors of neighbouring pixels wherever they are.
"""

from __future__ import annotations

import itertools

from .dealt import Dealt
from .line import far_apart
from .microkernel import finish, products, unrolled, word
from .vector import Vectors, i64


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
            for at in far_apart(range(mr + columns - 1)):
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
    v: Vectors, shape, count, a, x, places, taps, n_taps, init, pitch, starts, relu, y, y_pitch,
    targets,
):  # fmt: skip
    builder, (mr, nv) = v.builder, shape
    step, loop = mr * v.itemsize, unrolled(v, n_taps)

    def tile(index, carried):
        places, targets = carried
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

        acc = loop([a, taps, *[v.zero] * (mr * nv)], block)[2:]
        floor = v.floor(relu)
        before, row = v.opaque(init), v.opaque(y)
        for m in range(mr):
            for j in range(nv):
                start = v.load(builder.add(before, word(v, starts, j)))
                value = v.at_least(builder.fadd(acc[m * nv + j], start), floor)
                v.store(value, builder.add(row, word(v, targets, j)))
            before, row = builder.add(before, pitch), builder.add(row, y_pitch)
        return [v.offset(places, nv * 8), v.offset(targets, nv * 8)]

    v.loop(count, [places, targets], tile)
