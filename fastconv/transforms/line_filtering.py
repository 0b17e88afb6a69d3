"""Minimal filtering along lines: register tiles of outputs, whose sums are mapped and stored."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from llvmlite.ir import Value

from fastconv.core.jit import callee
from fastconv.simd.emitted import emitted, named
from fastconv.simd.microkernel import prefetch_vectors
from fastconv.simd.parts import store_parts
from fastconv.simd.vector import Vectors, element, i64, lanes

from .maps import emit
from .tile_map import OUTPUT, axis_program


class _Words(NamedTuple):
    """The arguments of :func:`tile_filtering`."""

    n_lines: Value
    wide: Value
    narrow: Value
    a: Value
    a_line: Value
    a_step: Value
    component: Value
    n_rows: Value
    terms: Value
    b: Value
    init: Value
    relu: Value
    c: Value
    c_line: Value
    c_pitch: Value
    pixels: Value
    columns: Value
    fetches: Value
    spare: Value
    flag: Value


class _Filtering:
    """Emits what :func:`tile_filtering` does, from the products of a tile to the lines."""

    def __init__(self, v: Vectors, m: int, r: int, nv: int, words: _Words):
        self.v, self.m, self.nv, self.words = v, m, nv, words
        self.program = axis_program(OUTPUT, m, r)
        builder = v.builder
        self.starts, self.floor = [v.load(words.init, q) for q in range(nv)], v.floor(words.relu)
        self.whole = builder.icmp_signed("==", words.columns, i64(nv * v.lanes))
        self.columns = [builder.sub(words.columns, i64(q * v.lanes)) for q in range(nv)]
        self.fetching = builder.icmp_signed("!=", words.fetches, i64(0))

    def products(self, tiles: int, a) -> list:
        """The sums of so many tiles: a component after the other of each tile and vector."""
        v, nv, words, n = self.v, self.nv, self.words, self.program.inputs
        builder = v.builder

        def term(index, carried):
            at, b, *acc = carried
            for j in range(n):
                panel = [v.load(b, j * nv + q) for q in range(nv)]
                for t in range(tiles):
                    x = v.broadcast(v.offset(at, t * v.itemsize))
                    for q in range(nv):
                        place = (t * nv + q) * n + j
                        acc[place] = v.fma(x, panel[q], acc[place])
                at = builder.add(at, words.component)
            return [at, v.offset(b, n * nv * v.nbytes), *acc]

        def row(index, carried):
            a, b, *acc = carried
            _, b, *acc = v.loop(words.terms, [a, b, *acc], term)
            return [builder.add(a, words.a_step), b, *acc]

        zeros = [v.zero] * (tiles * nv * n)
        return v.loop(words.n_rows, [a, words.b, *zeros], row)[2:]

    def store(self, outputs: list, c, left) -> None:
        """The outputs of a tile by the vectors of filters, so many of them."""
        v, builder, words = self.v, self.v.builder, self.words
        targets = []
        for i in range(self.m):
            target = builder.add(c, builder.mul(words.c_pitch, i64(i)))
            there = builder.icmp_signed("<", i64(i), left)
            targets.append(builder.select(there, target, words.spare))
        with builder.if_then(self.fetching):
            for target in targets:
                prefetch_vectors(v, builder.add(target, words.c_line), self.nv)
        with builder.if_else(self.whole) as (then, otherwise):
            with then:
                for q, i in itertools.product(range(self.nv), range(self.m)):
                    v.store(outputs[q][i], targets[i], q)
            with otherwise:
                for q, columns in enumerate(self.columns):
                    at = [v.offset(target, q * v.nbytes) for target in targets]
                    store_parts(v, outputs[q], at, columns)

    def group(self, tiles: int, index, carried) -> list:
        """So many neighbouring tiles."""
        v, builder, n = self.v, self.v.builder, self.program.inputs
        a, c, left, total = carried
        acc = self.products(tiles, a)
        for t in range(tiles):
            values = []
            for q, start in enumerate(self.starts):
                place = (t * self.nv + q) * n
                sums = emit(v, self.program, acc[place : place + n])
                values.append([builder.fadd(value, start) for value in sums])
                for value in values[-1]:
                    total = builder.fadd(total, value)
            self.store(
                [[v.at_least(value, self.floor) for value in some] for some in values], c, left
            )
            c = builder.add(c, builder.mul(self.words.c_pitch, i64(self.m)))
            left = builder.sub(left, i64(self.m))
        return [v.offset(a, tiles * v.itemsize), c, left, total]

    def lines(self, mt: int, least: int) -> None:
        """All lines; a flag if a result is not finite."""
        v, builder, words = self.v, self.v.builder, self.words
        groups = [(mt, words.wide)]
        if least < mt:
            groups.append((least, words.narrow))

        def line(index, carried):
            a, c, total = carried
            state = [a, c, words.pixels, total]
            for tiles, count in groups:
                state = v.loop(count, state, functools.partial(self.group, tiles))
            return [builder.add(a, words.a_line), builder.add(c, words.c_line), state[-1]]

        # The total is not finite from the first result on that is not.  (These are stored as well:
        # the optimiser, which may reorder sums, does not take them apart to cancel terms.)
        total = v.loop(words.n_lines, [words.a, words.c, v.zero], line)[2]
        v.raise_flag(v.fma(total, v.zero, v.zero), words.flag)


def _multiply(v: Vectors, sizes, *words):
    m, r, mt, least, nv = sizes
    _Filtering(v, m, r, nv, _Words(*words)).lines(mt, least)


_apply = emitted({"multiply": _multiply})


@functools.cache
def tile_filtering(itemsize: int, m: int, r: int, mt: int, least: int, nv: int) -> dict[str, int]:
    """Lines of outputs: ``wide`` times ``mt`` neighbouring tiles × ``nv`` vectors of filters.

    Then ``narrow`` times one tile less, if ``least`` is that.  A line's first components, those of
    the ``terms`` one after the other, are ``component`` bytes apart from ``a`` on, and ``a_step``
    bytes from those of the next of ``n_rows`` rows of the window.  B is ``[row][term][component]``.
    Output i goes to ``c + i·c_pitch``, of it so many ``columns``; those from ``pixels`` on to
    ``spare``.  The next of ``n_lines`` lines is ``a_line`` and ``c_line`` bytes on; what it stores
    to is prefetched if ``fetches`` is not 0.

    Sets the word at ``flag`` if a result is not finite: the map mixes the sums of a tile, so one
    NaN or Inf spoils outputs that it should not reach.
    """
    body = named("multiply", m, r, mt, least, nv)

    @callee
    def multiply(
        n_lines, wide, narrow, a, a_line, a_step, component, n_rows, terms, b, init, relu, c,
        c_line, c_pitch, pixels, columns, fetches, spare, flag,
    ):  # fmt: skip
        _apply(
            element(itemsize), body, n_lines, wide, narrow, a, a_line, a_step, component, n_rows,
            terms, b, init, relu, c, c_line, c_pitch, pixels, columns, fetches, spare, flag,
        )  # fmt: skip

    return dict(multiply=multiply.address, mr=mt, nr=nv * lanes(itemsize))
