"""The register tiles of depthwise convolution: products of vectors with vectors, no broadcast of x.

A vector holds neighbouring channels of a pixel (channels-last) or neighbouring pixels of a row, and
a tap is nothing but an offset from there.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .copying import _load_masked, _mask
from .microkernel import word
from .vector import I64, Vectors, i64, literal, outlined

CHUNK = 4  # most taps that share their loads of x

# What :func:`sum_strips` reads of a group: addresses and counts of its strips and taps, steps in
# bytes, and the number of chunks of 1, 2, … CHUNK taps.
GROUP = ("strips", "n_strips", "taps", "x_step", "w_step", "y_step")
GROUP_WORDS = len(GROUP) + CHUNK
STRIP_WORDS = 2  # byte offsets in x and y of its first vector


def _chunk(v: Vectors, mr, splat, length, x, x_step, w, w_step):
    """The loop body that adds a chunk of ``length`` taps to ``mr`` accumulators."""
    builder = v.builder

    def body(index, carried):
        entry, *acc = carried
        at, weight = (builder.add(a, word(v, entry, i)) for i, a in enumerate((x, w)))
        weights = []
        for _ in range(length):
            weights.append(v.broadcast(weight) if splat else v.load(weight))
            weight = builder.add(weight, w_step)
        # Else its multiples would be kept in memory, and be loaded with every vector.
        step = v.opaque(x_step)
        for k in range(mr + length - 1):
            value = v.load(at)
            at = builder.add(at, step)
            for t in range(max(0, k - mr + 1), min(length, k + 1)):
                acc[k - t] = v.fma(value, weights[t], acc[k - t])
        return [v.offset(entry, 16), *acc]

    return body


def _sum_strips(v: Vectors, mr, splat, group, x, w, init, floor, y, units, w_bytes, y_bytes):
    builder = v.builder
    words = [word(v, group, i) for i in range(GROUP_WORDS)]
    strips, n_strips, taps, x_step, w_step, y_step, *counts = words
    least = v.load(floor)

    def unit(index, carried):
        x, w, init, y = carried
        state = [taps, *[v.load(init)] * mr]
        for length in range(CHUNK, 0, -1):
            body = _chunk(v, mr, splat, length, x, x_step, w, w_step)
            state = v.loop(counts[length - 1], state, body)
        target, step = y, v.opaque(y_step)
        for value in state[1:]:
            v.store(v.at_least(value, least), target)
            target = builder.add(target, step)
        bases = [v.offset(x, v.nbytes), builder.add(w, w_bytes), v.offset(init, v.nbytes)]
        return [*bases, builder.add(y, y_bytes)]

    def strip(index, carried):
        entry = carried[0]
        x_at, y_at = (builder.add(base, word(v, entry, i)) for i, base in enumerate((x, y)))
        v.loop(units, [x_at, w, init, y_at], unit)
        return [v.offset(entry, 8 * STRIP_WORDS)]

    v.loop(n_strips, [strips], strip)


@intrinsic(prefer_literal=True)
def sum_strips(
    typingctx, like, mr, splat, group, x, w, init, floor, y, units, w_bytes, y_bytes
):  # fmt: skip
    """``y[strip + m] = max(floor, init + Σ_t x[strip + m + tap t] · w[t])`` for m < ``mr``.

    ``group`` is a record of strips that share their taps (see :data:`GROUP`); a tap is a pair of
    offsets in x and w.  A chunk of taps stands for as many, ``x_step`` apart in x just as the
    vectors of a strip, so that a loaded vector serves them all.  With ``splat`` a weight is one
    element for all lanes.

    A strip is computed for ``units`` neighbouring vectors of channels before the next, for memory
    is fast only if it is read and written in order.
    """

    def codegen(context, builder, signature, arguments):
        kind, size, one = signature.args[:3]
        mr, splat = literal(size), literal(one)
        return outlined(
            context, builder, signature, arguments[3:], f"sum_strips_{kind}_{mr}_{splat}",
            lambda v, values: _sum_strips(v, mr, splat, *values),
        )  # fmt: skip

    return types.void(like, mr, splat, *[types.int64] * 9), codegen


# What :func:`correlate_taps` reads of a patch of outputs: addresses of the tables of its taps and
# of where their sums are; rows and whole vectors of each, and the lanes of one more; in bytes, the
# first output, the steps from row to row and from vector to vector; and what each row fetches.
PATCH = (
    *("taps", "targets", "rows", "count", "tail"),
    *("x_first", "x_pitch", "x_step", "y_first", "y_pitch", "y_step"),
    *("x_next", "x_lines", "y_next", "y_lines", "next_step"),
)


def _correlate(v: Vectors, mr, patch, x, y, target):
    builder = v.builder
    words = {name: word(v, patch, i) for i, name in enumerate(PATCH)}
    corner = builder.add(x, words["x_first"])
    addresses = [builder.add(corner, word(v, words["taps"], m)) for m in range(mr)]
    targets = [builder.add(target, word(v, words["targets"], m)) for m in range(mr)]
    across = _mask(v, words["tail"])
    ragged = builder.zext(builder.icmp_signed("!=", words["tail"], i64(0)), I64)
    ragged = v.opaque(ragged)

    def row(index, carried):
        x_row, y_row, x_next, y_next, *acc = carried
        x_next = v.prefetch_lines(x_next, words["x_lines"], words["next_step"])
        y_next = v.prefetch_lines(y_next, words["y_lines"], words["next_step"])

        def vector(index, carried):
            j, y_at, *acc = carried
            j = v.opaque(j)  # else every address would be moved along by itself
            gradient = v.load(y_at)
            for m, address in enumerate(addresses):
                acc[m] = v.fma(v.load(builder.add(address, j)), gradient, acc[m])
            return [builder.add(j, words["x_step"]), builder.add(y_at, words["y_step"]), *acc]

        def part(index, carried):
            # Lanes outside are cleared in both factors: infinity times zero would be NaN.
            j, y_at, *acc = carried
            gradient = _load_masked(v, y_at, across)
            for m, address in enumerate(addresses):
                value = builder.select(across, v.load(builder.add(address, j)), v.zero)
                acc[m] = v.fma(value, gradient, acc[m])
            return [j, y_at, *acc]

        acc = v.loop(ragged, v.loop(words["count"], [x_row, y_row, *acc], vector), part)[2:]
        rows = [builder.add(x_row, words["x_pitch"]), builder.add(y_row, words["y_pitch"])]
        return [*rows, x_next, y_next, *acc]

    carried = [i64(0), builder.add(y, words["y_first"])]
    carried += [builder.add(x, words["x_next"]), builder.add(y, words["y_next"])]
    carried += [v.load(at) for at in targets]
    for at, value in zip(targets, v.loop(words["rows"], carried, row)[4:], strict=True):
        v.store(value, at)


@intrinsic(prefer_literal=True)
def correlate_taps(typingctx, like, mr, patch, x, y, target):
    """``target[t] += Σ x[row, j + tap t] · y[row, j]`` for ``mr`` taps, lane by lane.

    ``patch`` is a record of the outputs (row, j) and of the taps (see :data:`PATCH`).
    """

    def codegen(context, builder, signature, arguments):
        kind, taps_of_a_tile = signature.args[:2]
        mr = literal(taps_of_a_tile)
        return outlined(
            context, builder, signature, arguments[2:], f"correlate_taps_{kind}_{mr}",
            lambda v, values: _correlate(v, mr, *values),
        )  # fmt: skip

    return types.void(like, mr, *[types.int64] * 4), codegen


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
