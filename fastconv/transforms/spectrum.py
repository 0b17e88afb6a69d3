"""Correlation of tiles of single channels by real Fourier transforms of two dimensions.

Along each axis of T positions the tile holds inputs x at 0 … n − 1 and gives outputs y at
0 … m − 1; tap u stands at u − p, modulo T:

    y_i = Σ_u w_u x_{i+u−p},    Y = F⁻¹[F(x) ⊙ conj(F(w))]

p zeros in front of the image need no room of their own, because the ends of a period meet: an
image with as much padding takes T ≥ max(n + p, m + r − 1 − p) for r taps.  With p = 0 that is
overlap-save.

Columns go first and become the rows re_0, re_{T/2}, re_1, im_1, …; then the first two, which are
real, go one by one and the others in pairs.  A spectrum is these rows in order: real ones begin
with their two real frequencies, everything else is pairs (re, im).  Nothing is summed over
channels, so products are plain complex ones: T² values here beat the 3T²/2 of :mod:`.fourier`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from .dft import Complex, complex_spectrum, half_complex, real_spectrum
from .flow import transpose
from .fourier import Maps, prescaled
from .graph import Graph, Part
from .program import Program
from .tile_map import Rows, TileMap


class Side(NamedTuple):
    """One axis of the tiles of a correlation, as above."""

    length: int  # T
    inputs: int  # n
    outputs: int  # m
    taps: int  # r
    shift: int  # p


class Span(NamedTuple):
    """``count`` values from position ``first`` on, among zeros, of a period of ``length``."""

    length: int
    count: int
    first: int = 0


@functools.cache
def transform(rows: Span, columns: Span, weighted: bool = False) -> TileMap:
    """The map of a tile to its spectrum, for the weight with the factors that F⁻¹ needs."""
    return _tile_map(rows, columns, _programs(rows, columns, weighted))


@functools.cache
def inverse(rows: Span, columns: Span, weighted: bool = False) -> TileMap:
    """The transposed map: with the factors, which either side may bring, it is F⁻¹."""
    maps = _programs(rows, columns, weighted)
    return _tile_map(rows, columns, Maps(*map(transpose, maps)))


def _tile_map(rows: Span, columns: Span, maps: Maps) -> TileMap:
    lines = Rows(2, 1, maps.real), Rows(rows.length // 2 - 1, 2, maps.complex)
    return TileMap(rows.count, columns.count, maps.column, lines)


@functools.cache
def _programs(rows: Span, columns: Span, weighted: bool) -> Maps:
    column = _real(rows)
    if weighted:
        column = prescaled(column, 2 / (rows.length * columns.length))
    return Maps(column, _real(columns, 0.5 if weighted else 1), _complex(columns))


@functools.cache
def _real(span: Span, scale: float = 1) -> Program:
    """Half of the spectrum; the two real frequencies, which come first, times ``scale``."""

    def finish(graph: Graph, x: list[Complex]) -> list[Part]:
        first, second, *others = half_complex(graph, x)
        return [graph.add((scale, first)), graph.add((scale, second)), *others]

    return real_spectrum(span.length, span.count, finish, span.first)


@functools.cache
def _complex(span: Span) -> Program:
    return complex_spectrum(
        span.length, span.count, lambda graph, x: [part for z in x for part in z], span.first
    )


def transform_instructions(lengths: tuple[int, int], counts: tuple[int, int]) -> int:
    """About how many vector instructions a map takes, either way, without making its program."""
    (rows, columns), (given_rows, given_columns) = lengths, counts
    return given_columns * _real_work(rows, given_rows) + rows * _real_work(columns, given_columns)


def product_instructions(lengths: tuple[int, int]) -> int:
    """The same for the product of two spectra: four to a pair, six loads and two stores."""
    return 7 * lengths[0] * lengths[1]


def _real_work(length: int, count: int) -> int:
    """Half of a complex transform; loads, and stores that take twice as long."""
    return int(1.05 * length * math.log2(length)) + 2 * length + count
