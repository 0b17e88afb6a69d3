"""Sums of the blocks of a matrix of 2 × 2 blocks: what goes into a product, what comes out of it.

Winograd's form of Strassen's algorithm, with A the left factor, B the right and P the products:

    S1 = A21 + A22   S2 = S1 − A11   S3 = A11 − A21   S4 = A12 − S2
    T1 = B12 − B11   T2 = B22 − T1   T3 = B22 − B12   T4 = T2 − B21

    P1 = A11·B11   P2 = A12·B21   P3 = S4·B22   P4 = A22·T4   P5 = S1·T1   P6 = S2·T2   P7 = S3·T3

    C11 = P1 + P2             U2 = P1 + P6             U3 = U2 + P7
    C12 = U2 + P5 + P3       C21 = U3 − P4            C22 = U3 + P5

Source: N. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, § 23.1.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .strided import RowLanes, read, write
from .vector import Vectors, i64, literal

# The parts are S; or T; or P5 to P7, with P1 to P4 in the blocks that the result replaces; or P1 to
# P7, with blocks that the result is added to.
LEFT, RIGHT, RESULT, ADDED = range(4)
PARTS = (4, 4, 3, 7)


def _left(b: ir.IRBuilder, a11, a12, a21, a22):
    s1 = b.fadd(a21, a22)
    s2 = b.fsub(s1, a11)
    return s1, s2, b.fsub(a11, a21), b.fsub(a12, s2)


def _right(b: ir.IRBuilder, b11, b12, b21, b22):
    t1 = b.fsub(b12, b11)
    t2 = b.fsub(b22, t1)
    return t1, t2, b.fsub(b22, b12), b.fsub(t2, b21)


def _result(b: ir.IRBuilder, p1, p2, p3, p4, p5, p6, p7):
    u2 = b.fadd(p1, p6)
    u3 = b.fadd(u2, p7)
    return b.fadd(p1, p2), b.fadd(b.fadd(u2, p5), p3), b.fsub(u3, p4), b.fadd(u3, p5)


class _Sweep:
    """One vector of every block and every part, ``part`` of it if it is the last of a run."""

    def __init__(self, v: Vectors, operation: int, part: RowLanes | None, floor):
        self.v, self.operation, self.part, self.floor = v, operation, part, floor

    def _load(self, addresses):
        return [read(self.v, at, 1, self.part, 0.0) for at in addresses]

    def _store(self, values, addresses):
        count = None if self.part is None else self.part.count
        for value, at in zip(values, addresses, strict=True):
            write(self.v, value, at, 1, count)

    def emit(self, blocks, parts, spoilt):
        """``spoilt``, which is NaN from the first result on that is not finite."""
        v, builder = self.v, self.v.builder
        if self.operation in (LEFT, RIGHT):
            sums = _left if self.operation == LEFT else _right
            self._store(sums(builder, *self._load(blocks)), parts)
            return spoilt
        before, products = self._load(blocks), self._load(parts)
        if self.operation == RESULT:
            results = _result(builder, *before, *products)
        else:
            sums = _result(builder, *products)
            results = [builder.fadd(*both) for both in zip(before, sums, strict=True)]
        for value in results:
            spoilt = v.fma(value, v.zero, spoilt)
        self._store([v.at_least(y, self.floor) for y in results], blocks)
        return spoilt


@intrinsic(prefer_literal=True)
def block_sums(
    typingctx, like, operation, count, b11, b12, b21, b22, parts, part_step, relu, flag
):  # fmt: skip
    """``operation`` on runs of ``count`` elements at four blocks and at its parts, ``part_step``
    bytes apart; sets the word at ``flag`` if a result is not finite.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        operation = literal(signature.args[1])
        count, *blocks, first, part_step, relu, flag = arguments[2:]
        parts = [
            builder.add(first, builder.mul(part_step, i64(i))) for i in range(PARTS[operation])
        ]
        floor = v.floor(relu)

        def moved(addresses, index):
            at = builder.mul(index, i64(v.nbytes))
            return [builder.add(address, at) for address in addresses]

        def body(index, carried):
            sweep = _Sweep(v, operation, None, floor)
            return [sweep.emit(moved(blocks, index), moved(parts, index), *carried)]

        whole = builder.sdiv(count, i64(v.lanes))
        v.raise_flag(*v.loop(whole, [v.zero], body), flag)
        rest = builder.sub(count, builder.mul(whole, i64(v.lanes)))
        with builder.if_then(builder.icmp_signed(">", rest, i64(0))):
            sweep = _Sweep(v, operation, RowLanes(i64(0), rest, rest), floor)
            v.raise_flag(sweep.emit(moved(blocks, whole), moved(parts, whole), v.zero), flag)
        return context.get_dummy_value()

    return types.void(like, operation, *[types.int64] * 9), codegen
