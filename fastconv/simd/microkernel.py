"""The register tile at the bottom of every matrix product here.

    acc[m, :] = init[m, :] + Σ_run Σ_j  A[m, run, j] · B[run·L + j, :]

``mr`` rows of ``nv`` vectors stay in registers over the whole sum; ``init`` is added last, so that
a long sum made of several tiles is a sum of short ones, whose rounding errors stay small.  (A
``pitch`` of 0 gives every row the same ``init``.)  One step of the sum reads
``nv`` consecutive vectors of B.  A is read by broadcast, in one of four ways (:mod:`.window_tiles`
knows others):

* ``rows``: every row has an address of its own (a table), and steps are consecutive elements.
  This is implicit GEMM: a row is an output pixel, a run is a stretch of input that it sums over,
  and neither images nor matrices need to be contiguous (Dukhan, "The Indirect Convolution
  Algorithm", 2019).
* ``pitched``: rows are any number of bytes apart, and steps are consecutive elements.  A few
  registers then hold the addresses of all rows, and one is left to prefetch with.  One call makes
  any number of tiles, which takes less than as many calls where sums are short.
* ``packed``: a vector of steps of one row stands beside the same of the next, so that all rows have
  one address.  Here, too, one call makes any number of tiles.
* ``panel``, ``planes`` (:mod:`.panel`): rows are consecutive elements, or several stretches of
  them, and a step moves by any number of bytes.

A run is an entry of a table of words, the byte offsets of its start in A and in B, so that a tile
may leave out the runs that only meet padding; to a panel also in what it prefetches.  :mod:`.tiles`
compiles them.
"""

from __future__ import annotations

from .copying import LINE
from .parts import store_parts
from .vector import I64, Vectors, i64

_REACH = 5  # rows whose addresses one base serves
TERMS = 1024  # of a sum in one go: sums of equal terms stray the further the longer they are
UNROLL = 4  # steps between two moves, or reloads, of the addresses of rows
STREAM_WORDS = 8  # of what a packed tile prefetches along, see ``tile_packed``


def word(v: Vectors, table, index):
    """The ``index``-th 64-bit integer of the table at address ``table``."""
    at = v.offset(table, index * 8 if isinstance(index, int) else v.builder.shl(index, i64(3)))
    return v.builder.load(v.builder.inttoptr(at, I64.as_pointer()))


def run_start(v: Vectors, runs, index, *starts) -> list:
    """Where a run begins in each operand: the words of its entry in the table ``runs``.

    Entries of three words have room for four.
    """
    entry = v.offset(runs, v.builder.shl(index, i64(4 if len(starts) == 2 else 5)))
    return [v.builder.add(start, word(v, entry, i)) for i, start in enumerate(starts)]


def products(v: Vectors, acc, rows, panel):
    """One step of the sum: ``rows`` are the addresses of the broadcast elements."""
    nv = len(panel)
    out = []
    for m, row in enumerate(rows):
        a = v.broadcast(row)
        out += [v.fma(a, panel[j], acc[m * nv + j]) for j in range(nv)]
    return out


def step_of(v: Vectors, acc, rows, b, nv):
    """The same with ``nv`` consecutive vectors of B."""
    return products(v, acc, rows, [v.load(b, j) for j in range(nv)])


def finish(v: Vectors, acc, init, pitch, relu, row, mr, nv, columns=None):
    """Add ``init[m]`` and store at ``row(m)``, through a ReLU if asked for.

    The rows of ``init`` are ``pitch`` bytes apart.  Of the result so many ``columns`` are stored.
    """
    floor = v.floor(relu)
    targets, values = [], []
    for m in range(mr):
        start = v.offset(init, v.builder.mul(pitch, i64(m)))
        targets.append(row(m))
        sums = [v.builder.fadd(acc[m * nv + j], v.load(start, j)) for j in range(nv)]
        values.append([v.at_least(value, floor) for value in sums])

    def store_all():
        for target, line in zip(targets, values, strict=True):
            for j, value in enumerate(line):
                v.store(value, target, j)

    if columns is None:
        store_all()
        return
    whole = v.builder.icmp_signed("==", columns, i64(nv * v.lanes))
    with v.builder.if_else(whole) as (then, otherwise):
        with then:
            store_all()
        with otherwise:
            for j in range(nv):
                column = [line[j] for line in values]
                at = [v.offset(target, j * v.nbytes) for target in targets]
                store_parts(v, column, at, v.builder.sub(columns, i64(j * v.lanes)))


def finish_listed(v: Vectors, acc, ending, mr, nv):
    """The same with row m at ``c_rows[m] + c_shift``, the table's entries ``c_step`` bytes apart.

    ``ending`` is ``init``, ``pitch`` and ``relu``, then ``c_rows``, ``c_step`` and ``c_shift``.
    """
    *start, c_rows, c_step, c_shift = ending

    def row(m):
        return v.offset(word(v, v.offset(c_rows, v.builder.mul(c_step, i64(m))), 0), c_shift)

    finish(v, acc, *start, row, mr, nv)


def unrolled(v: Vectors, length):
    """``loop(carried, block)`` of so many steps; ``block(size)`` is the body of several."""
    blocks = v.builder.ashr(length, i64(UNROLL.bit_length() - 1))
    rest = v.opaque(v.builder.and_(length, i64(UNROLL - 1)))

    def loop(carried, block):
        return v.loop(rest, v.loop(blocks, carried, block(UNROLL)), block(1))

    return loop


def emit_rows(v: Vectors, shape, a_rows, a_shift, runs, n_runs, length, b, *ending):
    builder, (mr, nv) = v.builder, shape
    step = nv * v.nbytes
    a = [word(v, a_rows, m) for m in range(mr)]
    loop = unrolled(v, length)

    def block(size):
        def steps(index, carried):
            j, b, *acc = carried
            for u in range(size):
                at = [v.offset(builder.add(row, j), u * v.itemsize) for row in a]
                acc = step_of(v, acc, at, v.offset(b, u * step), nv)
            return [v.offset(j, size * v.itemsize), v.offset(b, size * step), *acc]

        return steps

    def run(index, acc):
        return loop([*run_start(v, runs, index, a_shift, b), *acc], block)[2:]

    finish_listed(v, v.loop(n_runs, [v.zero] * (mr * nv), run), ending, mr, nv)


def _pitched_rows(v: Vectors, bases, pitch, pitch3, mr):
    """Addresses of ``mr`` rows: what one instruction adds to a base, times 1, 2 or 4."""
    builder = v.builder
    offsets = [i64(0), pitch, builder.shl(pitch, i64(1)), pitch3, builder.shl(pitch, i64(2))]
    return [builder.add(bases[m // _REACH], offsets[m % _REACH]) for m in range(mr)]


def emit_pitched(
    v: Vectors, shape, count, a, a_pitch, length, b, fetch, fetch_step, init, pitch, relu, c,
    c_pitch, columns,
):  # fmt: skip
    builder, (mr, nv) = v.builder, shape
    step = nv * v.nbytes
    a_pitch, a_pitch3 = v.opaque(a_pitch), v.opaque(builder.mul(a_pitch, i64(3)))
    far = builder.mul(a_pitch, i64(_REACH))
    loop = unrolled(v, length)
    n_bases = -(-mr // _REACH)

    def block(size):
        def steps(index, carried):
            b, fetch, *rest = carried
            bases, acc = rest[: len(rest) - mr * nv], rest[len(rest) - mr * nv :]
            rows = _pitched_rows(v, bases, a_pitch, a_pitch3, mr)
            for u in range(size):
                v.prefetch(fetch)
                fetch = builder.add(fetch, fetch_step)
                at = [v.offset(row, u * v.itemsize) for row in rows]
                acc = step_of(v, acc, at, v.offset(b, u * step), nv)
            bases = [v.offset(base, size * v.itemsize) for base in bases]
            return [v.offset(b, size * step), fetch, *bases, *acc]

        return steps

    def tile(index, carried):
        a, c, fetch = carried
        bases = [v.opaque(builder.add(a, builder.mul(far, i64(i)))) for i in range(n_bases)]
        carried = [b, fetch, *bases, *[v.zero] * (mr * nv)]
        _, fetch, *carried = loop(carried, block)

        def row(m):
            return v.offset(c, builder.mul(c_pitch, i64(m)))

        finish(v, carried[n_bases:], init, pitch, relu, row, mr, nv, columns)
        return [v.offset(a, builder.mul(a_pitch, i64(mr))), row(mr), fetch]

    v.loop(count, [a, c, fetch], tile)


def emit_packed(
    v: Vectors, shape, count, a, a_step, runs, blocks, rest, b, streams, more, c, c_pitch, c_step
):
    builder, (mr, nv, *fetched) = v.builder, shape
    step, at_once = nv * v.nbytes, min(UNROLL, v.lanes)
    ragged = builder.icmp_signed("!=", rest, i64(0))
    last = builder.select(ragged, i64(mr * v.nbytes), i64(0))
    n_streams = len(fetched)
    starts, lines, tiles = (
        [word(v, streams, STREAM_WORDS * s + i) for s in range(n_streams)] for i in range(3)
    )

    def add(at, b, acc, size):
        """So many steps within a vector of every row."""
        for u in range(size):
            rows = [v.offset(at, m * v.nbytes + u * v.itemsize) for m in range(mr)]
            acc = step_of(v, acc, rows, v.offset(b, u * step), nv)
        return [v.offset(at, size * v.itemsize), v.offset(b, size * step), *acc]

    def several(index, carried):
        ahead, rest = carried[:n_streams], carried[n_streams:]
        for s, times in enumerate(fetched):
            for _ in range(times):
                v.prefetch(ahead[s])
                ahead[s] = builder.add(ahead[s], lines[s])
        at, b, *acc = rest
        return [*ahead, *add(at, b, acc, at_once)]

    def one(index, carried):
        at, b, *acc = carried
        return add(at, b, acc, 1)

    def block(index, carried):
        ahead, (at, *rest) = carried[:n_streams], carried[n_streams:]
        carried = v.loop(i64(v.lanes // at_once), [*ahead, at, *rest], several)
        ahead, (_, *rest) = carried[:n_streams], carried[n_streams:]
        return [*ahead, v.offset(at, mr * v.nbytes), *rest]

    def run(index, carried):
        carried = v.loop(blocks, carried, block)
        ahead, (at, *carried) = carried[:n_streams], carried[n_streams:]
        _, *carried = v.loop(rest, [at, *carried], one)
        return [*ahead, builder.add(at, last), *carried]

    def tile(index, carried):
        a, c, *ahead = carried
        carried = v.loop(runs, [*ahead, a, b, *[v.zero] * (mr * nv)], run)
        acc = carried[n_streams + 2 :]
        rows = [v.offset(c, builder.mul(c_pitch, i64(m))) for m in range(mr)]

        def add_up(index, acc):
            return [builder.fadd(x, v.load(rows[i // nv], i % nv)) for i, x in enumerate(acc)]

        for i, x in enumerate(v.loop(more, acc, add_up)):
            v.store(x, rows[i // nv], i % nv)
        moved = map(builder.add, [a, c, *ahead], [a_step, c_step, *tiles])
        return list(moved)

    v.loop(count, [a, c, *starts], tile)


def prefetch_vectors(v: Vectors, at, nv):
    """The cache lines of so many vectors, of which the first is at the beginning of one."""
    for nbytes in range(0, nv * v.nbytes, LINE):
        v.prefetch(v.offset(at, nbytes))
