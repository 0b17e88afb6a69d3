"""The register tile at the bottom of every matrix product here.

    acc[m, :] = init[m, :] + Σ_run Σ_j  A[m, run, j] · B[run·L + j, :]

``mr`` rows of ``nv`` vectors stay in registers over the whole sum.  B is a packed panel: one step
of the sum reads ``nv`` consecutive vectors.  A is read by broadcast, in one of two ways:

* ``rows``: every row has an address of its own (a table), and steps are consecutive elements.
  This is implicit GEMM: a row is an output pixel, a run is a stretch of input that it sums over,
  and neither images nor matrices need to be contiguous (Dukhan, "The Indirect Convolution
  Algorithm", 2019).
* ``panel``: rows are consecutive elements, and a step moves by any number of bytes.

Both add a table of byte offsets, one for each run, to the address.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from .vector import I64, Vectors, i64, literal

_UNROLL = 4  # steps between two reloads of the row addresses, which do not all fit in registers


def _word(v: Vectors, table, index):
    """The ``index``-th 64-bit integer of the table at address ``table``."""
    at = v.offset(table, index * 8 if isinstance(index, int) else v.builder.shl(index, i64(3)))
    return v.builder.load(v.builder.inttoptr(at, I64.as_pointer()))


def _step(v: Vectors, acc, rows, b, nv):
    """One step of the sum: ``rows`` are the addresses of the broadcast elements."""
    panel = [v.load(b, j) for j in range(nv)]
    out = []
    for m, row in enumerate(rows):
        a = v.broadcast(row)
        out += [v.fma(a, panel[j], acc[m * nv + j]) for j in range(nv)]
    return out


def _start(v: Vectors, init, pitch, mr, nv):
    """The accumulators, from ``init[m]``; a ``pitch`` of 0 gives every row the same start."""
    acc = []
    for m in range(mr):
        row = v.offset(init, v.builder.mul(pitch, i64(m)))
        acc += [v.load(row, j) for j in range(nv)]
    return acc


def _finish(v: Vectors, acc, relu, c_rows, c_shift, mr, nv):
    """Store row ``m`` at ``c_rows[m] + c_shift``, through a ReLU if asked for."""
    active = v.builder.icmp_signed("!=", relu, i64(0))
    for m in range(mr):
        row = v.offset(_word(v, c_rows, m), c_shift)
        for j in range(nv):
            value = acc[m * nv + j]
            v.store(v.builder.select(active, v.relu(value), value), row, j)


@intrinsic(prefer_literal=True)
def tile_rows(
    typingctx, like, mr, nv, a_rows, runs, n_runs, length, b, init, pitch, relu, c_rows, c_shift
):
    """The tile with A given by a table of row addresses; steps are consecutive elements."""

    def codegen(context, builder, signature, arguments):
        rows, vectors = (literal(t) for t in signature.args[1:3])
        a_rows, runs, n_runs, length, b, init, pitch, relu, c_rows, c_shift = arguments[3:]
        v = Vectors(builder, signature.args[0])
        acc = _start(v, init, pitch, rows, vectors)
        step = vectors * v.nbytes

        def run(index, carried):
            b, *acc = carried
            offset = _word(v, runs, index)
            a = [builder.add(_word(v, a_rows, m), offset) for m in range(rows)]

            def block(size):
                def steps(index, carried):
                    b, j, *acc = carried
                    for u in range(size):
                        at = [v.offset(builder.add(row, j), u * v.itemsize) for row in a]
                        acc = _step(v, acc, at, v.offset(b, u * step), vectors)
                    return [v.offset(b, size * step), v.offset(j, size * v.itemsize), *acc]

                return steps

            blocks = builder.ashr(length, i64(_UNROLL.bit_length() - 1))
            rest = builder.and_(length, i64(_UNROLL - 1))
            carried = v.loop(blocks, [b, i64(0), *acc], block(_UNROLL))
            b, _, *acc = v.loop(rest, carried, block(1))
            return [b, *acc]

        _, *acc = v.loop(n_runs, [b, *acc], run)
        _finish(v, acc, relu, c_rows, c_shift, rows, vectors)
        return context.get_dummy_value()

    signature = types.void(like, mr, nv, *[types.int64] * 10)
    return signature, codegen


@intrinsic(prefer_literal=True)
def tile_panel(
    typingctx, like, mr, nv, a, a_step, runs, n_runs, length, b, b_step, init, pitch, relu, c_rows,
    c_shift,
):
    """The tile with the rows of A side by side; a step moves A and B by so many bytes."""

    def codegen(context, builder, signature, arguments):
        rows, vectors = (literal(t) for t in signature.args[1:3])
        a, a_step, runs, n_runs, length, b, b_step = arguments[3:10]
        init, pitch, relu, c_rows, c_shift = arguments[10:]
        v = Vectors(builder, signature.args[0])
        acc = _start(v, init, pitch, rows, vectors)

        def run(index, carried):
            b, *acc = carried

            def steps(index, carried):
                a, b, *acc = carried
                at = [v.offset(a, m * v.itemsize) for m in range(rows)]
                acc = _step(v, acc, at, b, vectors)
                return [builder.add(a, a_step), builder.add(b, b_step), *acc]

            start = builder.add(a, _word(v, runs, index))
            _, b, *acc = v.loop(length, [start, b, *acc], steps)
            return [b, *acc]

        _, *acc = v.loop(n_runs, [b, *acc], run)
        _finish(v, acc, relu, c_rows, c_shift, rows, vectors)
        return context.get_dummy_value()

    signature = types.void(like, mr, nv, *[types.int64] * 12)
    return signature, codegen
