"""The kernels that apply a :class:`.TileMap` to tiles of vectors.

A vector holds neighbouring channels of one pixel.  The maps are straight-line programs over
vectors, run along one axis of a tile and then along the other; the values in between stay in a
buffer in the first-level cache.  Each map is a C function of its own, called by address, so that
one driver serves every tiling.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from fastconv.core.jit import Function, callee
from fastconv.simd.copying import LINE
from fastconv.simd.emitted import emitted, named
from fastconv.simd.vector import Vectors, element, i64

from .program import ZERO, Program
from .tile_map import WEIGHT, Rows, TileMap, Tiling, tile_map


def emit(v: Vectors, program: Program, values: list) -> list:
    """One vector instruction for each operation; the outputs."""
    known = list(values)
    for a, x, b, y in program.ops:
        if y < 0:
            known.append(v.builder.fmul(v.constant(a), known[x]))
        elif a == 1:
            known.append((v.builder.fadd if b > 0 else v.builder.fsub)(known[x], known[y]))
        else:
            other = known[y] if b > 0 else v.builder.fneg(known[y])
            known.append(v.fma(v.constant(a), known[x], other))
    return [v.zero if index == ZERO else known[index] for index in program.results]


def loop_times(v: Vectors, count: int, carried, body):
    """Loop a known number of times, without unrolling."""
    return v.loop(v.opaque(i64(count)), carried, body) if count > 1 else body(i64(0), carried)


def _interleaved(columns: int, lines: int) -> list[int]:
    """Where the values of ``lines`` rows are, in the order of their columns."""
    return [line * columns + j for j in range(columns) for line in range(lines)]


def _clipping(v: Vectors, m: TileMap, top, bottom, left, right):
    """``clip(j, addresses)``: those of column j of a tile; of zeros for what is not there.

    There are rows from ``top`` to before ``bottom``, and columns from ``left`` to before ``right``.
    """
    builder = v.builder

    def within(index, first, end):
        behind = builder.icmp_signed(">=", index, first)
        return builder.and_(behind, builder.icmp_signed("<", index, end))

    rows = [within(i64(i), top, bottom) for i in range(m.rows)]
    nothing = v.room(v.nbytes)
    v.store(v.zero, nothing)

    def clip(j, addresses: list) -> list:
        column = within(j, left, right)
        there = [builder.and_(row, column) for row in rows]
        return [builder.select(*one, nothing) for one in zip(there, addresses, strict=True)]

    return clip


def spread_columns(v: Vectors, m: TileMap, tile, row_step, column_step, temp, clip=None):
    """Map the columns of a tile, any bytes apart, to those of ``temp``.

    ``clip`` is a way of leaving out those that are not there.
    """

    def column(j, carried):
        tile, to = carried
        addresses = v.steps(tile, row_step, m.rows)
        values = [v.load(at) for at in (clip(j, addresses) if clip else addresses)]
        for i, value in enumerate(emit(v, m.vertical, values)):
            v.store(value, to, i * m.columns)
        return [v.builder.add(tile, column_step), v.offset(to, v.nbytes)]

    loop_times(v, m.columns, [tile, temp], column)


def _spread_row(v: Vectors, m: TileMap, rows: Rows, at) -> list:
    """The components of interleaved rows at ``at``, a line of the buffer each."""
    values = [v.load(at, i) for i in _interleaved(m.columns, rows.lines)]
    return emit(v, rows.program, values)


def spread_line(v: Vectors, m: TileMap, rows: Rows, at, targets: Sequence):
    """Map interleaved rows at ``at``; the address of the next."""
    for value, target in zip(_spread_row(v, m, rows, at), targets, strict=True):
        v.store(value, target)
    return v.offset(at, rows.program.inputs * v.nbytes)


def spread_tile(
    v: Vectors, m: TileMap, tile, row_step, column_step, components, step, temp, clip=None
):
    spread_columns(v, m, tile, row_step, column_step, temp, clip)
    carried = [temp, components]
    for rows in m.horizontal:

        def line(index, carried, rows=rows):
            at, to = carried
            *targets, after = v.steps(to, step, len(rows.program.results) + 1)
            return [spread_line(v, m, rows, at, targets), after]

        carried = loop_times(v, rows.count, carried, line)


def _stream_tiles(
    v: Vectors, m: TileMap, tiles: list, row_step, column_step, to, to_tile, step, temp
):
    """Map tiles whose components stand side by side, and send those past the caches together.

    Memory takes whole cache lines: written in parts they would be fetched and sent for each.
    """
    size = m.columns * len(m.vertical.results) * v.nbytes
    temps = [v.offset(temp, i * size) for i in range(len(tiles))]
    for tile, at in zip(tiles, temps, strict=True):
        spread_columns(v, m, tile, row_step, column_step, at)
    carried = [to, *temps]
    for rows in m.horizontal:

        def line(index, carried, rows=rows):
            to, *temps = carried
            *targets, after = v.steps(to, step, len(rows.program.results) + 1)
            spread = [_spread_row(v, m, rows, at) for at in temps]
            for target, *abreast in zip(targets, *spread, strict=True):
                places = v.steps(target, to_tile, len(tiles))
                for value, place in zip(abreast, places, strict=True):
                    v.stream(value, place)
            moved = rows.program.inputs * v.nbytes
            return [after, *[v.offset(at, moved) for at in temps]]

        carried = loop_times(v, rows.count, carried, line)


def gather_line(v: Vectors, m: TileMap, rows: Rows, sources: Sequence, to):
    """Map components to interleaved rows at ``to``; the address of the next."""
    values = emit(v, rows.program, [v.load(source) for source in sources])
    for i, value in zip(_interleaved(m.columns, rows.lines), values, strict=True):
        v.store(value, to, i)
    return v.offset(to, len(values) * v.nbytes)


def gather_columns(v: Vectors, m: TileMap, temp, tile, row_step, column_step, start, floor, spoilt):
    """Map the columns of ``temp`` to those of a tile, any bytes apart; ``spoilt`` by NaN or Inf."""
    builder = v.builder

    def column(j, carried):
        at, tile, spoilt = carried
        values = [v.load(at, i * m.columns) for i in range(m.vertical.inputs)]
        targets = v.steps(tile, row_step, m.rows)
        for value, target in zip(emit(v, m.vertical, values), targets, strict=True):
            value = builder.fadd(value, start)
            spoilt = v.fma(value, v.zero, spoilt)  # NaN from the first NaN or Inf on
            v.store(v.at_least(value, floor), target)
        return [v.offset(at, v.nbytes), builder.add(tile, column_step), spoilt]

    return loop_times(v, m.columns, [temp, tile, spoilt], column)[2]


def gather_tile(
    v: Vectors, m: TileMap, components, step, tile, row_step, column_step, temp, start, floor,
    spoilt,
):  # fmt: skip
    carried = [temp, components]
    for rows in m.horizontal:

        def line(index, carried, rows=rows):
            to, at = carried
            *sources, after = v.steps(at, step, rows.program.inputs + 1)
            return [gather_line(v, m, rows, sources, to), after]

        carried = loop_times(v, rows.count, carried, line)
    return gather_columns(v, m, temp, tile, row_step, column_step, start, floor, spoilt)


def _spread(
    v: Vectors, m: TileMap, count, tile, tile_step, row_step, column_step, components,
    component_tile, step, temp, clip=None,
):  # fmt: skip
    def one(index, carried):
        tile, components = carried
        spread_tile(v, m, tile, row_step, column_step, components, step, temp, clip)
        return [v.builder.add(tile, tile_step), v.builder.add(components, component_tile)]

    v.loop(count, [tile, components], one)


def _spread_clipped(v: Vectors, m: TileMap, *words):
    *words, top, bottom, left, right = words
    builder = v.builder
    whole = i64(0), i64(m.rows), i64(0), i64(m.columns)
    same = [
        builder.icmp_signed("==", *pair)
        for pair in zip((top, bottom, left, right), whole, strict=True)
    ]
    # Nearly all tiles of a large image are whole: those need no selects.
    with builder.if_else(functools.reduce(builder.and_, same)) as (then, otherwise):
        with then:
            _spread(v, m, *words)
        with otherwise:
            _spread(v, m, *words, _clipping(v, m, top, bottom, left, right))


def _gather(
    v: Vectors, m: TileMap, count, components, component_tile, step, tile, tile_step, row_step,
    column_step, temp, bias, bias_step, relu, flag,
):  # fmt: skip
    builder = v.builder
    floor = v.floor(relu)

    def one(index, carried):
        components, tile, bias, spoilt = carried
        start = v.load(bias)
        spoilt = gather_tile(
            v, m, components, step, tile, row_step, column_step, temp, start, floor, spoilt
        )
        steps = (component_tile, tile_step, bias_step)
        moved = map(builder.add, (components, tile, bias), steps)
        return [*moved, spoilt]

    v.raise_flag(v.loop(count, [components, tile, bias, v.zero], one)[3], flag)


def _map_taps(v: Vectors, tiling, *words):
    _spread(v, tile_map(WEIGHT, Tiling(*tiling)), *words)


def _stream_taps(
    v: Vectors, tiling, count, tile, tile_step, row_step, column_step, components, component_tile,
    step, temp,
):  # fmt: skip
    m, abreast = tile_map(WEIGHT, Tiling(*tiling)), vectors_abreast(v.nbytes)

    def several(index, carried):
        tile, components = carried
        *tiles, after = v.steps(tile, tile_step, abreast + 1)
        words = (row_step, column_step, components, component_tile, step, temp)
        _stream_tiles(v, m, tiles, *words)
        return [after, v.steps(components, component_tile, abreast + 1)[-1]]

    v.loop(v.builder.sdiv(count, i64(abreast)), [tile, components], several)


def _map_tiles(v: Vectors, sizes, *words):
    which, *tiling = sizes
    _spread_clipped(v, tile_map(which, Tiling(*tiling)), *words)


def _map_components(v: Vectors, sizes, *words):
    which, *tiling = sizes
    _gather(v, tile_map(which, Tiling(*tiling)), *words)


_apply = emitted(
    {
        "taps": _map_taps,
        "streamed-taps": _stream_taps,
        "spread": _map_tiles,
        "gather": _map_components,
    }
)


def vectors_abreast(nbytes: int) -> int:
    """Vectors of so many bytes that fill a cache line."""
    return max(1, LINE // nbytes)


@functools.cache
def spread_taps(itemsize: int, tiling: Tiling, streaming: bool = False) -> Function:
    """Map ``count`` tiles of vectors of taps, any bytes apart, to components ``step`` bytes apart.

    Tiles are ``tile_step`` bytes apart, their components ``component_tile``.  With ``streaming``
    the components go past the caches, of :func:`vectors_abreast` tiles together: they must stand
    side by side and fill cache lines, and ``temp`` has room for those of as many tiles.
    """
    body = named("streamed-taps" if streaming else "taps", *tiling)

    @callee
    def spread_taps(
        count, tile, tile_step, row_step, column_step, components, component_tile, step, temp
    ):
        _apply(
            element(itemsize), body, count, tile, tile_step, row_step, column_step, components,
            component_tile, step, temp,
        )  # fmt: skip

    return spread_taps


@functools.cache
def spread(itemsize: int, which: int, tiling: Tiling) -> Function:
    """The same of tiles of the input or of the output's gradient, which images may cut off.

    Only rows from ``top`` to before ``bottom`` and columns from ``left`` to before ``right`` are
    read, the others are zeros.
    """
    body = named("spread", which, *tiling)

    @callee
    def spread(
        count, tile, tile_step, row_step, column_step, components, component_tile, step, temp, top,
        bottom, left, right,
    ):  # fmt: skip
        _apply(
            element(itemsize), body, count, tile, tile_step, row_step, column_step, components,
            component_tile, step, temp, top, bottom, left, right,
        )  # fmt: skip

    return spread


@functools.cache
def gather(itemsize: int, which: int, tiling: Tiling) -> Function:
    """Map components to ``count`` tiles of vectors, add vectors of a bias; perhaps a ReLU.

    Tiles are ``tile_step`` bytes apart, their components ``component_tile``, their vectors of the
    bias ``bias_step``.

    Sets the word at ``flag`` if a result is not finite: the maps mix the values of a tile, so one
    NaN or Inf spoils outputs that it should not reach.
    """
    body = named("gather", which, *tiling)

    @callee
    def gather(
        count, components, component_tile, step, tile, tile_step, row_step, column_step, temp,
        bias, bias_step, relu, flag,
    ):  # fmt: skip
        _apply(
            element(itemsize), body, count, components, component_tile, step, tile, tile_step,
            row_step, column_step, temp, bias, bias_step, relu, flag,
        )  # fmt: skip

    return gather
