"""Register tiles as functions, which kernels call by their address.

So a kernel is compiled once, whatever the tile.  :mod:`.microkernel` and :mod:`.window_tiles` say
what a tile computes.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Function, callee, record

from .dots import emit_dots, emit_tap_dots
from .emitted import emitted, named
from .flat import emit_flat, emit_flat_products
from .line import emit_line
from .microkernel import emit_packed, emit_pitched, emit_rows
from .panel import emit_panel, emit_planes
from .sliding import emit_sliding
from .vector import element, lanes
from .window_tiles import emit_lanes, emit_parities, emit_planar

_multiply = emitted(
    {
        "rows": emit_rows,
        "pitched": emit_pitched,
        "packed": emit_packed,
        "dots": emit_dots,
        "tap-dots": emit_tap_dots,
        "line": emit_line,
        "parities": emit_parities,
        "lanes": emit_lanes,
        "panel": emit_panel,
        "sliding": emit_sliding,
        "planes": emit_planes,
        "planar": emit_planar,
        "flat": emit_flat,
        "flat-products": emit_flat_products,
    }
)

# What a kernel needs in its arguments to multiply by a register tile: the address of its function,
# its rows and columns.
TILE = record("multiply mr nr")


def _tile(function: Function, itemsize: int, mr: int, nv: int) -> dict[str, int]:
    return dict(multiply=function.address, mr=mr, nr=nv * lanes(itemsize))


@functools.cache
def tile_rows(itemsize: int, mr: int, nv: int) -> dict[str, int]:
    """The tile with row m of A at ``a_rows[m] + a_shift``; steps are consecutive elements.

    Row m of the result goes to ``c_rows[m] + c_shift``, the table's entries ``c_step`` bytes apart.
    """
    tile = named("rows", mr, nv)

    @callee
    def rows(
        a_rows, a_shift, runs, n_runs, length, b, init, pitch, relu, c_rows, c_step, c_shift
    ):  # fmt: skip
        _multiply(
            element(itemsize), tile, a_rows, a_shift, runs, n_runs, length, b, init,
            pitch, relu, c_rows, c_step, c_shift,
        )  # fmt: skip

    return _tile(rows, itemsize, mr, nv)


@functools.cache
def tile_pitched(itemsize: int, mr: int, nv: int) -> dict[str, int]:
    """``count`` tiles, one below the other, all by the same B and with the same ``init``.

    Row m of A is at ``a + m·a_pitch``, of the result at ``c + m·c_pitch``, of which so many
    ``columns`` are stored.  Every step prefetches the cache line at ``fetch``, which moves by
    ``fetch_step``.
    """
    tile = named("pitched", mr, nv)

    @callee
    def pitched(
        count, a, a_pitch, length, b, fetch, fetch_step, init, pitch, relu, c, c_pitch, columns
    ):  # fmt: skip
        _multiply(
            element(itemsize), tile, count, a, a_pitch, length, b, fetch, fetch_step, init, pitch,
            relu, c, c_pitch, columns,
        )  # fmt: skip

    return _tile(pitched, itemsize, mr, nv)


@functools.cache
def tile_dots(itemsize: int, mr: int, nk: int) -> dict[str, int]:
    """The tile of ``mr`` rows × ``nk`` filters whose sums run along the lanes.

    Row m of A is at ``a + m·a_pitch``, filter k at ``b + k·b_pitch``; the results ``[row][filter]``
    stand together at ``c``, and what they begin with at ``init``.
    """
    tile = named("dots", mr, nk)

    @callee
    def dots(a, a_pitch, length, b, b_pitch, init, relu, c):
        _multiply(element(itemsize), tile, a, a_pitch, length, b, b_pitch, init, relu, c)

    return _tile(dots, itemsize, mr, 1)


@functools.cache
def tile_tap_dots(itemsize: int, mr: int, nt: int, fetched: int) -> dict[str, int]:
    """The tile of ``mr`` rows × ``nt`` taps whose sums run along the lanes.

    Row m of A is at ``a + m·a_pitch``, what it meets of tap t at ``b + taps[t]``: ``length``
    elements of each of ``n_rows`` rows, which are ``a_row`` and ``b_row`` bytes apart.  The results
    ``[row][tap]`` are added to what stands at ``sums``, in whole vectors.  Meanwhile as many rows
    of A are prefetched as ``fetched`` says, ``fetch`` being where the first is.
    """
    tile = named("tap-dots", mr, nt, fetched)

    @callee
    def tap_dots(a, a_pitch, a_row, b, b_row, taps, n_rows, length, fetch, sums):
        _multiply(
            element(itemsize), tile, a, a_pitch, a_row, b, b_row, taps, n_rows, length, fetch, sums
        )

    return dict(multiply=tap_dots.address, mr=mr, nr=nt)


@functools.cache
def tile_packed(itemsize: int, mr: int, nv: int, fetched: tuple[int, ...]) -> dict[str, int]:
    """``count`` tiles, ``a_step`` bytes apart in A and ``c_step`` in C, all by the same B.

    A is ``[run][block][row][lane]``: steps are the lanes of ``blocks`` vectors of each row, and
    ``rest`` of one more.  B is read step by step.  Row m of the result goes to ``c + m·c_pitch``,
    and with ``more`` (1, not 0) is added to what is there.

    While whole vectors of steps are multiplied cache lines are prefetched along several streams:
    with every four steps, or every vector of fewer, as many of each as ``fetched`` says.
    ``streams`` are records of eight words, the first three of them the address of the first line,
    and the bytes to the next one and to the first one of the next tile.
    """
    tile = named("packed", mr, nv, *fetched)

    @callee
    def packed(count, a, a_step, runs, blocks, rest, b, streams, more, c, c_pitch, c_step):
        _multiply(
            element(itemsize), tile, count, a, a_step, runs, blocks, rest, b, streams, more, c,
            c_pitch, c_step,
        )  # fmt: skip

    return _tile(packed, itemsize, mr, nv)


@functools.cache
def tile_line(
    itemsize: int,
    mr: int,
    nv: int,
    held: int,
    taps: int,
    advance: int,
    spread: int,
    channels: int,
    groups: int,
    share: int,
    ahead: int,
) -> dict[str, int]:
    """``count`` tiles of ``mr`` pixels of a line, of so many ``channels``, beginning at ``a``.

    Those of several ``groups`` stand side by side, and have a ``share`` of the lanes each
    (0 of a single one, which has all).

    Pixel m sums ``taps`` of the line, ``m·advance + tap·spread`` for each, and the same of the
    ``n_rows`` lines of its window, which are ``a_step`` bytes apart.  B is ``[row][tap][channel]``;
    of a channel's taps so many are ``held``, all or one.
    Row m of the result goes to ``c + m·c_pitch``; if asked to look ``ahead``, every tile prefetches
    where the next one goes.  And it prefetches so many cache lines from ``fetch`` on.
    """
    tile = named("line", mr, nv, held, taps, advance, spread, channels, groups, share, ahead)

    @callee
    def line(count, a, a_step, n_rows, b, fetch, lines, init, relu, c, c_pitch):
        _multiply(
            element(itemsize), tile, count, a, a_step, n_rows, b, fetch, lines, init, relu, c,
            c_pitch,
        )  # fmt: skip

    return _tile(line, itemsize, mr, nv)


@functools.cache
def tile_parities(
    itemsize: int,
    mr: int,
    channels: int,
    groups: int,
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
) -> dict[str, int]:
    """The tile of ``mr`` pixels of a line whose windows are those of a vector for each parity.

    Along each axis: parities, taps of a window, and bit ``parity·taps + tap`` for each that has an
    effect.  It reads what ``tile_line`` does; B is ``[row][tap][channel][parity]``.  Vector j of
    pixel m goes to ``c + m·c_pitch + places[j]``.
    """
    sizes = (mr, channels, groups, *rows, *columns)
    tile = "parities " + " ".join(map(str, sizes))

    @callee
    def parities(a, a_step, b, init, relu, c, c_pitch, places):
        _multiply(element(itemsize), tile, a, a_step, b, init, relu, c, c_pitch, places)

    return _tile(parities, itemsize, mr, rows[0] * columns[0])


@functools.cache
def tile_lanes(
    itemsize: int, mr: int, nu: int, taps: int, advance: int, spread: int, inside: tuple[int, int]
) -> dict[str, int]:
    """The tile of ``mr`` pixels of a line, each by ``nu`` vectors of channels that stay apart.

    Pixel m sums what the ``n_rows`` lines of its window, ``x_step`` bytes apart, have at positions
    m·advance + tap·spread, ``pitch`` bytes apart, if they are ``inside`` (from, to) the line.  The
    weights are ``[row][tap][lane]``, those of the next vector ``w_unit`` bytes away.
    """
    tile = named("lanes", mr, nu, taps, advance, spread, *inside)

    @callee
    def in_lanes(x, x_step, pitch, n_rows, w, w_unit, init, relu, y, y_pitch):
        _multiply(
            element(itemsize), tile, x, x_step, pitch, n_rows, w, w_unit, init, relu, y, y_pitch
        )

    return _tile(in_lanes, itemsize, mr, nu)


@functools.cache
def tile_panel(itemsize: int, mr: int, nv: int, stretches: int, sliding: int) -> dict[str, int]:
    """The tile with the rows of A side by side in each of ``stretches``, ``a_pitch`` apart.

    A step moves A and B by so many bytes, and prefetches as many cache lines as it reads of B, from
    ``fetch`` on, which moves by ``fetch_step``.  The runs tell where each begins there, too.  The
    result goes where that of ``tile_rows`` does.

    With ``sliding`` taps (0 for none) rows are those of a window, ``[tap row][tap][channel]``,
    that moves by a tap a step; ``a_step`` must be the bytes of all channels.
    """
    tile = named("panel", mr, nv, stretches)
    if sliding:
        tile = named("sliding", mr, nv, stretches, sliding)

    @callee
    def panel(
        a, a_pitch, a_step, runs, n_runs, length, b, b_step, fetch, fetch_step, init, pitch, relu,
        c_rows, c_step, c_shift,
    ):  # fmt: skip
        _multiply(
            element(itemsize), tile, a, a_pitch, a_step, runs, n_runs, length, b, b_step, fetch,
            fetch_step, init, pitch, relu, c_rows, c_step, c_shift,
        )  # fmt: skip

    return _tile(panel, itemsize, mr, nv)


@functools.cache
def tile_planes(itemsize: int, mr: int, nv: int, stretches: int) -> dict[str, int]:
    """``count`` tiles of ``nv`` vectors of pixels, one beside the other, all by the same A.

    The rows of A are as in :func:`tile_panel`.  B is ``[tile][step][pixel]``.  What is prefetched
    begins ``fetch_tile`` bytes further with each tile.  Row m of the result goes to
    ``c + m·c_pitch``.
    """
    tile = named("planes", mr, nv, stretches)

    @callee
    def planes(
        count, a, a_pitch, a_step, length, b, fetch, fetch_step, fetch_tile, init, pitch, relu, c,
        c_pitch,
    ):  # fmt: skip
        _multiply(
            element(itemsize), tile, count, a, a_pitch, a_step, length, b, fetch, fetch_step,
            fetch_tile, init, pitch, relu, c, c_pitch,
        )  # fmt: skip

    return _tile(planes, itemsize, mr, nv)


@functools.cache
def tile_planar(itemsize: int, mr: int, nv: int) -> dict[str, int]:
    """``count`` tiles of ``mr`` filters × ``nv`` vectors of neighbouring pixels.

    In A the filters stand side by side, tap after tap.  Tap t of vector j is at
    ``x + places[j] + taps[t]``.  Filter m of the result goes to ``y + m·y_pitch + targets[j]``,
    what it begins with is at ``init + m·pitch + starts[j]``.  The next tile goes on with the next
    ``places`` and ``targets``, and begins likewise.
    """
    tile = named("planar", mr, nv)

    @callee
    def planar(count, a, x, places, taps, n_taps, init, pitch, starts, relu, y, y_pitch, targets):
        _multiply(
            element(itemsize), tile, count, a, x, places, taps, n_taps, init, pitch,
            starts, relu, y, y_pitch, targets,
        )  # fmt: skip

    return _tile(planar, itemsize, mr, nv)


@functools.cache
def tile_flat(
    itemsize: int, mr: int, down: int, across: int, advance: int, spread: int
) -> dict[str, int]:
    """The tile of ``mr`` lines by ``count`` vectors of elements one after the other.

    Line i sums ``down`` lines of x, ``i·advance + r·spread`` for each, ``line`` bytes apart; and
    ``across`` vectors of each, ``tap`` bytes apart.  Weights are ``[vector][row][tap][lane]``, and
    after those at ``last_w`` begin again, as does what sums begin with.  So many ``elements`` of a
    line are stored.
    """
    tile = named("flat", mr, down, across, advance, spread)

    @callee
    def flat(x, line, tap, count, w, last_w, init, relu, y, y_pitch, elements):
        _multiply(
            element(itemsize), tile, x, line, tap, count, w, last_w, init, relu, y, y_pitch,
            elements,
        )  # fmt: skip

    return dict(multiply=flat.address, mr=mr, nr=lanes(itemsize))


@functools.cache
def tile_flat_products(
    itemsize: int, mr: int, down: int, across: int, advance: int, spread: int
) -> dict[str, int]:
    """The products of ``mr`` lines of dy and all taps of x, which :func:`tile_flat` multiplies.

    Summed lane by lane over ``count`` vectors, ``step`` bytes apart, and ``rest`` elements of one
    more; and added to ``sums[row][tap][lane]``.
    """
    tile = named("flat-products", mr, down, across, advance, spread)

    @callee
    def products(x, line, tap, count, step, dy, dy_pitch, rest, sums):
        _multiply(element(itemsize), tile, x, line, tap, count, step, dy, dy_pitch, rest, sums)

    return dict(multiply=products.address, mr=mr, nr=lanes(itemsize))
