"""The register tiles of depthwise convolution: products of vectors with vectors, no broadcast of x.

Both run over *planes*: buffers in which neighbouring outputs stand one vector (channels-last: the
channels of a pixel) or one element (rows of W) apart, so that a tap is nothing but an offset.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .copying import _mask
from .microkernel import _word
from .vector import I64, Vectors, i64, literal, outlined


def _sum_taps(v: Vectors, mr, splat, x, taps, n_taps, w, init, relu, target):
    builder = v.builder
    start = v.load(init)

    def tap(index, acc):
        at = builder.add(x, _word(v, taps, index))
        if splat:
            weight = v.broadcast(builder.add(w, builder.mul(index, i64(v.itemsize))))
        else:
            weight = v.load(builder.add(w, builder.mul(index, i64(v.nbytes))))
        return [v.fma(v.load(at, m), weight, acc[m]) for m in range(mr)]

    acc = v.loop(n_taps, [start] * mr, tap)
    active = builder.icmp_signed("!=", relu, i64(0))
    for m in range(mr):
        v.store(builder.select(active, v.relu(acc[m]), acc[m]), target, m)


@intrinsic(prefer_literal=True)
def sum_taps(typingctx, like, mr, splat, x, taps, n_taps, w, init, relu, target):
    """``target[m] = init + Σ_t x[m + tap t] · w[t]`` for ``mr`` neighbouring vectors.

    ``taps`` is a table of byte offsets.  With ``splat`` a weight is one element for all lanes.
    """

    def codegen(context, builder, signature, arguments):
        kind, rows, one = signature.args[:3]
        mr, splat = literal(rows), literal(one)
        return outlined(
            context, builder, signature, arguments[3:], f"sum_taps_{kind}_{mr}_{splat}",
            lambda v, values: _sum_taps(v, mr, splat, *values),
        )  # fmt: skip

    return types.void(like, mr, splat, *[types.int64] * 7), codegen


def _correlate(v: Vectors, mr, x, taps, y, rows, x_pitch, y_pitch, count, tail, target):
    builder = v.builder
    offsets = [builder.add(x, _word(v, taps, m)) for m in range(mr)]
    across = _mask(v, tail)
    ragged = builder.icmp_signed("!=", tail, i64(0))

    def row(index, carried):
        x_row, y_row, *acc = carried

        def vector(index, acc):
            j = builder.mul(index, i64(v.nbytes))
            gradient = v.load(builder.add(y_row, j))
            at = builder.add(x_row, j)
            return [v.fma(v.load(builder.add(at, o)), gradient, a) for o, a in zip(offsets, acc)]

        acc = v.loop(count, acc, vector)
        # The last vector of a row may be part of one.  Lanes outside are cleared in both factors:
        # an infinite x times a zero gradient would be NaN.
        before = builder.block
        with builder.if_then(ragged):
            j = builder.mul(count, i64(v.nbytes))
            gradient = builder.select(across, v.load(builder.add(y_row, j)), v.zero)
            at = builder.add(x_row, j)
            more = []
            for o, a in zip(offsets, acc):
                value = builder.select(across, v.load(builder.add(at, o)), v.zero)
                more.append(v.fma(value, gradient, a))
            inside = builder.block
        merged = []
        for a, b in zip(acc, more):
            phi = builder.phi(v.type)
            phi.add_incoming(a, before)
            phi.add_incoming(b, inside)
            merged.append(phi)
        return [builder.add(x_row, x_pitch), builder.add(y_row, y_pitch), *merged]

    acc = [v.load(target, m) for m in range(mr)]
    zero = ir.Constant(I64, 0)
    for m, a in enumerate(v.loop(rows, [zero, y, *acc], row)[2:]):
        v.store(a, target, m)


@intrinsic(prefer_literal=True)
def correlate_taps(
    typingctx, like, mr, x, taps, y, rows, x_pitch, y_pitch, count, tail, target
):  # fmt: skip
    """``target[t] += Σ x[row, j + tap t] · y[row, j]`` for ``mr`` taps, lane by lane.

    A row is ``count`` vectors and ``tail`` lanes of one more.
    """

    def codegen(context, builder, signature, arguments):
        kind, taps_of_a_tile = signature.args[:2]
        mr = literal(taps_of_a_tile)
        return outlined(
            context, builder, signature, arguments[2:], f"correlate_taps_{kind}_{mr}",
            lambda v, values: _correlate(v, mr, *values),
        )  # fmt: skip

    return types.void(like, mr, *[types.int64] * 9), codegen


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
