"""The register tile of few filters: dot products along the lanes, each of which holds a channel.

    c[m, k] = init[m, k] + Σ_i  A[m, i] · B[k, i]

A filter in every lane would leave most of them empty.
"""

from __future__ import annotations

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
    lines = v.transpose(sums + [v.zero] * (v.lanes - mr * nk))
    while len(lines) > 1:
        lines = [builder.fadd(x, y) for x, y in zip(lines[::2], lines[1::2], strict=True)]
    total = v.at_least(builder.fadd(lines[0], v.load(init)), v.floor(relu))
    v.store_some(total, c, v.first_lanes(i64(mr * nk)))
