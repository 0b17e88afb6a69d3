"""Where a weight gradient finds what it multiplies, block by block of pixels.

These are values of the kernel (:mod:`.weight_kernel`): addresses, sizes and distances in bytes.
"""

from __future__ import annotations

from typing import NamedTuple

from fastconv.core.jit import inner
from fastconv.plans.pixel_tasks import corner
from fastconv.simd.copying import get_word, line_from

from .next_pixels import RUN_BYTES, TABLES, in_a_row, table_bytes


class Block(NamedTuple):
    """Pixels that are summed in one go: the first of each axis, and how many there are."""

    n0: int
    i0: int
    j0: int
    images: int
    rows: int
    columns: int


class WorkerRoom(NamedTuple):
    """A worker's scratch, by address."""

    tables: int  # of the rows of a tile: in the sums, and in dw
    nothing: int  # zeros that sums begin with
    runs: int
    window: int
    columns: int  # gathered from the window
    gradient: int


class Left(NamedTuple):
    """Where x is, in bytes: the first pixel, and how far others are apart."""

    at: int
    image: int
    row: int  # from one output to that below, as are pixels to that beside
    pixel: int
    line: int  # from one input to that below
    point: int  # and to that beside


class Right(NamedTuple):
    """Where dy is, likewise; tiles of filters come first."""

    at: int
    tile: int
    image: int
    row: int
    pixel: int


class Unit(NamedTuple):
    """Sums that are added to in one go: those of a block of channels and a tile of filters."""

    group: int
    block: int
    tile: int


class Product(NamedTuple):
    """Outer products of one tap: runs of pixels, and where those of x and of dy are."""

    runs: int
    n_runs: int
    length: int
    x: int
    dy: int


@inner
def block_at(a, number):
    n0, i0, j0 = corner(a, number)
    images, rows, columns = (
        min(a.task_n, a.N - n0),
        min(a.task_i, a.I - i0),
        min(a.task_j, a.J - j0),
    )
    return Block(n0, i0, j0, images, rows, columns)


@inner
def unit_at(a, number):
    row = number // a.tiles_k
    return Unit(row // a.n_blocks, row % a.n_blocks, number % a.tiles_k)


@inner
def room_of(a, worker, row):
    """``row`` bytes have the lanes of a tile.  Tables are whole cache lines."""
    tables = a.scratch + worker * a.scratch_bytes
    nothing = tables + line_from(16 * a.tile.mr)
    runs = nothing + row
    window = line_from(runs + TABLES * table_bytes(a))
    columns = window + a.window_bytes
    return WorkerRoom(tables, nothing, runs, window, columns, columns + a.columns_bytes)


@inner
def left_of(a, x, item, room, block):
    line, point, image = x.row_source * x.xh, x.column_source * x.xw, x.xn
    h, w = x.row_first + block.i0 * a.row_stride, x.column_first + block.j0 * a.column_stride
    at = x.x + block.n0 * image + h * x.xh + w * x.xw
    if a.x_in_place == 0:
        at, point = room.window, x.block * item
        line = a.buffer_columns * point
        image = a.buffer_rows * line
    row, pixel = a.row_advance * line, a.column_advance * point
    if a.n_terms > 0:
        at, pixel = room.columns, a.pixel_step
        row = block.columns * pixel
        image = block.rows * row
    return Left(at, image, row, pixel, line, point)


@inner
def right_of(a, y, row, room, block):
    if a.dy_in_place != 0:
        at = y.x + block.n0 * y.xn + block.i0 * y.xh + block.j0 * y.xw
        return Right(at, row, y.xn, y.xh, y.xw)
    line = block.columns * row
    image = block.rows * line
    return Right(room.gradient, block.images * image, image, line, row)


@inner
def joined_lines(a, block, left, right):
    """The block as a single line, if all its pixels are one run of a product that has them all."""
    left_joins = in_a_row(block, left.pixel, left.row, left.image)
    if a.single != 0 and left_joins and in_a_row(block, right.pixel, right.row, right.image):
        columns = block.images * block.rows * block.columns
        return Block(block.n0, block.i0, block.j0, 1, 1, columns)
    return block


@inner
def product_of(a, room, left, right, block, r, s, x, dy):
    """That of tap ``s`` of tap row ``r``; it leaves out the outputs that read beyond a border."""
    top = max(0, get_word(a.row_reach + r * 16) - block.i0)
    bottom = min(block.rows, get_word(a.row_reach + r * 16 + 8) - block.i0)
    first = max(0, get_word(a.column_reach + s * 16) - block.j0)
    behind = min(block.columns, get_word(a.column_reach + s * 16 + 8) - block.j0)
    x += first * left.pixel + r * a.row_spread * left.line + s * a.column_spread * left.point
    n_runs = max(0, bottom - top) * block.images
    runs = room.runs + top * block.images * RUN_BYTES
    return Product(runs, n_runs, max(0, behind - first), x, dy + first * right.pixel)
