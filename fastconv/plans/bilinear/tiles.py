"""How a kernel divides the tiles of a bilinear correlation among its tasks.

Tiles are numbered image by image, row by row; a task is a stretch of them, cut into *segments* of
one row of tiles each, short enough for a copy of what they read to stay near, if there has to be
one; and into others, of which the outputs do.

* With a dilation d, every d-th row and column of an image is an image of its own (a *lattice*),
  whose neighbouring pixels are d apart.
* With a stride s, every s-th row and column of the input is an input of its own (a *phase*), which
  meets every s-th tap: the phases are further channels of a correlation with unit stride.
"""

from __future__ import annotations

from fastconv.core.jit import call, inner, record
from fastconv.gemm.windows import element_at, pack_block, positions_inside

from .phases import join_phases, joined_blocks

# Lattices along each axis, tiles along each axis of a lattice, all tiles; tiles of a task, and most
# of a segment of outputs.
# A tile's outputs along each axis, its components; scratch of a map between its axes.
# Tiles of a bundle, whose components stand together.
TILING = record(
    "lattice_rows lattice_columns grid_rows grid_columns all_tiles share output_segment "
    "m_rows m_columns components temp_bytes bundle"
)


@inner
def in_bundles(a, tile, bundle_bytes, tile_bytes):
    """The bytes in front of a tile."""
    return tile // a.bundle * bundle_bytes + tile % a.bundle * tile_bytes


@inner
def locate_tile(a, tile):
    """Where a tile is: image, first output row and column; the tile's number in its row.

    The outputs of the tile are ``lattice_rows`` and ``lattice_columns`` apart.
    """
    column, tile = tile % a.grid_columns, tile // a.grid_columns
    row, tile = tile % a.grid_rows, tile // a.grid_rows
    lattice_column, tile = tile % a.lattice_columns, tile // a.lattice_columns
    lattice_row, image = tile % a.lattice_rows, tile // a.lattice_rows
    i0 = lattice_row + row * a.m_rows * a.lattice_rows
    j0 = lattice_column + column * a.m_columns * a.lattice_columns
    return image, i0, j0, column


@inner
def input_at(tiling, x, group, tile):
    """Where what a tile and those behind it read of the input ``x`` begins."""
    image, i0, j0, _ = locate_tile(tiling, tile)
    row = x.window.row_first + i0 * x.row_advance
    return element_at(x.window, image, group, 0, row, x.window.column_first + j0 * x.column_advance)


@inner
def outputs_left(first, extent, step):
    """Outputs from ``first`` on, ``step`` apart."""
    return max(0, (extent - first + step - 1) // step)


@inner
def _whole(a, x, column, length):
    """The tiles of a segment whose columns are all inside the image: the first, behind the last."""
    window = x.window
    step = a.m_columns * window.column_source
    low = min(length, max(0, (step - 1 - column) // step))
    last = window.width - 1 - column - (x.map_columns - 1) * window.column_source
    return low, max(low, min(length, last // step + 1))


@inner
def _spread_vector(a, x, source, row_step, step, top, bottom, tile, count, to, room):
    """One vector of ``count`` tiles from ``tile`` on, whose pixels are ``step`` bytes apart.

    They have rows from ``top`` to before ``bottom``.
    """
    tile_step = a.m_columns * step
    k = 0
    while k < count:
        at = tile + k
        joined = min(count - k, a.bundle - at % a.bundle)
        call(
            x.map, joined, source + k * tile_step, tile_step, row_step, step,
            to + in_bundles(a, at, x.v_bundle, x.v_tile), x.v_tile, x.v_component, room, top,
            bottom, 0, x.map_columns,
        )  # fmt: skip
        k += joined


@inner
def _spread_in_place(
    a, x, item, image, group, block0, block_end, row0, column0, tile, length, to, room
):
    """A segment of one phase whose pixels are whole vectors of channels: read where they are."""
    window = x.window
    across = a.m_columns * window.column_source
    row_step, step = window.row_source * window.xh, window.column_source * window.xw
    source = element_at(window, image, group, block0 * window.vector, row0, column0)
    top, bottom = positions_inside(row0, window.row_source, x.map_rows, window.height)
    low, high = _whole(a, x, column0, length)
    single = block_end - block0 == 1
    if single:  # several tiles to a call
        _spread_vector(
            a, x, source + low * across * window.xw, row_step, step, top, bottom, tile + low,
            high - low, to, room,
        )  # fmt: skip
    for k in range(length):
        whole = low <= k < high
        if single and whole:
            continue
        left, right = 0, x.map_columns
        if not whole:
            left, right = positions_inside(
                column0 + k * across, window.column_source, right, window.width
            )
        call(
            x.map, block_end - block0, source + k * across * window.xw, window.vector * item,
            row_step, step, to + in_bundles(a, tile + k, x.v_bundle, x.v_tile), x.v_block,
            x.v_component, room, top, bottom, left, right,
        )  # fmt: skip


@inner
def _spread_copies(
    like, a, x, item, image, group, block0, block_end, row0, column0, tile, length, to, room
):
    """A segment of one phase from a copy, with zeros for what is outside the image."""
    pixel = x.window.vector * item
    buffer = room + a.temp_bytes
    width = (length - 1) * a.m_columns + x.map_columns
    for block in range(block0, block_end):
        pack_block(
            like, x.window, item, buffer, image, group, block, row0, x.map_rows, column0, width
        )
        # In a weight gradient the next phase overwrites lanes beyond the last channel.
        _spread_vector(
            a, x, buffer, width * pixel, pixel, 0, x.map_rows, tile, length,
            to + (block - block0) * x.v_block, room,
        )  # fmt: skip


@inner
def _spread_joined(like, a, x, item, image, group, row0, column0, tile, length, to, room):
    """A segment of all phases at once: so few channels that those of several fill a vector."""
    pixel = x.window.vector * item
    buffer = room + a.temp_bytes
    width = (length - 1) * a.m_columns + x.map_columns
    for block in range(joined_blocks(x)):
        join_phases(like, x, item, buffer, image, group, block, row0, x.map_rows, column0, width)
        _spread_vector(
            a, x, buffer, width * pixel, pixel, 0, x.map_rows, tile, length,
            to + block * x.v_block, room,
        )  # fmt: skip


@inner
def spread_tiles(like, a, x, item, joined, group, block0, block_end, first, count, target, room):
    """The components of ``count`` tiles from ``first`` on, for some vectors of channels of ``x``.

    ``room`` holds what the map keeps between its axes and the window of a segment.  ``joined`` is
    None unless phases share vectors: the compiler leaves out what is not needed.
    """
    in_place = x.window.xc == item and x.window.channels % x.window.vector == 0
    t = 0
    while t < count:
        image, i0, j0, column = locate_tile(a, first + t)
        length = min(count - t, a.grid_columns - column, x.segment)
        row0 = x.window.row_first + i0 * x.row_advance
        column0 = x.window.column_first + j0 * x.column_advance
        if joined is not None:
            _spread_joined(like, a, x, item, image, group, row0, column0, t, length, target, room)
        else:
            for phase in range(x.row_phases * x.column_phases):
                row, column = row0 + phase // x.column_phases, column0 + phase % x.column_phases
                to = target + phase * x.v_phase
                if in_place:
                    _spread_in_place(
                        a, x, item, image, group, block0, block_end, row, column, t, length, to,
                        room,
                    )  # fmt: skip
                else:
                    _spread_copies(
                        like, a, x, item, image, group, block0, block_end, row, column, t, length,
                        to, room,
                    )  # fmt: skip
        t += length
