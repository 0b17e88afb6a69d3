"""Register tiles of dot products along the lanes: results in the lanes would leave many empty.

* ``dots``: few filters, sums along the channels, ``c[m, k] = init[m, k] + Σ_i A[m, i] · B[k, i]``;
* ``tap dots``: few channels of planes, sums along the rows, ``s[m, t] += Σ_i A[m, i] · B[t, i]``.
"""

from __future__ import annotations

from .microkernel import word
from .vector import Vectors, i64

_MOST_ROWS = 8  # whose addresses fit the registers


def dot_rows(filters: int, vector: int) -> int:
    """Rows of a tile of so many filters, whose results share a vector; 0 if not one does."""
    return min(_MOST_ROWS, vector // filters)


def emit_dots(v: Vectors, shape, a, a_pitch, length, b, b_pitch, init, relu, c):
    builder, (mr, nk) = v.builder, shape
    rows = [builder.add(a, builder.mul(a_pitch, i64(m))) for m in range(mr)]
    filters = [builder.add(b, builder.mul(b_pitch, i64(k))) for k in range(nk)]

    def step(load):
        def body(index, carried):
            at, *acc = carried
            weights = [load(builder.add(start, at)) for start in filters]
            for m, row in enumerate(rows):
                value = load(builder.add(row, at))
                for k, weight in enumerate(weights, m * nk):
                    acc[k] = v.fma(value, weight, acc[k])
            return [v.offset(at, v.nbytes), *acc]

        return body

    whole = builder.sdiv(length, i64(v.lanes))
    rest = builder.srem(length, i64(v.lanes))
    across = v.first_lanes(rest)
    ragged = v.opaque(builder.zext(builder.icmp_signed("!=", rest, i64(0)), rest.type))
    carried = v.loop(whole, [i64(0), *[v.zero] * (mr * nk)], step(v.load))
    _, *sums = v.loop(ragged, carried, step(lambda at: v.load_some(at, across)))
    total = v.at_least(builder.fadd(v.add_across(sums), v.load(init)), v.floor(relu))
    v.store_some(total, c, v.first_lanes(i64(mr * nk)))


def emit_tap_dots(
    v: Vectors, shape, a, a_pitch, a_row, b, b_row, taps, n_rows, length, fetch, sums
):  # fmt: skip
    builder, (mr, nt, fetched) = v.builder, shape
    lines = [builder.add(a, builder.mul(a_pitch, i64(m))) for m in range(mr)]
    places = [builder.add(b, word(v, taps, t)) for t in range(nt)]
    whole = builder.sdiv(length, i64(v.lanes))
    rest = builder.srem(length, i64(v.lanes))
    across = v.first_lanes(rest)
    ragged = builder.icmp_signed("!=", rest, i64(0))
    # From the last whole vector of a row to the first of the next.
    passed = builder.mul(whole, i64(v.nbytes))
    ends = [builder.sub(row, passed) for row in (a_row, b_row)]

    def step(near, far, acc, load):
        rows = [builder.add(line, near) for line in lines]
        windows = [builder.add(place, far) for place in places]
        # The fewer of them stay in registers; of the others there is one at a time.
        few, many = (rows, windows) if mr < nt else (windows, rows)
        kept = [load(at) for at in few]
        acc = list(acc)
        for i, at in enumerate(many):
            value = load(at)
            for j, other in enumerate(kept):
                k = j * nt + i if mr < nt else i * nt + j
                acc[k] = v.fma(value, other, acc[k])
        return acc

    coming = [builder.add(fetch, builder.mul(a_pitch, i64(m))) for m in range(fetched)]

    def vector(index, carried):
        near, far, *acc = carried
        for line in coming:
            v.prefetch(builder.add(line, near))
        acc = step(near, far, acc, v.load)
        return [v.offset(near, v.nbytes), v.offset(far, v.nbytes), *acc]

    def last(carried):
        near, far, *acc = carried
        return [near, far, *step(near, far, acc, lambda at: v.load_some(at, across))]

    def row(index, carried):
        near, far, *acc = v.when(ragged, v.loop(whole, carried, vector), last)
        return [builder.add(near, ends[0]), builder.add(far, ends[1]), *acc]

    acc = v.loop(n_rows, [i64(0), i64(0), *[v.zero] * (mr * nt)], row)[2:]
    for j in range(0, mr * nt, v.lanes):
        some = v.add_across(acc[j : j + v.lanes])
        at = v.offset(sums, j * v.itemsize)
        v.store(builder.fadd(v.load(at), some), at)
