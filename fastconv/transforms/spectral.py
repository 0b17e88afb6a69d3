"""The kernels of spectra: correlate a tile with a filter, or add a tile's part of its gradient.

Each is a C function of its own, called by address.  Between the two maps along columns, a pair of
rows at a time is transformed, multiplied and transformed back while it is in the first-level cache.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Function, callee
from fastconv.simd.emitted import emitted, named
from fastconv.simd.vector import Vectors, element, i64

from .maps import (
    gather_columns,
    gather_line,
    gather_tile,
    loop_times,
    spread_columns,
    spread_line,
    spread_tile,
)
from .spectrum import Span, inverse, transform


def temp_vectors(rows: int, columns: int, inputs: int, outputs: int) -> int:
    """Vectors of scratch for a spectrum of ``rows`` × ``columns``.

    Tiles have ``inputs`` and ``outputs`` columns.
    """
    return 4 * columns + rows * (inputs + outputs)


def _addresses(v: Vectors, start, count: int) -> list:
    return [v.offset(start, i * v.nbytes) for i in range(count)]


def _products(v: Vectors, real: int, values: int, at, other, target, adding: bool):
    """``at`` times the conjugate of ``other``: ``real`` values, then pairs (re, im)."""
    for i in range(real):
        product = v.builder.fmul(v.load(at, i), v.load(other, i))
        v.store(v.builder.fadd(product, v.load(target, i)) if adding else product, target, i)

    def pair(index, carried):
        at, other, target = carried
        a, b, c, d = (v.load(here, i) for here in (at, other) for i in (0, 1))
        start = [v.load(target, i) for i in (0, 1)] if adding else [v.zero, v.zero]
        re = v.fma(b, d, v.fma(a, c, start[0]))
        im = v.fma(b, c, v.builder.fsub(start[1], v.builder.fmul(a, d)))
        v.store(re, target)
        v.store(im, target, 1)
        return [v.offset(here, 2 * v.nbytes) for here in carried]

    first = [v.offset(here, real * v.nbytes) for here in (at, other, target)]
    loop_times(v, (values - real) // 2, first, pair)


def _filter(key) -> tuple[Span, Span]:
    length, taps, first = key[:2], key[2:4], key[4:]
    rows, columns = map(Span, length, taps, first)
    return rows, columns


def _tiles(key) -> tuple[tuple[Span, Span], tuple[Span, Span]]:
    """The two tiles of a product of spectra."""
    one, other = (tuple(map(Span, key[:2], counts)) for counts in (key[2:4], key[4:]))
    return one, other


def _spread(v: Vectors, key, tile, row_step, column_step, spectrum, temp):
    m = transform(*_filter(key), weighted=True)
    spread_tile(v, m, tile, row_step, column_step, spectrum, i64(v.nbytes), temp)


def _restore(v: Vectors, key, spectrum, tile, row_step, column_step, temp, flag):
    m = inverse(*_filter(key), weighted=True)
    floor = v.floor(i64(0))
    spoilt = gather_tile(
        v, m, spectrum, i64(v.nbytes), tile, row_step, column_step, temp, v.zero, floor, v.zero
    )
    v.raise_flag(spoilt, flag)


def _correlate(
    v: Vectors, key, x, x_row, x_column, filters, y, y_row, y_column, temp, bias, relu, flag
):  # fmt: skip
    inside, outside = _tiles(key)
    forward, back = transform(*inside), inverse(*outside)
    line_bytes = 2 * key[1] * v.nbytes
    buffer, sent = temp, v.offset(temp, line_bytes)
    returned = v.offset(sent, key[0] * forward.columns * v.nbytes)
    spread_columns(v, forward, x, x_row, x_column, sent)
    carried = [sent, filters, returned]
    for forth, home in zip(forward.horizontal, back.horizontal, strict=True):

        def line(index, carried, forth=forth, home=home):
            at, other, to = carried
            values = len(forth.program.results)
            line = _addresses(v, buffer, values)
            at = spread_line(v, forward, forth, at, line)
            _products(v, 2 if forth.lines == 1 else 0, values, buffer, other, buffer, False)
            to = gather_line(v, back, home, line, to)
            return [at, v.offset(other, values * v.nbytes), to]

        carried = loop_times(v, forth.count, carried, line)
    start, floor = v.load(bias), v.floor(relu)
    spoilt = gather_columns(v, back, returned, y, y_row, y_column, start, floor, v.zero)
    v.raise_flag(spoilt, flag)


def _sum(v: Vectors, key, x, x_row, x_column, dy, dy_row, dy_column, target, temp):
    maps = [transform(*tile) for tile in _tiles(key)]
    line_bytes = 2 * key[1] * v.nbytes
    buffers = temp, v.offset(temp, line_bytes)
    first = v.offset(temp, 2 * line_bytes)
    second = v.offset(first, key[0] * maps[0].columns * v.nbytes)
    spread_columns(v, maps[0], x, x_row, x_column, first)
    spread_columns(v, maps[1], dy, dy_row, dy_column, second)
    carried = [first, second, target]
    for both in zip(*(m.horizontal for m in maps), strict=True):

        def line(index, carried, both=both):
            *at, target = carried
            values = len(both[0].program.results)
            after = [
                spread_line(v, m, rows, start, _addresses(v, buffer, values))
                for m, rows, start, buffer in zip(maps, both, at, buffers, strict=True)
            ]
            _products(v, 2 if both[0].lines == 1 else 0, values, *buffers, target, True)
            return [*after, v.offset(target, values * v.nbytes)]

        carried = loop_times(v, both[0].count, carried, line)


_apply = emitted({"spread": _spread, "restore": _restore, "correlate": _correlate, "sum": _sum})


@functools.cache
def filter_spectrum(
    itemsize: int, T_rows: int, T_columns: int, R: int, S: int, first_row: int, first_column: int
) -> Function:
    """Transform a filter of R × S vectors, whose first tap stands at the given position."""
    body = named("spread", T_rows, T_columns, R, S, first_row, first_column)

    @callee
    def filter_spectrum(tile, row_step, column_step, spectrum, temp):
        _apply(
            element(itemsize), body, tile, row_step, column_step, spectrum, temp,
        )  # fmt: skip

    return filter_spectrum


@functools.cache
def filter_gradient(
    itemsize: int, T_rows: int, T_columns: int, R: int, S: int, first_row: int, first_column: int
) -> Function:
    """The transposed map: the gradient's spectrum to its taps; flags what is not finite."""
    body = named("restore", T_rows, T_columns, R, S, first_row, first_column)

    @callee
    def filter_gradient(spectrum, tile, row_step, column_step, temp, flag):
        _apply(
            element(itemsize), body, spectrum, tile, row_step, column_step, temp, flag,
        )  # fmt: skip

    return filter_gradient


@functools.cache
def correlate(
    itemsize: int, T_rows: int, T_columns: int, n_rows: int, n_columns: int, m_rows: int,
    m_columns: int,
) -> Function:  # fmt: skip
    """Correlate a tile of n × n inputs with a filter, given as a spectrum, to m × m outputs.

    Adds the vector at ``bias``; perhaps a ReLU; flags what is not finite, as :func:`.maps.gather`.
    """
    body = named("correlate", T_rows, T_columns, n_rows, n_columns, m_rows, m_columns)

    @callee
    def correlate(
        x, x_row, x_column, spectrum, y, y_row, y_column, temp, bias, relu, flag
    ):  # fmt: skip
        _apply(
            element(itemsize), body, x, x_row, x_column, spectrum, y, y_row, y_column, temp, bias,
            relu, flag,
        )  # fmt: skip

    return correlate


@functools.cache
def add_gradient(
    itemsize: int, T_rows: int, T_columns: int, n_rows: int, n_columns: int, m_rows: int,
    m_columns: int,
) -> Function:  # fmt: skip
    """Add F(x) ⊙ conj(F(dy)) of n × n inputs and m × m gradients to a spectrum."""
    body = named("sum", T_rows, T_columns, n_rows, n_columns, m_rows, m_columns)

    @callee
    def add_gradient(x, x_row, x_column, dy, dy_row, dy_column, spectrum, temp):
        _apply(
            element(itemsize), body, x, x_row, x_column, dy, dy_row, dy_column, spectrum, temp,
        )  # fmt: skip

    return add_gradient
