"""Planes of neighbouring elements as pixels, and pixels as planes: whole vectors on both sides."""

from __future__ import annotations

import functools

from numba.core import types
from numba.extending import intrinsic

from fastconv.core.jit import Function, callee

from .microkernel import word
from .strided import whole_vectors
from .transposing import transpose_tile
from .vector import Vectors, element, i64, lanes, literal, outlined


def _pick(v: Vectors, values: list, elements: list[tuple[int, int]]):
    """The vector of these elements, each a lane of one of the vectors ``values``."""
    result = values[0]
    for number in range(1, len(values)):
        lanes = [
            v.lanes + at if of == number else at if number == 1 else lane
            for lane, (at, of) in enumerate(elements)
        ]
        result = v.shuffle(result, values[number], lanes)
    return result


def _factor(number: int) -> int:
    """The least prime factor."""
    return next(n for n in range(2, number + 1) if number % n == 0)


def _joined(v: Vectors, planes: list) -> list:
    """A vector of each plane as vectors of pixels, by as many rounds as that has prime factors."""
    if len(planes) == 1:
        return planes
    factor = _factor(len(planes))
    streams = [_joined(v, planes[first::factor]) for first in range(factor)]
    places = [divmod(place, factor) for place in range(factor * v.lanes)]
    return [
        _pick(v, list(values), places[first : first + v.lanes])
        for values in zip(*streams, strict=True)
        for first in range(0, len(places), v.lanes)
    ]


def _separated(v: Vectors, values: list) -> list:
    """Vectors of pixels of as many elements as a vector of each plane: the inverse."""
    if len(values) == 1:
        return values
    factor = _factor(len(values))
    planes = [v.zero] * len(values)
    for first in range(factor):
        places = [divmod(lane * factor + first, v.lanes) for lane in range(v.lanes)]
        elements = [(lane, number) for number, lane in places]
        stream = [
            _pick(v, values[at : at + factor], elements) for at in range(0, len(values), factor)
        ]
        planes[first::factor] = _separated(v, stream)
    return planes


def _interleave(v: Vectors, planes: int, target, source, plane, count):
    builder = v.builder

    def body(i):
        near = builder.mul(i, i64(v.itemsize))
        at = builder.add(source, near)
        values = [v.load(builder.add(at, builder.mul(plane, i64(p)))) for p in range(planes)]
        to = builder.add(target, builder.mul(near, i64(planes)))
        for number, value in enumerate(_joined(v, values)):
            v.store(value, to, number)

    whole_vectors(v, count, body)


def _separate(v: Vectors, planes: int, target, source, plane, count):
    builder = v.builder

    def body(i):
        near = builder.mul(i, i64(v.itemsize))
        at = builder.add(source, builder.mul(near, i64(planes)))
        values = [v.load(at, number) for number in range(planes)]
        to = builder.add(target, near)
        for p, value in enumerate(_separated(v, values)):
            v.store(value, builder.add(to, builder.mul(plane, i64(p))))

    whole_vectors(v, count, body)


MOST_PLANES = 4  # that :func:`interleave` takes


@intrinsic
def interleave(typingctx, like, target, source, plane, planes, count):
    """``target[i·planes + p] = source[p][i]`` for ``count`` elements, at least a vector of them.

    The ``planes``, from 2 to :data:`MOST_PLANES`, are ``plane`` bytes apart.
    """

    def codegen(context, builder, signature, arguments):
        target, source, plane, planes, count = arguments[1:]
        for number in range(2, MOST_PLANES + 1):
            with builder.if_then(builder.icmp_signed("==", planes, i64(number))):
                outlined(
                    context, builder, signature, [target, source, plane, count],
                    f"interleave_{signature.args[0]}_{number}",
                    lambda v, values, number=number: _interleave(v, number, *values),
                )  # fmt: skip
        return context.get_dummy_value()

    return types.void(like, *[types.int64] * 5), codegen


@intrinsic(prefer_literal=True)
def _turn(typingctx, like, joining, planes, target, source, plane, count):
    def codegen(context, builder, signature, arguments):
        joining, planes = map(literal, signature.args[1:3])
        emit = _interleave if joining else _separate
        emit(Vectors(builder, signature.args[0]), planes, *arguments[3:])
        return context.get_dummy_value()

    return types.void(like, joining, planes, *[types.int64] * 4), codegen


def _separate_taps(v: Vectors, elements: int, target, step, source, taps):
    builder = v.builder
    values = [v.load(source, number) for number in range(elements)]
    for number, value in enumerate(_separated(v, values)):
        tap = word(v, taps, number)
        with builder.if_then(builder.icmp_signed(">=", tap, i64(0))):
            v.store(value, builder.add(target, builder.mul(tap, step)))


@intrinsic(prefer_literal=True)
def separate_taps(typingctx, like, elements, target, step, source, taps):
    """The ``elements`` of each of a vector of filters, one behind the other, as a vector for each.

    That of element e goes to ``target + taps[e]·step``, or nowhere if it is none of the taps.
    """

    def codegen(context, builder, signature, arguments):
        number = literal(signature.args[1])
        return outlined(
            context, builder, signature, arguments[2:],
            f"separate_taps_{signature.args[0]}_{number}",
            lambda v, values: _separate_taps(v, number, *values),
        )  # fmt: skip

    return types.void(like, elements, *[types.int64] * 4), codegen


@functools.cache
def _turner(itemsize: int, planes: int, joining: bool, dense: bool) -> Function:
    """``turn(target, target_step, source, source_step, count)``: planes to pixels, or back."""
    vector = lanes(itemsize)

    @callee
    def turn(target, target_step, source, source_step, count):
        like = element(itemsize)
        rows, columns = (planes, count) if joining else (count, planes)
        if dense and planes <= vector:  # by fewer rounds than squares take
            plane = source_step if joining else target_step
            _turn(like, joining, planes, target, source, plane, count)
        else:
            for i in range(0, rows, vector):
                for j in range(0, columns, vector):
                    transpose_tile(
                        like, target + j * target_step + i * itemsize, target_step,
                        source + i * source_step + j * itemsize, source_step,
                        min(vector, rows - i), min(vector, columns - j),
                    )  # fmt: skip

    return turn


def separator(itemsize: int, planes: int, dense: bool) -> Function:
    """``separate(target, plane, source, pixel, count)``: ``target[p][i] = source[i][p]``.

    For ``count`` pixels i, at least a vector of them.  Planes are ``plane`` bytes apart, pixels
    ``pixel`` bytes: no more than they hold, if they are ``dense``.
    """
    return _turner(itemsize, planes, False, dense)


def joiner(itemsize: int, planes: int, dense: bool) -> Function:
    """``join(target, pixel, source, plane, count)``: ``target[i][p] = source[p][i]``, likewise."""
    return _turner(itemsize, planes, True, dense)
