"""Pooling windows: a vector of outputs, each the maximum or the average of a window of pixels.

Lanes are neighbouring channels (channels-last memory) or neighbouring outputs of one row, whose
windows stand a constant number of elements apart.  The running results stay in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .strided import RowLanes, ramp, read, valid, write
from .vector import I64, Vectors, i64, literal


class _Operation(NamedTuple):
    """``state = start(v)``; ``state = update(v, state, value, valid, pixel)`` for each pixel of a
    window in row-major order; ``finish(v, state, divisor)`` is the result and, if kept, where it
    was.  Lanes that are not ``valid`` (None: all are) have the value ``fill``.
    """

    fill: float
    start: Callable
    update: Callable
    finish: Callable


def _lowest(v: Vectors):
    return ir.Constant(v.type, [float("-inf")] * v.lanes)


def _larger(v: Vectors, value, best):
    """Lanes where ``value`` replaces ``best``: the first maximum stays, and the last NaN."""
    above = v.builder.fcmp_ordered(">", value, best)
    return v.builder.or_(above, v.builder.fcmp_unordered("uno", value, value))


def _maximum(v: Vectors, state, value, valid, pixel):
    return [v.builder.select(_larger(v, value, state[0]), value, state[0])]


def _lowest_nowhere(v: Vectors):
    """Positions are integers as wide as the elements, so that one mask selects both; −1 is none."""
    return [_lowest(v), ramp(v, ir.IntType(8 * v.itemsize), -1, 0)]


def _maximum_position(v: Vectors, state, value, valid, pixel):
    builder = v.builder
    best, position = state
    kind = position.type
    first = builder.icmp_signed("<", position, ir.Constant(kind, [0] * v.lanes))
    if valid is not None:
        first = builder.and_(first, valid)
    taken = builder.or_(_larger(v, value, best), first)
    here = v.splat(builder.trunc(pixel, kind.element), kind)
    return [builder.select(taken, value, best), builder.select(taken, here, position)]


def _sum(v: Vectors, state, value, valid, pixel):
    return [v.builder.fadd(state[0], value)]


def _quotient(v: Vectors, state, divisor):
    return [v.builder.fdiv(state[0], v.splat(v.builder.sitofp(divisor, v.element)))]


def _as_it_is(v: Vectors, state, divisor):
    return state


MAXIMUM, MAXIMUM_POSITION, AVERAGE = range(3)
_OPERATIONS = (
    _Operation(float("-inf"), lambda v: [_lowest(v)], _maximum, _as_it_is),
    _Operation(float("-inf"), _lowest_nowhere, _maximum_position, _as_it_is),
    _Operation(0.0, lambda v: [v.zero], _sum, _quotient),
)


class PoolWindow(NamedTuple):
    """The window of lane 0: address and steps in bytes, then elements, then positions in pixels.

    (In a kernel these are numbers, while code is emitted their values in it; so in the results.)
    """

    x: int
    rows: int
    row_step: int
    columns: int
    column_step: int
    start: int  # the element of its row where the window begins, and the step of one column
    start_step: int
    limit: int  # elements of the row
    row_pixels: int
    column_pixels: int


class PoolResult(NamedTuple):
    """Where the results go."""

    count: int  # windows, at most a vector of them
    y: int
    divisor: int  # of an average
    positions: int  # where those of maxima go, as 64-bit integers
    first_pixel: int  # from which lane 0 counts, and further the next ones
    lane_pixels: int


def _reduce(v: Vectors, operation: _Operation, window: PoolWindow, stride: int, count):
    """The state after all pixels; ``count`` is None if every lane reads every pixel."""

    def row(_, carried):
        x, pixel, *state = carried

        def column(_, carried):
            x, start, pixel, *state = carried
            part = None if count is None else RowLanes(start, window.limit, count)
            mask = None if part is None else valid(v, part, stride)
            value = read(v, x, stride, part, operation.fill)
            return [
                v.offset(x, window.column_step),
                v.offset(start, window.start_step),
                v.offset(pixel, window.column_pixels),
                *operation.update(v, state, value, mask, pixel),
            ]

        carried = [x, window.start, pixel, *state]
        _, _, _, *state = v.loop(window.columns, carried, column)
        return [v.offset(x, window.row_step), v.offset(pixel, window.row_pixels), *state]

    _, _, *state = v.loop(window.rows, [window.x, i64(0), *operation.start(v)], row)
    return state


def _absolute(v: Vectors, position, first_pixel, lane_pixels):
    """Positions in the plane, from those relative to each lane's window; −1 stays."""
    builder = v.builder
    lanes, none = ramp(v, I64), ramp(v, I64, -1, 0)
    start = builder.mul(lanes, v.splat(lane_pixels, lanes.type))
    start = builder.add(start, v.splat(first_pixel, lanes.type))
    if position.type != lanes.type:
        position = builder.sext(position, lanes.type)
    found = builder.icmp_signed(">", position, none)
    return builder.select(found, builder.add(start, position), none)


def _all_inside(v: Vectors, window: PoolWindow, stride: int, count):
    """Whether every lane matters and reads elements of the row only."""
    builder = v.builder
    steps = builder.mul(builder.sub(window.columns, i64(1)), window.start_step)
    last = builder.add(builder.add(window.start, steps), i64((v.lanes - 1) * stride))
    begins = builder.icmp_signed(">=", window.start, i64(0))
    ends = builder.icmp_signed("<", last, window.limit)
    full = builder.icmp_signed("==", count, i64(v.lanes))
    return builder.and_(full, builder.and_(begins, ends))


@intrinsic(prefer_literal=True)
def pool_windows(typingctx, like, operation, x_stride, y_stride, window, result):
    """Reduce a vector of windows, a :class:`PoolWindow` and those beside it, or fewer.

    ``operation`` is ``MAXIMUM``, ``MAXIMUM_POSITION`` or ``AVERAGE`` (sum / ``divisor``).  Windows
    begin ``x_stride`` elements apart; what is not among elements 0 … ``limit`` − 1 of their row is
    left out.  Results are stored ``y_stride`` elements apart, where the :class:`PoolResult` says;
    the position of lane i is −1 if all of it was left out.
    """

    def codegen(context, builder, signature, arguments):
        v = Vectors(builder, signature.args[0])
        chosen, reads, writes = (literal(t) for t in signature.args[1:4])
        operation = _OPERATIONS[chosen]
        window = PoolWindow(*cgutils.unpack_tuple(builder, arguments[4]))
        result = PoolResult(*cgutils.unpack_tuple(builder, arguments[5]))

        def run(count):
            state = _reduce(v, operation, window, reads, count)
            value, *position = operation.finish(v, state, result.divisor)
            write(v, value, result.y, writes, count)
            for relative in position:
                absolute = _absolute(v, relative, result.first_pixel, result.lane_pixels)
                write(v, absolute, result.positions, 1, count)

        with builder.if_else(_all_inside(v, window, reads, result.count)) as (full, part):
            with full:
                run(None)
            with part:
                run(result.count)
        return context.get_dummy_value()

    return types.void(like, operation, x_stride, y_stride, window, result), codegen
