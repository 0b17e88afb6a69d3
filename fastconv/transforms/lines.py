"""Minimal filtering along lines of pixels: the sums of its components do not leave registers.

A window's rows, the phases of its stride and its channels are summed, all by components:

    y_i = Σ_j Aᵀ_ij Σ_terms (G w)_j · (Bᵀ x)_j

One function maps lines of the input, whose lanes are neighbouring tiles; one multiplies some tiles
by a vector of filters or more, and maps the sums before it stores the outputs; the adjoint, for the
weights, maps a vector of dy and multiplies it at once.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from llvmlite.ir import Value
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastconv.core.jit import Function, callee
from fastconv.simd.microkernel import prefetch_vectors
from fastconv.simd.vector import Vectors, element, i64, lanes, literal

from .maps import emit
from .tile_map import GRADIENT, INPUT, OUTPUT, axis_program


def _spread(v: Vectors, m: int, r: int, count, source, residue, target, component):
    builder, program = v.builder, axis_program(INPUT, m, r)

    def vector(index, carried):
        source, target = carried
        residues = [builder.add(source, builder.mul(residue, i64(k))) for k in range(m)]
        values = [
            v.load(v.offset(residues[k % m], k // m * v.itemsize)) for k in range(program.inputs)
        ]
        for j, value in enumerate(emit(v, program, values)):
            v.store(value, builder.add(target, builder.mul(component, i64(j))))
        return [v.offset(source, v.nbytes), v.offset(target, v.nbytes)]

    v.loop(count, [source, target], vector)


class _FilteringWords(NamedTuple):
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

    def __init__(self, v: Vectors, m: int, r: int, nv: int, words: _FilteringWords):
        self.v, self.m, self.nv, self.words = v, m, nv, words
        self.program = axis_program(OUTPUT, m, r)
        builder = v.builder
        self.starts, self.floor = [v.load(words.init, q) for q in range(nv)], v.floor(words.relu)
        self.whole = builder.icmp_signed("==", words.columns, i64(nv * v.lanes))
        left = [builder.sub(words.columns, i64(q * v.lanes)) for q in range(nv)]
        self.masks = [v.first_lanes(columns) for columns in left]
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
        places = list(itertools.product(range(self.nv), range(self.m)))
        with builder.if_else(self.whole) as (then, otherwise):
            with then:
                for q, i in places:
                    v.store(outputs[q][i], targets[i], q)
            with otherwise:
                for q, i in places:
                    v.store_some(outputs[q][i], v.offset(targets[i], q * v.nbytes), self.masks[q])

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


def _multiply(v: Vectors, m: int, r: int, mt: int, least: int, nv: int, *words):
    _Filtering(v, m, r, nv, _FilteringWords(*words)).lines(mt, least)


def _sum(
    v: Vectors, m: int, r: int, share: int, rows: int, terms: int, n_lines, tiles, a, a_line,
    a_step, a_term, component, b, b_line, b_pitch, pixels, nothing, fetches, u, u_component, u_row,
    u_term,
):  # fmt: skip
    builder, program = v.builder, axis_program(GRADIENT, m, r)
    fetching = builder.icmp_signed("!=", fetches, i64(0))
    next_line = builder.mul(n_lines, b_line)

    def sums_of(some: range):
        """Sum the products of some components."""
        first = builder.add(a, builder.mul(component, i64(some.start)))

        def tile(index, carried):
            at, b, left, *acc = carried
            values, sources = [], [builder.add(b, builder.mul(b_pitch, i64(i))) for i in range(m)]
            for i, source in enumerate(sources):
                there = builder.icmp_signed("<", i64(i), left)
                values.append(v.load(builder.select(there, source, nothing)))
            if some.start == 0:
                with builder.if_then(fetching):
                    for source in sources:
                        v.prefetch(builder.add(source, next_line))
            mapped = emit(v, program, values)
            place, row = 0, at
            for _ in range(rows):
                term = row
                for _ in range(terms):
                    x = term
                    for j in some:
                        acc[place] = v.fma(v.broadcast(x), mapped[j], acc[place])
                        x, place = builder.add(x, component), place + 1
                    term = builder.add(term, a_term)
                row = builder.add(row, a_step)
            b = builder.add(b, builder.mul(b_pitch, i64(m)))
            return [v.offset(at, v.itemsize), b, builder.sub(left, i64(m)), *acc]

        def line(index, carried):
            at, b, *acc = carried
            acc = v.loop(tiles, [at, b, pixels, *acc], tile)[3:]
            return [builder.add(at, a_line), builder.add(b, b_line), *acc]

        acc = [v.zero] * (rows * terms * len(some))
        acc = v.loop(n_lines, [first, b, *acc], line)[2:]
        row = builder.add(u, builder.mul(u_component, i64(some.start)))
        for _ in range(rows):
            term = row
            for _ in range(terms):
                target = term
                for _ in some:
                    v.store(builder.fadd(v.load(target), acc.pop(0)), target)
                    target = builder.add(target, u_component)
                term = builder.add(term, u_term)
            row = builder.add(row, u_row)

    for start in range(0, m + r - 1, share):
        sums_of(range(start, min(start + share, m + r - 1)))


_EMIT = {"spread": _spread, "multiply": _multiply, "sum": _sum}


@intrinsic(prefer_literal=True)
def _apply(typingctx, like, which, *words):
    """What is emitted, given by its name and sizes."""

    def codegen(context, builder, signature, arguments):
        name, *sizes = literal(signature.args[1]).split()
        values = cgutils.unpack_tuple(builder, arguments[2])
        _EMIT[name](Vectors(builder, signature.args[0]), *map(int, sizes), *values)
        return context.get_dummy_value()

    return types.void(like, which, types.StarArgUniTuple(types.int64, len(words))), codegen


@functools.cache
def line_map(itemsize: int, m: int, r: int) -> Function:
    """Map ``count`` vectors of neighbouring tiles.

    Elements k, k + m, … of a line stand together, ``residue`` bytes from those of k + 1; of the
    tiles each component does, ``component`` bytes from the next.
    """
    which = f"spread {m} {r}"

    @callee(5)
    def spread(count, source, residue, target, component):
        _apply(element(itemsize), which, count, source, residue, target, component)

    return spread


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
    which = f"multiply {m} {r} {mt} {least} {nv}"

    @callee(20)
    def multiply(
        n_lines, wide, narrow, a, a_line, a_step, component, n_rows, terms, b, init, relu, c,
        c_line, c_pitch, pixels, columns, fetches, spare, flag,
    ):  # fmt: skip
        _apply(
            element(itemsize), which, n_lines, wide, narrow, a, a_line, a_step, component, n_rows,
            terms, b, init, relu, c, c_line, c_pitch, pixels, columns, fetches, spare, flag,
        )  # fmt: skip

    return dict(multiply=multiply.address, mr=mt, nr=nv * lanes(itemsize))


@functools.cache
def tile_sums(itemsize: int, m: int, r: int, share: int, rows: int, terms: int) -> Function:
    """Products of the components of x and of dy, summed over the tiles of some lines.

    A vector of filters of dy: pixel i of a line is at ``b + i·b_pitch``, those from ``pixels`` on
    are zeros, which ``nothing`` is the address of.  The components of x are those of
    :func:`line_map`, ``a_step`` bytes from one row of a window to the next, ``a_term`` from term to
    term.  All sums, ``share`` components at a time, are added to those at ``u``.  The pixels of as
    many lines more are prefetched if ``fetches`` is not 0.
    """
    which = f"sum {m} {r} {share} {rows} {terms}"

    @callee(17)
    def sums(
        n_lines, tiles, a, a_line, a_step, a_term, component, b, b_line, b_pitch, pixels, nothing,
        fetches, u, u_component, u_row, u_term,
    ):  # fmt: skip
        _apply(
            element(itemsize), which, n_lines, tiles, a, a_line, a_step, a_term, component, b,
            b_line, b_pitch, pixels, nothing, fetches, u, u_component, u_row, u_term,
        )  # fmt: skip

    return sums
