"""How a kernel divides the output pixels among its tasks."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.core.jit import inner, record
from fastconv.gemm.results import PLACE
from fastconv.gemm.sharing import leave_idle
from fastconv.gemm.tiling import even_split
from fastconv.simd.copying import get_word

from .correlation import Correlation

# The grid of pixels, a task's share of it, the number of tasks along each axis, and how many tasks
# share the filters of one block of pixels.
GRID = record("tasks N I J task_n task_i task_j tasks_i tasks_j groups splits")

# The tables of the pixels of a block (:mod:`.pixels`), with room for so many pixels in each.
PIXELS = record("reading writing windows row_kinds column_kinds most")
TAPS_BYTES = 32  # of the taps that a tile's pixels need: top, bottom, left, right


def count_blocks(c: Correlation, n: int, i: int, j: int) -> int:
    """How many blocks of (n, i, j) pixels there are in a group."""
    return -(-c.N // n) * -(-c.rows.outputs // i) * -(-c.columns.outputs // j)


def fed(
    c: Correlation, n: int, i: int, j: int, tiles: int, workers: int, effort: Callable[..., int]
) -> tuple[int, int]:
    """A block's images and rows: n and i, or fewer where some workers would have no task.

    A block with one of the ``tiles`` of filters may be a task.  ``effort(n, i, j)`` is what a block
    costs: to cut it below a register tile saves nothing.
    """

    def taken(n: int, i: int) -> int:
        return -(-count_blocks(c, n, i, j) * tiles // workers) * effort(n, i, j)

    found = [(n, i)]
    while n * i > 1 and leave_idle(count_blocks(c, n, i, j) * tiles, workers):
        n, i = (even_split(c.N, n - 1), i) if n > 1 else (1, even_split(c.rows.outputs, i - 1))
        found.append((n, i))
    return min(found, key=lambda one: taken(*one))


@inner
def corner(a, block):
    """The first image, output row and output column of a block of pixels."""
    i = block // a.tasks_j
    return i // a.tasks_i * a.task_n, i % a.tasks_i * a.task_i, block % a.tasks_j * a.task_j


def grid(c: Correlation, share: tuple[int, int, int]) -> dict[str, int]:
    """The grid of pixels and a task's ``share`` (images, rows, columns) of it, as arguments."""
    n, i, j = share
    return dict(
        N=c.N,
        I=c.rows.outputs,
        J=c.columns.outputs,
        task_n=n,
        task_i=i,
        task_j=j,
        tasks_i=-(-c.rows.outputs // i),
        tasks_j=-(-c.columns.outputs // j),
    )


@inner
def locate(a, task):
    """Where a task is: split, group, first image, row and column; its images; its pixels; variant.

    The variant numbers the combinations of being last along n, i and j (see :mod:`.pixels`).
    """
    split, task = task % a.splits, task // a.splits
    group, task = task % a.groups, task // a.groups
    j0, task = task % a.tasks_j * a.task_j, task // a.tasks_j
    i0, n0 = task % a.tasks_i * a.task_i, task // a.tasks_i * a.task_n
    images, rows, columns = (
        min(a.task_n, a.N - n0),
        min(a.task_i, a.I - i0),
        min(a.task_j, a.J - j0),
    )
    variant = 4 if n0 + a.task_n >= a.N else 0
    variant += 2 if i0 + a.task_i >= a.I else 0
    variant += 1 if j0 + a.task_j >= a.J else 0
    return split, group, n0, i0, j0, images, images * rows * columns, variant


@inner
def tables_at(pixels, grid, mr, i0, j0, variant):
    """Of a block: where its pixels read, where they write, the windows of its tiles of ``mr``."""
    windows = pixels.windows + variant // 4 * (pixels.most // mr) * TAPS_BYTES
    windows += get_word(pixels.row_kinds + i0 // grid.task_i * 8)
    windows += get_word(pixels.column_kinds + j0 // grid.task_j * 8)
    most = variant * pixels.most
    return pixels.reading + most * 8, pixels.writing + most * PLACE, windows
