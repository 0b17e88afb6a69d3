"""Transposing between memory orders, up to a square of a vector's lanes at a time."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .parts import store_parts
from .strided import RowLanes, read
from .vector import Vectors, i64, outlined


def _transpose(v: Vectors, targets: list, source, source_step, rows, columns, stride=1):
    """Store column j of a block of ``rows`` rows at ``targets[j]``, for j < ``columns``.

    Elements of a row are ``stride`` apart, 1 or 2.
    """
    builder = v.builder
    whole = i64(v.lanes)
    full = builder.and_(
        builder.icmp_signed("==", rows, whole), builder.icmp_signed("==", columns, whole)
    )
    sources = _apart(v, source, source_step)

    with builder.if_else(full) as (then, otherwise):
        with then:
            lines = v.transpose([read(v, at, stride, None, 0.0) for at in sources])
            for line, target in zip(lines, targets, strict=True):
                v.store(line, target)
        with otherwise:
            lines = []
            for i, at in enumerate(sources):
                inside = builder.icmp_signed("<", i64(i), rows)
                count = builder.select(inside, columns, i64(0))
                part = RowLanes(i64(0), builder.mul(count, i64(stride)), count)
                lines.append(read(v, at, stride, part, 0.0))
            store_parts(v, v.transpose(lines), targets, rows, columns)


def _apart(v: Vectors, first, step) -> list:
    """As many addresses as there are lanes, ``step`` bytes apart."""
    return [v.builder.add(first, v.builder.mul(step, i64(i))) for i in range(v.lanes)]


def _transpose_half(v: Vectors, target, target_step, source, source_step):
    half = v.lanes // 2
    kind = ir.VectorType(v.element, half)
    sources = _apart(v, source, source_step)
    halves = [v.builder.load(v.pointer(at, kind), align=v.itemsize) for at in sources]
    lines = [v.shuffle(*pair, range(v.lanes)) for pair in zip(halves, halves[half:], strict=False)]
    for line, at in zip(v.transpose(lines), _apart(v, target, target_step), strict=False):
        v.store(line, at)


def _transpose_tile(v: Vectors, target, target_step, *rest):
    _transpose(v, _apart(v, target, target_step), *rest)


def _transpose_even(v: Vectors, target, target_step, *rest):
    _transpose(v, _apart(v, target, target_step), *rest, stride=2)


def _transpose_taps(v: Vectors, target, tap, taps, tap_step, channel_step, *rest):
    builder = v.builder
    wrapped = builder.sub(channel_step, builder.mul(tap_step, builder.sub(taps, i64(1))))
    targets = []
    at = builder.add(target, builder.mul(tap_step, tap))
    for _ in range(v.lanes):
        targets.append(at)
        tap = builder.add(tap, i64(1))
        last = builder.icmp_signed("==", tap, taps)
        at = builder.add(at, builder.select(last, wrapped, tap_step))
        tap = builder.select(last, i64(0), tap)
    _transpose(v, targets, *rest)


@intrinsic
def transpose_tile(typingctx, like, target, target_step, source, source_step, rows, columns):
    """Transpose up to ``lanes`` × ``lanes`` elements.

    ``source`` has ``rows`` rows of ``columns`` consecutive elements, ``target`` gets ``columns``
    rows of ``rows`` elements; nothing outside them is read or written.
    """

    def codegen(context, builder, signature, arguments):
        # Hundreds of instructions: compiled once, not at every place that transposes.
        return outlined(
            context, builder, signature, arguments[1:], f"transpose_tile_{signature.args[0]}",
            lambda v, values: _transpose_tile(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 6), codegen


@intrinsic
def transpose_even(typingctx, like, target, target_step, source, source_step, rows, columns):
    """Transpose likewise every second element: ``columns`` of them in each row."""

    def codegen(context, builder, signature, arguments):
        return outlined(
            context, builder, signature, arguments[1:], f"transpose_even_{signature.args[0]}",
            lambda v, values: _transpose_even(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 6), codegen


@intrinsic
def transpose_half(typingctx, like, target, target_step, source, source_step):
    """Transpose ``lanes`` rows of half as many elements, in fewer steps than those of a square."""

    def codegen(context, builder, signature, arguments):
        return outlined(
            context, builder, signature, arguments[1:], f"transpose_half_{signature.args[0]}",
            lambda v, values: _transpose_half(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 4), codegen


@intrinsic
def transpose_taps(
    typingctx, like, target, tap, taps, tap_step, channel_step, source, source_step, rows, columns
):  # fmt: skip
    """Transpose likewise elements that run over ``taps`` of one channel, then of the next.

    The first is of the channel at ``target``, and is number ``tap`` of its taps; a row of the
    result is ``tap_step`` bytes behind that of the tap before, ``channel_step`` behind that of the
    same tap of the channel before.
    """

    def codegen(context, builder, signature, arguments):
        return outlined(
            context, builder, signature, arguments[1:], f"transpose_taps_{signature.args[0]}",
            lambda v, values: _transpose_taps(v, *values),
        )  # fmt: skip

    return types.void(like, *[types.int64] * 9), codegen
