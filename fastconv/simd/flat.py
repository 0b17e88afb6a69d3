"""Register tiles of lines whose lanes run over neighbouring channels and pixels alike.

Channels-last pixels of C channels are a line of elements, of which taps are multiples of C apart.
So vectors are full whatever C is; but what weights their lanes have repeats only after as many
vectors, a *period*, as hold whole pixels.
"""

from __future__ import annotations

import itertools

from .vector import Vectors, i64


def _meetings(mr, down, advance, spread) -> list[tuple[int, list[tuple[int, int]]]]:
    """Line of x → the lines of y, and the rows of taps, that meet there."""
    met: dict[int, list[tuple[int, int]]] = {}
    for i, r in itertools.product(range(mr), range(down)):
        met.setdefault(i * advance + r * spread, []).append((i, r))
    return sorted(met.items())


def emit_flat(
    v: Vectors, shape, x, line, tap, count, w, last_w, init, relu, y, y_pitch, elements
):  # fmt: skip
    builder, (mr, down, across, advance, spread) = v.builder, shape
    unit = down * across * v.nbytes
    floor, met = v.floor(relu), _meetings(mr, down, advance, spread)

    def store(sums, y, left):
        targets = v.steps(y, y_pitch, mr)
        whole = builder.icmp_signed(">=", left, i64(v.lanes))
        with builder.if_else(whole) as (then, otherwise):
            with then:
                for value, target in zip(sums, targets, strict=True):
                    v.store(value, target)
            with otherwise:
                mask = v.first_lanes(left)
                for value, target in zip(sums, targets, strict=True):
                    v.store_some(value, target, mask)

    def vector(index, carried):
        x, at, init_at, y, left = carried
        weights = [v.load(at, k) for k in range(down * across)]
        sums = [v.zero] * mr
        for h, tapped in met:
            row = builder.add(x, builder.mul(line, i64(h)))
            for s, source in enumerate(v.steps(row, tap, across)):
                value = v.load(source)
                for i, r in tapped:
                    sums[i] = v.fma(value, weights[r * across + s], sums[i])
        start = v.load(init_at)
        store([v.at_least(builder.fadd(value, start), floor) for value in sums], y, left)
        again = builder.icmp_signed("==", at, last_w)
        at = builder.select(again, w, v.offset(at, unit))
        init_at = builder.select(again, init, v.offset(init_at, v.nbytes))
        left = builder.sub(left, i64(v.lanes))
        return [v.offset(x, v.nbytes), at, init_at, v.offset(y, v.nbytes), left]

    v.loop(count, [x, w, init, y, elements], vector)


def emit_flat_products(
    v: Vectors, shape, x, line, tap, count, step, dy, dy_pitch, rest, sums
):  # fmt: skip
    builder, (mr, down, across, advance, spread) = v.builder, shape
    met, taps = _meetings(mr, down, advance, spread), range(down * across)

    def add(load, x, dy, acc):
        acc = list(acc)
        gradients = [load(at) for at in v.steps(dy, dy_pitch, mr)]
        for h, tapped in met:
            row = builder.add(x, builder.mul(line, i64(h)))
            for s, source in enumerate(v.steps(row, tap, across)):
                value = load(source)
                for i, r in tapped:
                    k = r * across + s
                    acc[k] = v.fma(value, gradients[i], acc[k])
        return acc

    def vector(index, carried):
        x, dy, *acc = carried
        return [builder.add(x, step), builder.add(dy, step), *add(v.load, x, dy, acc)]

    def last(carried):
        """Of a vector that is not whole: beyond the line there may be anything."""
        x, dy, *acc = carried
        mask = v.first_lanes(rest)
        return [x, dy, *add(lambda at: v.load_some(at, mask), x, dy, acc)]

    carried = v.loop(count, [x, dy, *[v.zero for _ in taps]], vector)
    carried = v.when(builder.icmp_signed(">", rest, i64(0)), carried, last)
    for k, value in zip(taps, carried[2:], strict=True):
        v.store(builder.fadd(v.load(sums, k), value), sums, k)
