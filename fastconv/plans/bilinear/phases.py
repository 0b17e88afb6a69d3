"""Joining the phases of a strided input whose channels are few: several of them fill a vector.

The lanes of a position are ``[phase of rows][phase of columns][channel]``; those of one phase of
rows, a *run*, stand side by side in channels-last memory.
"""

from __future__ import annotations

from fastconv.core.jit import inner, record
from fastconv.gemm.windows import WINDOW, element_at
from fastconv.simd.copying import copy_pieces, move, zero
from fastconv.simd.interleaving import MOST_PLANES, interleave

# A window to pack with the phases of its stride, most tiles of a segment of it; the map of a tile,
# its rows and columns; the bytes from one to the next of components, bundles of tiles, tiles,
# vectors of channels and phases in what it is spread to.
PHASES = record(
    "segment row_advance column_advance row_phases column_phases map map_rows map_columns "
    "v_component v_bundle v_tile v_block v_phase",
    window=WINDOW,
)


@inner
def _run(x):
    """Lanes of a phase of rows."""
    return x.column_phases * x.window.channels


@inner
def joined_blocks(x):
    """Vectors of all lanes of a position."""
    return -(-x.row_phases * _run(x) // x.window.vector)


@inner
def _some_lanes(like, x, item, target, at, lane, end, first, last, column):
    """Lanes from ``lane`` to before ``end`` of a run, element by element, of some positions.

    ``at`` is the row of the input; elements outside are left out.
    """
    window = x.window
    pixel = window.vector * item
    for k in range(lane, end):
        c, phase = k % window.channels, k // window.channels
        source, to = at + c * window.xc, target + (k - lane) * item
        for j in range(first, last):
            w = column + j * window.column_source + phase
            if 0 <= w < window.width:
                move(like, to + j * pixel, source + w * window.xw)


@inner
def _inside(x, column, width):
    """Which of ``width`` positions have their whole run inside a row: from, to before."""
    step = x.window.column_source
    low = min(width, max(0, (step - 1 - column) // step))
    return low, max(low, min(width, (x.window.width - x.column_phases - column) // step + 1))


@inner
def _join_row(like, x, item, target, at, lane, end, column, width, low, high, line):
    """Lanes from ``lane`` to before ``end`` of a run, at ``width`` positions of the row ``at``.

    ``line`` is room for what of the row is read.
    """
    window = x.window
    pixel, step = window.vector * item, window.column_source
    count = (high - low - 1) * step + x.column_phases
    source = at + (column + low * step) * window.xw
    if window.xw == item and 1 < window.channels <= MOST_PLANES and count >= window.vector:
        interleave(like, line, source, window.xc, window.channels, count)
        source = line
    elif window.xw != window.channels * item or (window.xc != item and window.channels > 1):
        high = low
    copy_pieces(
        like, target + low * pixel, pixel, source + lane * item, step * window.channels * item,
        high - low, end - lane,
    )  # fmt: skip
    if low > 0:
        _some_lanes(like, x, item, target, at, lane, end, 0, low, column)
    if high < width:
        _some_lanes(like, x, item, target, at, lane, end, high, width, column)


@inner
def join_phases(like, x, item, target, image, group, block, row, rows, column, width):
    """One vector of lanes of ``rows`` × ``width`` positions from (row, column) of the input on.

    Behind them there is room for what a row of them reads.
    """
    window = x.window
    pixel, run = window.vector * item, _run(x)
    line = target + rows * width * pixel
    begin, end = block * window.vector, (block + 1) * window.vector
    low, high = _inside(x, column, width)
    zero(target, rows * width * pixel)
    for phase in range(begin // run, min(x.row_phases, (end - 1) // run + 1)):
        lane, last = max(begin - phase * run, 0), min(end - phase * run, run)
        to = target + (phase * run + lane - begin) * item
        for i in range(rows):
            h = row + i * window.row_source + phase
            if 0 <= h < window.height:
                _join_row(
                    like, x, item, to + i * width * pixel,
                    element_at(window, image, group, 0, h, 0), lane, last, column, width, low, high,
                    line,
                )  # fmt: skip
