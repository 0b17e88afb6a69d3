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
from fastconv.simd.microkernel import word
from fastconv.simd.vector import Vectors, i64


@intrinsic
def copy_listed(typingctx, like, target, step, rows, count, shift, length):
    """Copy ``length`` elements of each of ``count`` rows into ``target``, ``step`` bytes apart.

    ``rows`` is a table of addresses; ``shift`` is added to each.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, step, rows, count, shift, length = arguments[1:]
        vectors = builder.sdiv(builder.add(length, i64(v.lanes - 1)), i64(v.lanes))

        def row(index, carried):
            (target,) = carried
            source = builder.add(word(v, rows, index), shift)

            v.copy(target, source, vectors)
            return [builder.add(target, step)]

        v.loop(count, [target], row)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 6), codegen


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
