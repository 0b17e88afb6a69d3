"""The adjoint of minimal filtering along lines: sums of products of components, for the weights."""

from __future__ import annotations

import functools
from typing import NamedTuple

from llvmlite.ir import Value

from fastconv.core.jit import Function, callee
from fastconv.simd.emitted import emitted, named
from fastconv.simd.vector import Vectors, element, i64

from .maps import emit
from .tile_map import GRADIENT, axis_program


class _Words(NamedTuple):
    """The arguments of :func:`tile_sums`."""

    n_lines: Value
    tiles: Value
    a: Value
    a_line: Value
    a_step: Value
    a_term: Value
    component: Value
    b: Value
    b_line: Value
    b_pitch: Value
    pixels: Value
    nothing: Value
    fetches: Value
    u: Value
    u_component: Value
    u_row: Value
    u_term: Value


class _Summing:
    """Emits what :func:`tile_sums` does, for some of the components at a time."""

    def __init__(self, v: Vectors, m: int, r: int, rows: int, terms: int, words: _Words):
        self.v, self.m, self.rows, self.terms, self.words = v, m, rows, terms, words
        self.program = axis_program(GRADIENT, m, r)
        self.fetching = v.builder.icmp_signed("!=", words.fetches, i64(0))
        self.next_line = v.builder.mul(words.n_lines, words.b_line)

    def gradient(self, b, left, first: bool) -> list:
        """The components of a tile of dy; the first to read it fetch that of other lines."""
        v, builder, words = self.v, self.v.builder, self.words
        sources = [builder.add(b, builder.mul(words.b_pitch, i64(i))) for i in range(self.m)]
        values = []
        for i, source in enumerate(sources):
            there = builder.icmp_signed("<", i64(i), left)
            values.append(v.load(builder.select(there, source, words.nothing)))
        if first:
            with builder.if_then(self.fetching):
                for source in sources:
                    v.prefetch(builder.add(source, self.next_line))
        return emit(v, self.program, values)

    def places(self, some: range, first, row_step, term_step, component_step):
        """Where the values of some components are: those of every row and term."""
        builder, row = self.v.builder, first
        for _ in range(self.rows):
            term = row
            for _ in range(self.terms):
                at = term
                for j in some:
                    yield j, at
                    at = builder.add(at, component_step)
                term = builder.add(term, term_step)
            row = builder.add(row, row_step)

    def tile(self, some: range, index, carried) -> list:
        """The products of a tile."""
        v, builder, words = self.v, self.v.builder, self.words
        at, b, left, *acc = carried
        mapped = self.gradient(b, left, some.start == 0)
        places = self.places(some, at, words.a_step, words.a_term, words.component)
        for k, (j, place) in enumerate(places):
            acc[k] = v.fma(v.broadcast(place), mapped[j], acc[k])
        b = builder.add(b, builder.mul(words.b_pitch, i64(self.m)))
        return [v.offset(at, v.itemsize), b, builder.sub(left, i64(self.m)), *acc]

    def sums(self, some: range) -> None:
        """Sum the products of some components, and add them to what is there."""
        v, builder, words = self.v, self.v.builder, self.words
        first = builder.add(words.a, builder.mul(words.component, i64(some.start)))

        def line(index, carried):
            at, b, *acc = carried
            carried = [at, b, words.pixels, *acc]
            acc = v.loop(words.tiles, carried, functools.partial(self.tile, some))[3:]
            return [builder.add(at, words.a_line), builder.add(b, words.b_line), *acc]

        acc = [v.zero] * (self.rows * self.terms * len(some))
        acc = v.loop(words.n_lines, [first, words.b, *acc], line)[2:]
        target = builder.add(words.u, builder.mul(words.u_component, i64(some.start)))
        places = self.places(some, target, words.u_row, words.u_term, words.u_component)
        for value, (_, place) in zip(acc, places, strict=True):
            v.store(builder.fadd(v.load(place), value), place)


def _sum(v: Vectors, sizes, *words):
    m, r, share, rows, terms = sizes
    summing = _Summing(v, m, r, rows, terms, _Words(*words))
    for start in range(0, m + r - 1, share):
        summing.sums(range(start, min(start + share, m + r - 1)))


_apply = emitted({"sum": _sum})


@functools.cache
def tile_sums(itemsize: int, m: int, r: int, share: int, rows: int, terms: int) -> Function:
    """Products of the components of x and of dy, summed over the tiles of some lines.

    A vector of filters of dy: pixel i of a line is at ``b + i·b_pitch``, those from ``pixels`` on
    are zeros, which ``nothing`` is the address of.  The components of x are those of
    :func:`.line_map`, ``a_step`` bytes from one row of a window to the next, ``a_term`` from term
    to term.  All sums, ``share`` components at a time, are added to those at ``u``.  The pixels of
    as many lines more are prefetched if ``fetches`` is not 0.
    """
    body = named("sum", m, r, share, rows, terms)

    @callee
    def sums(
        n_lines, tiles, a, a_line, a_step, a_term, component, b, b_line, b_pitch, pixels, nothing,
        fetches, u, u_component, u_row, u_term,
    ):  # fmt: skip
        _apply(
            element(itemsize), body, n_lines, tiles, a, a_line, a_step, a_term, component, b,
            b_line, b_pitch, pixels, nothing, fetches, u, u_component, u_row, u_term,
        )  # fmt: skip

    return sums
