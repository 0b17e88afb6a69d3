"""The register tiles of depthwise convolution: products of vectors with vectors, no broadcast of x.

A vector holds neighbouring channels of a pixel (channels-last) or neighbouring pixels of a row, and
a tap is nothing but an offset from there.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .copying import _load_masked, _mask
from .microkernel import _word
from .vector import I64, Vectors, i64, literal, outlined

_UNROLL = 4  # taps between two reloads of the row addresses, which do not all fit in registers


def _sum_taps(v: Vectors, mr, splat, x, rows, taps, n_taps, w, init, relu, y, targets):
    builder = v.builder
    start = v.load(init)
    addresses = [builder.add(x, _word(v, rows, m)) for m in range(mr)]

    def several(count):
        def body(index, carried):
            entry, *acc = carried
            offsets, weights = [], []
            for u in range(count):
                offsets.append(_word(v, entry, 2 * u))
                at = builder.add(w, _word(v, entry, 2 * u + 1))
                weights.append(v.broadcast(at) if splat else v.load(at))
            for m, address in enumerate(addresses):
                for offset, weight in zip(offsets, weights, strict=True):
                    acc[m] = v.fma(v.load(builder.add(address, offset)), weight, acc[m])
            return [v.offset(entry, 16 * count), *acc]

        return body

    blocks = builder.ashr(n_taps, i64(_UNROLL.bit_length() - 1))
    rest = v.opaque(builder.and_(n_taps, i64(_UNROLL - 1)))
    carried = v.loop(blocks, [taps, *[start] * mr], several(_UNROLL))
    acc = v.loop(rest, carried, several(1))[1:]
    active = builder.icmp_signed("!=", relu, i64(0))
    for m in range(mr):
        value = builder.select(active, v.relu(acc[m]), acc[m])
        v.store(value, builder.add(y, _word(v, targets, m)))


@intrinsic(prefer_literal=True)
def sum_taps(typingctx, like, mr, splat, x, rows, taps, n_taps, w, init, relu, y, targets):
    """``y[targets m] = init + Σ_t x[rows m + tap t] · w[t]`` for ``mr`` vectors.

    ``rows`` and ``targets`` are tables of byte offsets; a tap is a pair of them, in x and in w.
    With ``splat`` a weight is one element for all lanes.
    """

    def codegen(context, builder, signature, arguments):
        kind, rows, one = signature.args[:3]
        mr, splat = literal(rows), literal(one)
        return outlined(
            context, builder, signature, arguments[3:], f"sum_taps_{kind}_{mr}_{splat}",
            lambda v, values: _sum_taps(v, mr, splat, *values),
        )  # fmt: skip

    return types.void(like, mr, splat, *[types.int64] * 9), codegen


def _correlate(v: Vectors, mr, x, taps, y, y_step, rows, x_pitch, y_pitch, count, tail, target):
    builder = v.builder
    addresses = [builder.add(x, _word(v, taps, m)) for m in range(mr)]
    across = _mask(v, tail)
    ragged = v.opaque(builder.zext(builder.icmp_signed("!=", tail, i64(0)), I64))

    def row(index, carried):
        x_row, y_row, *acc = carried

        def vector(index, carried):
            j, y_at, *acc = carried
            gradient = v.load(y_at)
            for m, address in enumerate(addresses):
                acc[m] = v.fma(v.load(builder.add(address, j)), gradient, acc[m])
            return [v.offset(j, v.nbytes), builder.add(y_at, y_step), *acc]

        def part(index, carried):
            # Lanes outside are cleared in both factors: infinity times zero would be NaN.
            j, y_at, *acc = carried
            gradient = _load_masked(v, y_at, across)
            for m, address in enumerate(addresses):
                value = builder.select(across, v.load(builder.add(address, j)), v.zero)
                acc[m] = v.fma(value, gradient, acc[m])
            return [j, y_at, *acc]

        acc = v.loop(ragged, v.loop(count, [x_row, y_row, *acc], vector), part)[2:]
        return [builder.add(x_row, x_pitch), builder.add(y_row, y_pitch), *acc]

    acc = [v.load(target, m) for m in range(mr)]
    for m, a in enumerate(v.loop(rows, [i64(0), y, *acc], row)[2:]):
        v.store(a, target, m)


@intrinsic(prefer_literal=True)
def correlate_taps(
    typingctx, like, mr, x, taps, y, y_step, rows, x_pitch, y_pitch, count, tail, target
):  # fmt: skip
    """``target[t] += Σ x[row, j + tap t] · y[row, j]`` for ``mr`` taps, lane by lane.

    A row is ``count`` vectors, ``y_step`` bytes apart in y, and ``tail`` lanes of one more.
    """

    def codegen(context, builder, signature, arguments):
        kind, taps_of_a_tile = signature.args[:2]
        mr = literal(taps_of_a_tile)
        return outlined(
            context, builder, signature, arguments[2:], f"correlate_taps_{kind}_{mr}",
            lambda v, values: _correlate(v, mr, *values),
        )  # fmt: skip

    return types.void(like, mr, *[types.int64] * 10), codegen


@intrinsic
def put_splat(typingctx, like, target, source):
    """Fill the vector at ``target`` with the element at ``source``."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        v.store(v.broadcast(arguments[2]), arguments[1])
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen


@intrinsic
def put_sum(typingctx, like, target, source):
    """Store the sum over the lanes of the vector at ``source`` as one element."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        value = v.load(arguments[2])
        width = v.lanes
        while width > 1:
            width //= 2
            low = v.shuffle(value, value, range(width))
            high = v.shuffle(value, value, range(width, 2 * width))
            value = builder.fadd(low, high)
        total = builder.extract_element(value, i64(0))
        builder.store(total, builder.inttoptr(arguments[1], v.element.as_pointer()), v.itemsize)
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen
