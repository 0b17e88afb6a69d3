"""The linear maps of the bilinear algorithms, each between a tile and its components.

A correlation of m outputs with r taps along each axis is y = O[(W w) ⊙ (I x)]: the maps I and W
spread a tile of inputs or of taps to components, O gathers components to a tile of outputs.  The
weight gradient is the adjoint, dw = Wᵀ[(Oᵀ dy) ⊙ (I x)]: it needs Oᵀ, which spreads, and Wᵀ.
Each map works on one axis of the tile after the other.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

from .cook_toom import Matrix, cook_toom
from .factoring import from_matrix
from .flow import transpose
from .fourier import Maps, fourier
from .program import Program

# The maps of an algorithm; OUTPUT and WEIGHT_GRADIENT gather, the others spread.
INPUT, WEIGHT, OUTPUT, GRADIENT, WEIGHT_GRADIENT = range(5)

# Where maps come from: products of two one-dimensional ones, or Fourier transforms.
COOK_TOOM, FOURIER = range(2)


class Rows(NamedTuple):
    """``count`` times ``lines`` rows, interleaved value by value, mapped by ``program``."""

    count: int
    lines: int
    program: Program


class TileMap(NamedTuple):
    """A map between a tile of ``rows`` × ``columns`` and its components.

    To components, ``vertical`` maps every column, then ``horizontal`` the rows that result; their
    outputs are numbered in order.  To a tile, ``horizontal`` goes first.
    """

    rows: int
    columns: int
    vertical: Program
    horizontal: tuple[Rows, ...]


class Tiling(NamedTuple):
    """Tiles of m outputs with r taps along the rows and along the columns."""

    m_rows: int
    r_rows: int
    m_columns: int
    r_columns: int
    method: int = COOK_TOOM

    @property
    def rows(self) -> int:
        """Inputs of a tile along the rows."""
        return self.m_rows + self.r_rows - 1

    @property
    def columns(self) -> int:
        return self.m_columns + self.r_columns - 1

    @property
    def components(self) -> int:
        """Products for a tile."""
        if self.method == FOURIER:
            return 3 * self.rows**2 // 2 - 2
        return self.rows * self.columns


def tile_map(which: int, tiling: Tiling) -> TileMap:
    """One of the maps of a tiling."""
    return (_fourier_map if tiling.method == FOURIER else _cook_toom_map)(which, tiling)


def map_cycles(which: int, tiling: Tiling) -> int:
    """About how many cycles a map takes, without making its program: one for each instruction.

    Or two for those of Fourier transforms, whose values do not fit the registers.
    """
    if tiling.method == FOURIER:
        return 2 * _fourier_work(which, tiling)
    return _cook_toom_work(which, tiling)


def _gathers(which: int) -> bool:
    return which in (OUTPUT, WEIGHT_GRADIENT)


def _adjoint(which: int) -> bool:
    return which in (GRADIENT, WEIGHT_GRADIENT)


@functools.cache
def _matrix(which: int, m: int, r: int) -> Matrix:
    matrices = cook_toom(m, r)
    if which == INPUT:
        return matrices.input
    matrix = matrices.weight if which in (WEIGHT, WEIGHT_GRADIENT) else matrices.output
    return tuple(zip(*matrix, strict=True)) if _adjoint(which) else matrix


@functools.cache
def axis_program(which: int, m: int, r: int) -> Program:
    """A map along one axis."""
    return from_matrix(_matrix(which, m, r))


@functools.cache
def _cook_toom_map(which: int, t: Tiling) -> TileMap:
    vertical = axis_program(which, t.m_rows, t.r_rows)
    horizontal = axis_program(which, t.m_columns, t.r_columns)
    if _gathers(which):
        rows, columns, middle = len(vertical.results), len(horizontal.results), vertical.inputs
    else:
        rows, columns, middle = vertical.inputs, horizontal.inputs, len(vertical.results)
    return TileMap(rows, columns, vertical, (Rows(middle, 1, horizontal),))


@functools.cache
def _fourier_map(which: int, t: Tiling) -> TileMap:
    maps = fourier(t.rows, t.r_rows, t.r_columns)
    some = (
        maps.input
        if which == INPUT
        else maps.output
        if which in (OUTPUT, GRADIENT)
        else maps.weight
    )
    if _adjoint(which):
        some = Maps(*map(transpose, some))
    rows, columns = _extent(which, t)
    horizontal = (Rows(2, 1, some.real), Rows(t.rows // 2 - 1, 2, some.complex))
    return TileMap(rows, columns, some.column, horizontal)


def _extent(which: int, t: Tiling) -> tuple[int, int]:
    """Rows and columns of the tile of a map."""
    if which == INPUT:
        return t.rows, t.columns
    if which in (OUTPUT, GRADIENT):
        return t.m_rows, t.m_columns
    return t.r_rows, t.r_columns


@functools.cache
def _cook_toom_work(which: int, t: Tiling) -> int:
    vertical, horizontal = (_matrix(which, *axis) for axis in (t[:2], t[2:4]))
    columns = len(horizontal) if _gathers(which) else len(horizontal[0])
    lines = len(vertical[0]) if _gathers(which) else len(vertical)

    def instructions(matrix: Matrix) -> int:
        return _moves(len(matrix[0]), len(matrix)) + _arithmetic(matrix)

    return columns * instructions(vertical) + lines * instructions(horizontal)


def _arithmetic(matrix: Matrix) -> int:
    """Shared subexpressions save four in ten additions."""
    return 6 * sum(x != 0 for row in matrix for x in row) // 10


@functools.cache
def axis_instructions(which: int, m: int, r: int) -> int:
    """About how many vector instructions a map along one axis takes, without loads and stores."""
    return _arithmetic(_matrix(which, m, r))


@functools.cache
def _fourier_work(which: int, t: Tiling) -> int:
    length, columns = t.rows, _extent(which, t)[1]
    real = int(1.05 * length * math.log2(length))
    complex_pair = int(2.3 * length * math.log2(length)) + 3 * length
    moved = (columns + length) * _moves(length, 0) + _moves(0, columns * length + t.components)
    return columns * real + 2 * real + (length // 2 - 1) * complex_pair + moved


def _moves(loads: int, stores: int) -> int:
    """A store takes the time of two loads."""
    return loads + 2 * stores
