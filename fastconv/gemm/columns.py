"""Gathering a tile of the column matrix from padded rows (:mod:`fastconv.gemm.windows`).

A row of the column matrix is an output pixel, a column a term of its sum.  Terms come in *runs*
that are contiguous in the padded rows: the channels of one tap, or of a row of taps.  Copies go by
whole vectors; what one writes beyond its run the next one overwrites, so runs must be gathered in
ascending order, and both sides need room for one vector more.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from fastconv.core.jit import inner
from fastconv.simd.copying import copy_strided, get_word
from fastconv.simd.vector import I64, Vectors, i64


@intrinsic
def transpose_rows(typingctx, like, target, step, rows, shift, length):
    """Lay as many rows as a vector has lanes side by side: element j of row i to ``target[j][i]``.

    ``rows`` is a table of addresses (``shift`` is added to each), ``step`` the bytes between two
    rows of ``target``; ``length`` is rounded up to whole vectors.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, step, rows, shift, length = arguments[1:]
        pointer = builder.inttoptr(rows, I64.as_pointer())
        starts = [
            builder.add(builder.load(builder.gep(pointer, [i64(i)])), shift) for i in range(v.lanes)
        ]
        vectors = builder.sdiv(builder.add(length, i64(v.lanes - 1)), i64(v.lanes))

        def block(index, carried):
            (target,) = carried
            at = builder.mul(index, i64(v.nbytes))
            for line in v.transpose([v.load(builder.add(start, at)) for start in starts]):
                v.store(line, target)
                target = builder.add(target, step)
            return [target]

        v.loop(vectors, [target], block)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


@inner
def gather_panel(like, target, step, item, vector, mr, rows, shift, length):
    """One run of ``mr`` rows, laid side by side; the table ``rows`` has whole vectors of them."""
    for lane in range(0, mr, vector):
        transpose_rows(like, target + lane * item, step, rows + lane * 8, shift, length)


@inner
def gather_rows(like, target, step, item, vector, count, source, advance, runs, n_runs, length):
    """Fill ``target[pixel][term]`` with ``count`` pixels, whose windows are ``advance`` apart."""
    whole = vector * item
    for _ in range(count):
        to = target
        for run in range(n_runs):
            at = source + get_word(runs + run * 8)
            copy_strided(like, to, whole, at, whole, (length + vector - 1) // vector)
            to += length * item
        target += step
        source += advance
