"""Correlation of tiles by Fourier transforms, as a bilinear algorithm with real products.

A tile d of T×T inputs is circularly correlated with a filter g of R×S taps; the first
(T−R+1)×(T−S+1) results do not wrap around and are kept (overlap-save):

    Y = F⁻¹[ F(d) ⊙ conj(F(g)) ]

Columns go first, by ``column``: T real inputs become the rows re_0, re_{T/2}, re_1, im_1, ….  The
first two rows are real and go by ``real``, every pair of rows (re_u, im_u) by ``complex``.

A complex frequency takes three real products (Gauss).  With a + ib of the input and c + id of the
weight, (a + ib)(c − id) has

    re = (a + b)·c − b·(c − d)
    im = (a + b)·c − a·(c + d)

so the maps of the input end in (a + b, a, b), those of the weight in (c, c + d, c − d), and those
of the output begin with re = p − r and im = p − q.  A real frequency is one product.  In a row of
products the two real frequencies come first, if any; there are 3T²/2 − 2 products in all.

The output's maps are the transposed transforms; what they lack to be inverses, a factor 2/T² and
one half for real frequencies, is part of the weight's.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from .dft import Complex, complex_spectrum, half_complex, real_spectrum
from .flow import transpose
from .graph import Graph, Part
from .program import ZERO, Op, Program


class Maps(NamedTuple):
    """The one-dimensional programs of a map of tiles.

    For input and weight ``column`` comes first; for the output it comes last.
    """

    column: Program
    real: Program  # one row of the tile
    complex: Program  # a pair of rows, interleaved element by element


class Fourier(NamedTuple):
    """The maps of the input (T×T), the weight (R×S) and the output ((T−R+1)×(T−S+1))."""

    input: Maps
    weight: Maps
    output: Maps


@functools.cache
def fourier(length: int, rows: int, columns: int) -> Fourier:
    """The maps for tiles of T = ``length`` and filters of ``rows`` × ``columns`` taps.

    Inputs of the weight's programs and results of the output's are only those that exist: R, S
    taps and T−R+1, T−S+1 results.  Raises ``ValueError`` when T is odd or below 2, or a filter's
    size is not between 1 and T.
    """
    for name, taps in (("rows", rows), ("columns", columns)):
        if not 1 <= taps <= length:
            raise ValueError(f"{name} must be between 1 and length={length}, got {taps}")
    real, pair = real_spectrum, complex_spectrum
    height, width = length - rows + 1, length - columns + 1
    return Fourier(
        Maps(
            real(length, length, half_complex),
            real(length, length, _real_frequencies_first(_input)),
            pair(length, length, _all_frequencies(_input)),
        ),
        Maps(
            prescaled(real(length, rows, half_complex), 2 / length**2),
            real(length, columns, _real_frequencies_first(_weight, 0.5)),
            pair(length, columns, _all_frequencies(_weight)),
        ),
        Maps(
            transpose(real(length, height, half_complex)),
            transpose(real(length, width, _real_frequencies_first(_output))),
            transpose(pair(length, width, _all_frequencies(_output))),
        ),
    )


def _input(graph: Graph, z: Complex) -> list[Part]:
    a, b = z
    return [graph.add((1, a), (1, b)), a, b]


def _weight(graph: Graph, z: Complex) -> list[Part]:
    c, d = z
    return [c, graph.add((1, c), (1, d)), graph.add((1, c), (-1, d))]


def _output(graph: Graph, z: Complex) -> list[Part]:
    """Transposed: p goes to re and im, q to −im, r to −re."""
    re, im = z
    return [graph.add((1, re), (1, im)), graph.add((-1, im)), graph.add((-1, re))]


def _all_frequencies(factors):
    return lambda graph, x: [part for z in x for part in factors(graph, z)]


def _real_frequencies_first(factors, scale=1):
    def finish(graph, x):
        half = len(x) // 2
        first = [graph.add((scale, x[0][0])), graph.add((scale, x[half][0]))]
        return first + [part for z in x[1:half] for part in factors(graph, z)]

    return finish


def prescaled(program: Program, factor: float) -> Program:
    """The program after its inputs are multiplied by ``factor``."""
    inputs = program.inputs

    def moved(index):
        return index if index == ZERO else index + inputs

    scalings = [Op(factor, i, 0, ZERO) for i in range(inputs)]
    ops = [op._replace(x=moved(op.x), y=moved(op.y)) for op in program.ops]
    return Program(inputs, (*scalings, *ops), tuple(map(moved, program.results)))
