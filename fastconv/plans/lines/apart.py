"""Channels-last pixels of a few channels, which a task makes planes of before it reads them."""

from __future__ import annotations

from fastconv.core.jit import call, inner
from fastconv.core.machine import machine
from fastconv.core.workspace import odd_lines
from fastconv.gemm.windows import WINDOW
from fastconv.plans.correlation import Correlation
from fastconv.plans.depthwise.planes import Planes
from fastconv.simd.copying import copy
from fastconv.simd.interleaving import joiner, separator
from fastconv.simd.vector import lanes

_MOST, _MOST_READ_AGAIN = 8, 12  # channels; of those that several taps read
_MOST_NEAR, _FEW_ROWS = 48, 2  # of those whose planes, for so many rows of outputs, stay near
_EMPTY = 3  # times the filters that leave most of a vector empty

# The function that separates the planes of x (0: they are apart), x, the rows that a task needs,
# where their planes are in its scratch, and bytes from one to the next.
APART = "separate x xn xh x_pixel window_rows pixels x_plane "
WINDOW_BYTES = WINDOW.itemsize  # of the record that a worker has of its own


def soon_planes(c: Correlation, itemsize: int) -> bool:
    """Whether pixels of channels and of filters are so few elements, all read, and rows long."""
    few = c.groups == 1 and c.channels <= _most_channels(c, itemsize) and c.filters <= _MOST
    return few and _all_read(c) and _rows_are_long(c, itemsize)


def soon_planes_of_groups(c: Correlation, itemsize: int) -> bool:
    """Whether pixels of groups are as few each, and planes of a row of outputs stay near.

    (For a weight gradient, whose sums run along the planes; others have groups in their lanes.)
    """
    few = c.groups > 1 and max(c.channels, c.filters) <= _MOST
    x, y = c.rows.reach(1) * c.channels * c.columns.inputs, c.filters * c.columns.outputs
    near = 2 * c.groups * (x + y) * itemsize <= machine().l2 // 2
    return few and near and _all_read(c) and _rows_are_long(c, itemsize)


def _all_read(c: Correlation) -> bool:
    return all(axis.advance <= axis.window for axis in (c.rows, c.columns))


def _rows_are_long(c: Correlation, itemsize: int) -> bool:
    """Whether they have a vector of pixels, of which planes are made at a time."""
    return min(c.columns.inputs, c.columns.outputs) >= lanes(itemsize)


def _most_channels(c: Correlation, itemsize: int) -> int:
    """Making planes takes a few cycles a vector, what few filters leave empty of theirs far more.

    Planes of many channels have windows of few rows, though, which make most of them again.
    """
    if c.steps == c.channels:
        return _MOST
    row = c.channels * c.columns.inputs * itemsize
    near = 2 * c.rows.reach(_FEW_ROWS) * row <= machine().l2 // 4
    dense = c.rows.advance == c.columns.advance == 1
    empty = _EMPTY * c.filters <= lanes(itemsize)
    return _MOST_NEAR if near and dense and empty else _MOST_READ_AGAIN


def window_rows(c: Correlation, planes: Planes) -> int:
    """Rows of x that the ``planes`` of a task are packed from."""
    return (planes.shape[0] - 1) * c.rows.advance + planes.phases[0]


def plane_bytes(c: Correlation, planes: Planes, itemsize: int) -> int:
    """Of so many rows of x."""
    return odd_lines(window_rows(c, planes) * c.columns.inputs * itemsize)


def result_bytes(c: Correlation, rows: int, itemsize: int) -> int:
    """Of so many rows of a plane of results."""
    return odd_lines(rows * c.columns.outputs * itemsize)


def separating(itemsize: int, planes: int, pixel: int) -> int:
    """The address of the function that separates pixels so many bytes apart."""
    return separator(itemsize, planes, pixel == planes * itemsize).address


def joining(itemsize: int, planes: int, pixel: int) -> int:
    """That of the function that joins them."""
    return joiner(itemsize, planes, pixel == planes * itemsize).address


@inner
def window_at(a, scratch):
    """Where the record of the window is; if planes are made for it, in a worker's ``scratch``."""
    if a.separate == 0:
        return a.x_window
    copy(scratch, a.x_window, WINDOW_BYTES)
    return scratch


@inner
def make_planes(a, x, scratch, image, i0):
    """Make planes of the rows that a task reads from output row ``i0`` on.

    ``x``, the worker's own record of the window, is turned to them.
    """
    first = x.row_first + i0 * a.row_advance
    low = max(0, first)
    planes = scratch + a.pixels
    for h in range(low, min(x.height, first + a.window_rows)):
        source = a.x + image * a.xn + h * a.xh
        call(a.separate, planes + (h - low) * x.xh, a.x_plane, source, a.x_pixel, x.width)
    x.x = planes - low * x.xh
