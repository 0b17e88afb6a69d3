"""Moving data: zeroing, copying and adding, in whole vectors."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .vector import I32, I64, Vectors, i64

LINE = 64  # bytes of a cache line

_I8 = ir.IntType(8)


@intrinsic
def line_from(typingctx, address):
    """The least multiple of a cache line's bytes that is no less than an address, or a size."""

    def codegen(context, builder, signature, arguments):
        return builder.and_(builder.add(arguments[0], i64(LINE - 1)), i64(-LINE))

    return types.int64(types.int64), codegen


def _bytes(builder, address):
    return builder.inttoptr(address, _I8.as_pointer())


@intrinsic
def zero(typingctx, address, nbytes):
    """Set ``nbytes`` bytes to zero."""

    def codegen(context, builder, signature, arguments):
        address, nbytes = arguments
        cgutils.memset(builder, _bytes(builder, address), nbytes, 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def copy(typingctx, target, source, nbytes):
    """Copy ``nbytes`` bytes, a multiple of four; the two ranges must not overlap.

    In place: to call ``memcpy`` takes longer than to copy a few vectors.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, types.float32)
        target, source, nbytes = arguments

        whole = builder.and_(nbytes, i64(-v.nbytes))
        v.copy(target, source, builder.udiv(whole, i64(v.nbytes)))
        left = builder.sub(nbytes, whole)
        with builder.if_then(builder.icmp_signed("!=", left, i64(0))):
            mask = v.first_lanes(builder.udiv(left, i64(v.itemsize)))
            part = v.load_some(builder.add(source, whole), mask)
            v.store_some(part, builder.add(target, whole), mask)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def fetch(typingctx, address, lines, step):
    """Prefetch so many cache lines, ``step`` bytes apart."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, types.float32)
        v.prefetch_lines(*arguments)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_far(typingctx, target, source, nbytes):
    """Copy ``nbytes`` bytes, as fast as memory allows; the two ranges must not overlap."""

    def codegen(context, builder, signature, arguments):
        target, source, nbytes = arguments
        cgutils.raw_memcpy(builder, _bytes(builder, target), _bytes(builder, source), nbytes, 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def same(typingctx, one, other, nbytes):
    """1 if two ranges of ``nbytes`` bytes (whole words) hold the same, else 0."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, types.float64)
        words = ir.VectorType(I64, v.lanes)
        nothing = ir.Constant(words, [0] * v.lanes)
        one, other, nbytes = arguments

        def difference(kind, at):
            values = [
                builder.load(builder.inttoptr(builder.add(start, at), kind.as_pointer()), align=4)
                for start in (one, other)
            ]
            return builder.xor(*values)

        def body(index, carried):
            at = builder.mul(index, i64(v.nbytes))
            return [builder.or_(carried[0], difference(words, at))]

        whole = builder.udiv(nbytes, i64(v.nbytes))
        (found,) = v.loop(whole, [nothing], body)

        def rest(index, carried):
            at = builder.add(builder.mul(whole, i64(v.nbytes)), builder.mul(index, i64(4)))
            return [builder.or_(carried[0], difference(I32, at))]

        left = builder.sub(nbytes, builder.mul(whole, i64(v.nbytes)))
        (more,) = v.loop(builder.udiv(left, i64(4)), [ir.Constant(I32, 0)], rest)
        lanes = builder.icmp_unsigned("!=", found, nothing)
        any_lane = builder.bitcast(lanes, ir.IntType(v.lanes))
        equal = builder.and_(
            builder.icmp_unsigned("==", any_lane, ir.Constant(any_lane.type, 0)),
            builder.icmp_unsigned("==", more, ir.Constant(I32, 0)),
        )
        return builder.zext(equal, I64)

    return types.int64(types.int64, types.int64, types.int64), codegen


@intrinsic
def get_word(typingctx, address):
    """The 64-bit integer at ``address``."""

    def codegen(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], I64.as_pointer()))

    return types.int64(types.int64), codegen


@intrinsic
def put_word(typingctx, address, value):
    """Store a 64-bit integer at ``address``."""

    def codegen(context, builder, signature, arguments):
        builder.store(arguments[1], builder.inttoptr(arguments[0], I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def fence(typingctx):
    """Make every store before, streamed ones too, visible to other threads."""

    def codegen(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def move(typingctx, like, target, source):
    """Copy one element."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        v.store_scalar(v.load_scalar(arguments[2]), arguments[1])
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen


@intrinsic
def copy_strided(typingctx, like, target, target_step, source, source_step, count):
    """Copy ``count`` single vectors, each address moving by its step in bytes."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, target_step, source, source_step, count = arguments[1:]

        def body(index, carried):
            target, source = carried
            v.store(v.load(source), target)
            return [builder.add(target, target_step), builder.add(source, source_step)]

        v.loop(count, [target, source], body)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


def _move_pieces(v: Vectors, target, target_step, source, source_step, count, lanes, store):
    """``store(value, target, mask)`` the first ``lanes`` of so many vectors."""
    mask = v.first_lanes(lanes)

    def body(index, carried):
        target, source = carried
        store(v.load_some(source, mask), target, mask)
        return [v.builder.add(target, target_step), v.builder.add(source, source_step)]

    v.loop(count, [target, source], body)


@intrinsic
def copy_filled(typingctx, like, target, target_step, source, source_step, count, lanes):
    """The same of the first ``lanes`` of vectors, the others of which become zero; none is read."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        _move_pieces(v, *arguments[1:], lambda value, target, mask: v.store(value, target))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 6), codegen


@intrinsic
def copy_pieces(typingctx, like, target, target_step, source, source_step, count, lanes):
    """The same of the first ``lanes`` of vectors; neither reads nor writes the others."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        _move_pieces(v, *arguments[1:], v.store_some)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 6), codegen


@intrinsic
def accumulate(typingctx, like, target, source, nbytes):
    """``target += source`` over whole vectors."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, source, nbytes = arguments[1:]

        def body(index, carried):
            at = builder.mul(index, i64(v.nbytes))
            to = builder.add(target, at)
            v.store(builder.fadd(v.load(to), v.load(builder.add(source, at))), to)
            return []

        v.loop(builder.sdiv(nbytes, i64(v.nbytes)), [], body)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 3), codegen


@intrinsic
def copy_rows(
    typingctx, like, target, target_step, source, source_step, rows, low, high, columns
):  # fmt: skip
    """Copy elements ``low`` … ``high`` of each row, and set the others of its ``columns`` to zero.

    ``source`` is where the first element of a row would be; those that are not copied are not read.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, target_step, source, source_step, rows, low, high, columns = arguments[1:]

        def some(store):
            def body(index, carried):
                target, source, first = carried
                before, after = (v.first_lanes(builder.sub(end, first)) for end in (low, high))
                inside = builder.and_(after, builder.not_(before))

                def row(index, carried):
                    target, source = carried
                    store(v.load_some(source, inside), target)
                    return [builder.add(target, target_step), builder.add(source, source_step)]

                v.loop(rows, [target, source], row)
                steps = (v.nbytes, v.nbytes, v.lanes)
                return [v.offset(value, step) for value, step in zip(carried, steps, strict=True)]

            return body

        whole = builder.sdiv(columns, i64(v.lanes))
        rest = builder.srem(columns, i64(v.lanes))
        carried = v.loop(whole, [target, source, i64(0)], some(v.store))
        across = v.first_lanes(rest)
        ragged = builder.icmp_signed("!=", rest, i64(0))
        last = some(lambda value, at: v.store_some(value, at, across))
        v.when(ragged, carried, lambda carried: last(None, carried))
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 8), codegen


@intrinsic
def add_element(typingctx, like, target, source):
    """Add the element at ``source`` to the one at ``target``."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        _, target, source = arguments
        total = builder.fadd(v.load_scalar(target), v.load_scalar(source))
        v.store_scalar(total, target)
        return context.get_dummy_value()

    return types.void(like, types.int64, types.int64), codegen
