"""Vectors whose lanes stand apart in memory, and vectors of which only a part is there."""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastconv.core.machine import machine

from .vector import I32, I64, Vectors, i64, outlined


class RowLanes(NamedTuple):
    """Lane i is element ``start + i·stride`` of a row of ``limit``; ``count`` lanes matter."""

    start: ir.Value
    limit: ir.Value
    count: ir.Value


def ramp(v: Vectors, element: ir.IntType, start: int = 0, step: int = 1) -> ir.Constant:
    """start, start + step, … as a vector of integers."""
    wrap = (1 << element.width) - 1
    values = [(start + i * step) & wrap for i in range(v.lanes)]
    return ir.Constant(ir.VectorType(element, v.lanes), values)


def _below(v: Vectors, count):
    """Lanes with a number below ``count``; all of them if it is None."""
    if count is None:
        return ir.Constant(ir.VectorType(ir.IntType(1), v.lanes), [1] * v.lanes)
    return v.first_lanes(count)


def valid(v: Vectors, part: RowLanes, stride: int, first: int = 0, count=None):
    """Lanes whose element is in the row, lane 0 standing for element ``start + first``."""
    builder = v.builder
    lanes = ramp(v, I32, first, stride)
    element = builder.add(lanes, v.splat(builder.trunc(part.start, I32), lanes.type))
    limit = v.splat(builder.trunc(part.limit, I32), lanes.type)
    inside = builder.icmp_unsigned("<", element, limit)
    return builder.and_(inside, _below(v, part.count if count is None else count))


def _pointers(v: Vectors, address, stride: int):
    """Where the lanes are, ``stride`` elements apart."""
    steps = ramp(v, I64, 0, stride * v.itemsize)
    lanes = v.builder.add(v.splat(address, steps.type), steps)
    return v.builder.inttoptr(lanes, ir.VectorType(v.element.as_pointer(), v.lanes))


def read(v: Vectors, address, stride: int, part: RowLanes | None, fill: float):
    """Lanes ``stride`` elements apart; with a ``part``, ``fill`` in those that are not in it."""
    filled = ir.Constant(v.type, [fill] * v.lanes)

    def load(first: int, count):
        at = v.offset(address, first * v.itemsize)
        if part is None:
            return v.load(at)
        mask = valid(v, part, 1, first, count)
        return v.masked("load", filled, v.pointer(at, v.type), mask)

    if stride == 1:
        return load(0, None)
    # The even elements of two vectors, which overlap so as not to read beyond.
    pick = [e if e < v.lanes else e + 1 for e in range(0, 2 * v.lanes, 2)]
    if stride == 2:
        low = high = None
        if part is not None:
            twice = v.builder.shl(part.count, i64(1))
            low, high = v.builder.sub(twice, i64(1)), v.builder.sub(twice, i64(v.lanes))
        return v.shuffle(load(0, low), load(v.lanes - 1, high), pick)
    if stride == 4 and part is None:
        far = v.offset(address, 2 * (v.lanes - 1) * v.itemsize)
        return v.shuffle(read(v, address, 2, None, fill), read(v, far, 2, None, fill), pick)
    mask = _below(v, None) if part is None else valid(v, part, stride)
    return v.masked("gather", filled, _pointers(v, address, stride), mask)


def _write_lanes(v: Vectors, value, address, stride: int, count) -> None:
    """Store lane by lane, where stores under a mask take longer."""
    builder = v.builder

    def store(lane):
        at = v.pointer(v.offset(address, lane * stride * v.itemsize), value.type.element)
        builder.store(builder.extract_element(value, i64(lane)), at, align=v.itemsize)

    for lane in range(v.lanes):
        if count is None:
            store(lane)
            continue
        with builder.if_then(builder.icmp_signed("<", i64(lane), count)):
            store(lane)


def write(v: Vectors, value, address, stride: int, count):
    """Store the first ``count`` lanes (None: all) ``stride`` elements apart.

    Integers can be stored side by side only.
    """
    if stride == 1 and count is None:
        v.builder.store(value, v.pointer(address, value.type), align=v.itemsize)
    elif stride == 1:
        v.masked("store", value, v.pointer(address, value.type), _below(v, count))
    elif not machine().isa.masks:
        _write_lanes(v, value, address, stride, count)
    elif stride == 2:  # every lane twice, and every second of those stored
        even = ir.Constant(ir.VectorType(ir.IntType(1), v.lanes), [1, 0] * (v.lanes // 2))
        for first in (0, v.lanes // 2):
            twice = v.shuffle(value, value, [first + i // 2 for i in range(v.lanes)])
            mask = even
            if count is not None:
                rest = v.builder.shl(v.builder.sub(count, i64(first)), i64(1))
                mask = v.builder.and_(even, _below(v, rest))
            at = v.pointer(v.offset(address, 2 * first * v.itemsize), v.type)
            v.masked("store", twice, at, mask)
    else:
        v.masked("scatter", value, _pointers(v, address, stride), _below(v, count))


def _spread_tile(v: Vectors, target, target_step, source, source_step, rows, columns):
    builder = v.builder
    last = builder.sub(rows, i64(1))
    lines = []
    for i in range(v.lanes):
        inside = builder.icmp_signed("<", i64(i), rows)
        row = builder.select(inside, i64(i), last)
        lines.append(v.load(builder.add(source, builder.mul(source_step, row))))
    for j, line in enumerate(v.transpose(lines)):
        with builder.if_then(builder.icmp_signed("<", i64(j), columns)):
            at = builder.add(target, builder.mul(target_step, i64(j)))
            write(v, line, at, 2, rows)


@intrinsic
def spread_tile(typingctx, like, target, target_step, source, source_step, rows, columns):
    """:func:`.transposing.transpose_tile` into every second element; whole vectors are read."""

    def codegen(context, builder, signature, arguments):
        return outlined(
            context, builder, signature, arguments[1:], f"spread_tile_{signature.args[0]}",
            lambda v, values: _spread_tile(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 6), codegen


def whole_vectors(v: Vectors, count, body) -> None:
    """``body(i)`` for vectors of elements i, i + 1, … that cover ``count`` of them, the last one
    overlapping the one before; ``count`` is at least one vector."""
    builder, lanes = v.builder, i64(v.lanes)
    last = builder.sub(count, lanes)

    def step(index, carried):
        at = builder.mul(index, lanes)
        body(builder.select(builder.icmp_signed("<", at, last), at, last))
        return []

    v.loop(builder.sdiv(builder.add(last, i64(2 * v.lanes - 1)), lanes), [], step)


def _apart(taken: int, put: int):
    """``target[put·i] = source[taken·i]``."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, source, count = arguments[1:]

        def body(i):
            near, far = (builder.mul(i, i64(step * v.itemsize)) for step in (put, taken))
            value = read(v, builder.add(source, far), taken, None, 0.0)
            write(v, value, builder.add(target, near), put, None)

        whole_vectors(v, count, body)
        return context.get_dummy_value()

    return codegen


@intrinsic
def take_even(typingctx, like, target, source, count):
    """``target[i] = source[2i]`` for ``count`` elements, at least a vector of them."""
    return types.void(like, *[types.int64] * 3), _apart(2, 1)


@intrinsic
def take_fourth(typingctx, like, target, source, count):
    """``target[i] = source[4i]`` for ``count`` elements, at least a vector of them."""
    return types.void(like, *[types.int64] * 3), _apart(4, 1)


@intrinsic
def put_even(typingctx, like, target, source, count):
    """``target[2i] = source[i]`` for ``count`` elements, at least a vector of them."""
    return types.void(like, *[types.int64] * 3), _apart(1, 2)


@intrinsic
def gather_lanes(typingctx, like, target, source, step, count):
    """``target[i]`` is the element ``i·step`` bytes from ``source``, for ``count`` of a vector."""

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        target, source, step, count = arguments[1:]
        steps = ramp(v, I64)
        steps = builder.mul(steps, v.splat(step, steps.type))
        lanes = builder.inttoptr(
            builder.add(v.splat(source, steps.type), steps),
            ir.VectorType(v.element.as_pointer(), v.lanes),
        )
        value = v.masked("gather", v.zero, lanes, _below(v, count))
        write(v, value, target, 1, count)
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 4), codegen
