"""The register tiles of depthwise convolution: products of vectors with vectors, no broadcast of x.

A vector holds neighbouring channels of a pixel (channels-last) or neighbouring pixels of a row, and
a tap is nothing but an offset from there.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

from numba.core import types
from numba.extending import intrinsic

from fastconv.core.machine import machine

from .microkernel import word
from .vector import I64, Vectors, i64, literal, outlined

CHUNK = 4  # most taps that share their loads of x
FEWEST_SUMS = 10  # of a tile at full speed: fewer would wait for one another

# What :func:`sum_strips` reads of a group: address and number of its strips (the last stands there
# once more: what comes next is itself), address of its taps, steps in bytes; then follow the
# numbers of chunks of 1, 2, … CHUNK taps.
GROUP = ("strips", "n_strips", "taps", "x_step", "w_step", "y_step")
GROUP_WORDS = len(GROUP) + CHUNK
STRIP_WORDS = 2  # byte offsets in x and y of its first vector


def deepest(size: int) -> int:
    """Units that strips of ``size`` vectors are summed for at a time, where they are in order.

    A power of two, as many as make enough sums.
    """
    deep, weights = 1, CHUNK if size > 1 else 0  # those of single vectors are used as they are read
    while (
        2 * deep * size <= FEWEST_SUMS
        and 2 * deep * (size + weights) + 1 <= machine().isa.registers
    ):
        deep *= 2
    return deep


def _chunk(v: Vectors, size, deep, splat, length, x, x_step, w, w_step, w_bytes, x_next):
    """The loop body that adds a chunk of ``length`` taps to ``size`` × ``deep`` accumulators.

    It prefetches what the next strip reads, ``x_next`` bytes further, if that is given.
    """
    builder = v.builder

    def body(index, carried):
        entry, *acc = carried
        at, weight = (builder.add(a, word(v, entry, i)) for i, a in enumerate((x, w)))
        weights = []
        for _ in range(length):
            each, of_unit = [], weight
            for _ in range(deep):
                each.append(v.broadcast(of_unit) if splat else v.load(of_unit))
                of_unit = builder.add(of_unit, w_bytes)
            weights.append(each)
            weight = builder.add(weight, w_step)
        # Else its multiples would be kept in memory, and be loaded with every vector.
        step = v.opaque(x_step)
        for k in range(size + length - 1):
            for unit in range(deep):
                value = v.load(at, unit)
                if x_next is not None:
                    v.prefetch(v.offset(builder.add(at, x_next), unit * v.nbytes))
                for t in range(max(0, k - size + 1), min(length, k + 1)):
                    number = (k - t) * deep + unit
                    acc[number] = v.fma(value, weights[t][unit], acc[number])
            at = builder.add(at, step)
        return [v.offset(entry, 16), *acc]

    return body


def _sum_strips(
    v: Vectors, size, splat, fetches, group, x, w, init, floor, y, units, w_bytes, y_bytes
):  # fmt: skip
    builder = v.builder
    words = [word(v, group, i) for i in range(GROUP_WORDS)]
    strips, n_strips, taps, x_step, w_step, y_step, *counts = words
    least = v.load(floor)

    def some(deep, x_next, y_next):
        """The loop body that sums a strip for ``deep`` units, the next one so many bytes away."""

        def body(index, carried):
            x, w, init, y = carried
            state = [taps, *[v.load(init, unit) for unit in range(deep)] * size]
            for length in range(CHUNK, 0, -1):
                chunk = _chunk(v, size, deep, splat, length, x, x_step, w, w_step, w_bytes, x_next)
                state = v.loop(counts[length - 1], state, chunk)
            step = v.opaque(y_step)
            for unit in range(deep):
                target = y
                for value in state[1 + unit :: deep]:
                    v.store(v.at_least(value, least), target)
                    if y_next is not None:
                        v.prefetch(builder.add(target, y_next), write=True)
                    target = builder.add(target, step)
                y, w = builder.add(y, y_bytes), builder.add(w, w_bytes)
            return [v.offset(x, deep * v.nbytes), w, v.offset(init, deep * v.nbytes), y]

        return body

    def strip(index, carried):
        entry = carried[0]
        x_at, y_at = (builder.add(base, word(v, entry, i)) for i, base in enumerate((x, y)))
        further = [None, None]
        if fetches:
            here, then = ([word(v, entry, at + i) for i in range(2)] for at in (0, STRIP_WORDS))
            further = list(map(builder.sub, then, here))
        state, left, deep = [x_at, w, init, y_at], units, 1 if splat else deepest(size)
        while deep:
            state = v.loop(builder.sdiv(left, i64(deep)), state, some(deep, *further))
            left, deep = builder.and_(left, i64(deep - 1)), deep // 2
        return [v.offset(entry, 8 * STRIP_WORDS)]

    v.loop(n_strips, [strips], strip)


@intrinsic(prefer_literal=True)
def sum_strips(
    typingctx, like, size, splat, fetches, group, x, w, init, floor, y, units, w_bytes, y_bytes
):  # fmt: skip
    """``y[strip + m] = max(floor, init + Σ_t x[strip + m + tap t] · w[t])`` for m < ``size``.

    ``group`` is a record of strips that share their taps (see :data:`GROUP`); a tap is a pair of
    offsets in x and w.  A chunk of taps stands for as many, ``x_step`` apart in x just as the
    vectors of a strip, so that a loaded vector serves them all.  With ``splat`` a weight is one
    element for all lanes.  A strip that ``fetches`` prefetches what the next one reads and writes.

    A strip is computed for ``units`` neighbouring vectors of channels before the next, for memory
    is fast only if it is read and written in order.
    """

    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        shape = tuple(map(literal, signature.args[1:4]))
        return outlined(
            context, builder, signature, arguments[4:],
            "_".join(["sum_strips", str(kind), *map(str, shape)]),
            lambda v, values: _sum_strips(v, *shape, *values),
        )  # fmt: skip

    return types.void(like, size, splat, fetches, *[types.int64] * 9), codegen


# What :func:`correlate_taps` reads of a patch of outputs: addresses of the tables of its runs and
# of where the sums of their taps are; its rows, and the chunks, further vectors and lanes of a row;
# where windows slide, the steps at either end at which x is outside; in bytes, the first output,
# the steps from row to row and between neighbours of a row; those from filter to filter in y and in
# the sums; and how much further the next patch is.
PATCH = (
    *("starts", "targets", "rows", "chunks", "rest", "tail", "before", "after"),
    *("x_first", "x_pitch", "x_step", "y_first", "y_pitch", "y_step", "y_filter", "sums_filter"),
    *("x_next", "y_next"),
)


class TapTile(NamedTuple):
    """The register tile of :func:`correlate_taps`.

    ``runs`` of ``taps`` neighbouring taps each have a sum in a register for each of ``filters``,
    and meet a chunk of ``outputs`` neighbouring vectors of y.  In x the outputs are ``advance``
    steps apart and the taps ``spread``, so that a vector of x may serve several taps, each with
    another output.
    """

    runs: int
    taps: int
    outputs: int
    advance: int = 1
    spread: int = 1
    filters: int = 1

    @property
    def sums(self) -> int:
        """The sums of a filter."""
        return self.runs * self.taps

    @property
    def slides(self) -> bool:
        """Whether outputs one step apart meet taps one step apart.

        Then the outputs that a vector of x meets stay in registers, and one more comes with the
        next; a chunk of as many as taps needs no moves between registers.
        """
        return self.taps > 1 and self.advance == self.spread == 1

    def shared(self, outputs: int) -> dict[int, list[tuple[int, int]]]:
        """The pairs (tap, output) that each vector of x joins in a run, by the vector's place."""
        pairs: dict[int, list[tuple[int, int]]] = {}
        for tap, output in product(range(self.taps), range(outputs)):
            place = output * self.advance + tap * self.spread
            pairs.setdefault(place, []).append((tap, output))
        return dict(sorted(pairs.items()))


def _row_in_chunks(v: Vectors, tile: TapTile, fetches, words, starts, gradient_of):
    """The loop body that adds a row of outputs, chunk by chunk."""
    builder = v.builder
    across = v.first_lanes(words["tail"])
    ragged = builder.zext(builder.icmp_signed("!=", words["tail"], i64(0)), I64)
    ragged = v.opaque(ragged)

    def multiply(at, acc, gradients, load):
        """Add the products of a chunk; x is read in order, all runs side by side.

        ``gradients`` are those of the first filter, then of the second, and so on.
        """
        # Else its multiples would be kept in memory, and be loaded with every vector.
        step, here, before = v.opaque(words["x_step"]), at, 0
        outputs = len(gradients) // tile.filters
        for place, pairs in tile.shared(outputs).items():
            for _ in range(place - before):
                here = builder.add(here, step)
            before = place
            if fetches:
                v.prefetch(builder.add(builder.add(starts[-1], here), words["x_next"]))
            for i, start in enumerate(starts):
                value = load(builder.add(start, here))
                for (tap, output), f in product(pairs, range(tile.filters)):
                    k = f * tile.sums + i * tile.taps + tap
                    acc[k] = v.fma(value, gradients[f * outputs + output], acc[k])
        return acc

    def chunk(outputs):
        def body(index, carried):
            at, y_at, *acc = carried
            at = v.opaque(at)  # else every address would be moved along by itself
            gradients = []
            for _ in range(outputs):
                if fetches:
                    v.prefetch(builder.add(y_at, words["y_next"]))
                gradients += [v.load(builder.add(y_at, of)) for of in gradient_of]
                y_at = builder.add(y_at, words["y_step"])
            gradients = [g for f in range(tile.filters) for g in gradients[f :: tile.filters]]
            acc = multiply(at, acc, gradients, v.load)
            forward = builder.mul(words["x_step"], i64(outputs * tile.advance))
            return [builder.add(at, forward), y_at, *acc]

        return body

    def part(index, carried):
        # Lanes outside are cleared in both factors: infinity times zero would be NaN.
        at, y_at, *acc = carried
        gradients = [v.load_some(builder.add(y_at, of), across) for of in gradient_of]
        acc = multiply(at, acc, gradients, lambda a: builder.select(across, v.load(a), v.zero))
        return [at, y_at, *acc]

    def row(x_row, y_row, acc):
        state = v.loop(words["chunks"], [x_row, y_row, *acc], chunk(tile.outputs))
        state = v.loop(words["rest"], state, chunk(1))
        return v.loop(ragged, state, part)[2:]

    return row


def _row_that_slides(v: Vectors, tile: TapTile, fetches, words, starts, gradient_of):
    """The loop body that adds a row of outputs, of which ``tile.taps`` at a time meet x.

    A row is the outputs but for ``tile.taps`` − 1 at its end, and has at least as many.
    """
    builder, ends = v.builder, range(1, tile.taps)
    (of_filter,) = gradient_of

    def is_inside(step, outside):
        """Whether x is inside so many steps from an end of a row, where some are outside."""
        return builder.icmp_signed(">=", i64(step), words[outside])

    def add(at, acc, met):
        """Add what each tap, if any, meets at a place of x."""
        acc = list(acc)
        for i, start in enumerate(starts):
            value = v.load(builder.add(start, at))
            for tap, gradient in met.items():
                acc[i * tile.taps + tap] = v.fma(value, gradient, acc[i * tile.taps + tap])
        return acc

    def chunk(outputs):
        def body(index, carried):
            at, y_at, *rest = carried
            window, acc = rest[: len(ends)], rest[len(ends) :]
            for _ in range(outputs):
                at = v.opaque(at)  # else every address would be moved along by itself
                if fetches:
                    v.prefetch(builder.add(builder.add(starts[-1], at), words["x_next"]))
                    v.prefetch(builder.add(y_at, words["y_next"]))
                window = [v.load(y_at), *window]
                acc = add(at, acc, dict(enumerate(window)))
                at, y_at = builder.add(at, words["x_step"]), builder.add(y_at, words["y_step"])
                window.pop()
            return [at, y_at, *window, *acc]

        return body

    def row(x_row, y_row, acc):
        at, y_at, window = x_row, builder.add(y_row, of_filter), []
        for reached in ends:
            window = [v.load(y_at), *window]
            met = dict(enumerate(window))
            x_is = is_inside(reached - 1, "before")
            acc = v.when(x_is, acc, lambda acc, at=at, met=met: add(at, acc, met))
            at, y_at = builder.add(at, words["x_step"]), builder.add(y_at, words["y_step"])
        state = v.loop(words["chunks"], [at, y_at, *window, *acc], chunk(tile.outputs))
        at, _, *rest = v.loop(v.opaque(words["rest"]), state, chunk(1))
        window, acc = rest[: len(ends)], rest[len(ends) :]
        for passed in ends:
            met = {tap: window[tap - passed] for tap in range(passed, tile.taps)}
            x_is = is_inside(ends[-1] - passed, "after")
            acc = v.when(x_is, acc, lambda acc, at=at, met=met: add(at, acc, met))
            at = builder.add(at, words["x_step"])
        return acc

    return row


def _correlate(v: Vectors, tile: TapTile, fetches, patch, x, y, target):
    builder = v.builder
    words = {name: word(v, patch, i) for i, name in enumerate(PATCH)}
    corner = builder.add(x, words["x_first"])
    starts = [builder.add(corner, word(v, words["starts"], i)) for i in range(tile.runs)]
    targets, gradient_of = [], [i64(0)]
    for f in range(tile.filters):
        targets += [builder.add(target, word(v, words["targets"], i)) for i in range(tile.sums)]
        target = builder.add(target, words["sums_filter"])
        gradient_of.append(builder.add(gradient_of[f], words["y_filter"]))
    emit = _row_that_slides if tile.slides else _row_in_chunks
    add_row = emit(v, tile, fetches, words, starts, gradient_of[:-1])

    def row(index, carried):
        x_row, y_row, *acc = carried
        acc = add_row(x_row, y_row, acc)
        return [builder.add(x_row, words["x_pitch"]), builder.add(y_row, words["y_pitch"]), *acc]

    carried = [i64(0), builder.add(y, words["y_first"]), *[v.zero] * len(targets)]
    for at, value in zip(targets, v.loop(words["rows"], carried, row)[2:], strict=True):
        v.store(builder.fadd(v.load(at), value), at)


@intrinsic(prefer_literal=True)
def correlate_taps(
    typingctx, like, runs, taps, outputs, advance, spread, filters, fetches, patch, x, y, target
):  # fmt: skip
    """``target[t] += Σ x[row, j + tap t] · y[row, j]`` for the taps of a tile, lane by lane.

    The numbers before ``fetches`` are a :class:`TapTile`.  ``patch`` is a record of the outputs
    (row, j) and of the taps (see :data:`PATCH`); its sums begin at 0, and are added at its end:
    sums of equal terms stray the further the longer they are.  If it ``fetches``, what the next
    patch reads is prefetched: of x what its last run does, for without strides others of its runs
    read little else.
    """

    def codegen(context, builder, signature, arguments):
        kind = signature.args[0]
        *tile, fetches = map(literal, signature.args[1:8])
        name = "_".join(["correlate_taps", str(kind), *map(str, tile), str(fetches)])
        return outlined(
            context, builder, signature, arguments[8:], name,
            lambda v, values: _correlate(v, TapTile(*tile), fetches, *values),
        )  # fmt: skip

    tile = (runs, taps, outputs, advance, spread, filters, fetches)
    return types.void(like, *tile, *[types.int64] * 4), codegen


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
        v.store_scalar(builder.extract_element(value, i64(0)), arguments[1])
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen
