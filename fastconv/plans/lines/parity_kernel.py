"""The kernel of strided input gradients of a few channels: lines, all parities of each pixel."""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, inner, kernel, record
from fastconv.core.profile import INPUT, MULTIPLY
from fastconv.gemm.windows import WINDOW, pack_block
from fastconv.simd.clock import lap, started
from fastconv.simd.copying import copy
from fastconv.simd.tasks import next_task
from fastconv.simd.tiles import TILE
from fastconv.simd.transposing import transpose_tile
from fastconv.simd.vector import element, lanes

from .line_kernel import locate_lines

LAYOUT = record(
    "counter profile tasks scratch scratch_bytes relu "
    # the result, whether it is on planes; rows and columns of it, all and of a block
    "y yn yg yk yh yw planes H W down across "
    # blocks along each axis; where the parities of a block go, in y and in scratch
    "I J places staged room_bytes "
    # packed filters, bytes of those of a group
    "w bias w_tile groups "
    # rows of blocks and groups of a task, tasks along either; how many in a row have the same
    # groups; the buffer of their window
    "task_i tasks_i task_g tasks_g turn buffer_rows buffer_columns",
    tile=TILE,
    input=WINDOW,
)


@inner
def _multiply(a, row, x, pitch, line, group, j, target, to, places):
    """A tile of blocks from ``j`` on."""
    call(
        a.tile.multiply, x + j * pitch, line, a.w + group * a.w_tile, a.bias + group * row, a.relu,
        target, to, places,
    )  # fmt: skip


@inner
def _line_to_rows(a, nbytes, row, x, pitch, line, y, down, group, tile):
    """Blocks of channels-last pixels, of which ``down`` rows are inside the result."""
    mr, step = a.tile.mr, a.across * a.yw
    for start in range(0, a.J, mr):
        j = min(start, a.J - mr)
        if down == a.down and (j + mr) * a.across <= a.W:
            _multiply(a, row, x, pitch, line, group, j, y + j * step, step, a.places)
        else:
            _multiply(a, row, x, pitch, line, group, j, tile, row, a.staged)
            for m in range(mr):
                for i in range(down):
                    for k in range(min(a.across, a.W - (j + m) * a.across)):
                        source = tile + m * row + (i * a.across + k) * nbytes
                        copy(y + i * a.yh + (j + m) * step + k * a.yw, source, nbytes)


@inner
def _line_to_planes(like, a, item, vector, row, x, pitch, line, y, down, group, pixels):
    """The same on planes: every row of the blocks, pixel after pixel, is transposed."""
    mr, nbytes = a.tile.mr, vector * item
    step = a.across * nbytes
    for start in range(0, a.J, mr):
        j = min(start, a.J - mr)
        _multiply(a, row, x, pitch, line, group, j, pixels + j * step, step, a.staged)
    for i in range(down):
        source = pixels + i * a.J * step
        for k in range(0, a.W, vector):
            transpose_tile(
                like, y + i * a.yh + k * item, a.yk, source + k * nbytes, nbytes,
                min(vector, a.W - k), vector,
            )  # fmt: skip


@functools.cache
def parity_kernel(itemsize: int) -> Kernel:
    """Implicit GEMM with tiles of blocks of one line × a vector of filters for each parity.

    The last tile of a line begins a tile before its end, and computes some blocks again.
    """
    vector = lanes(itemsize)

    @kernel(LAYOUT)
    def parities(worker, a):
        like = element(itemsize)
        row, pitch = a.tile.nr * itemsize, a.input.block * itemsize
        line = a.buffer_columns * pitch
        room = a.scratch + worker * a.scratch_bytes
        buffer = room + a.room_bytes
        clock = started(a.profile)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            first, image, i0 = locate_lines(a, task)
            for group in range(first, min(first + a.task_g, a.groups)):
                pack_block(
                    like, a.input, itemsize, buffer, image, group, 0, a.input.row_first + i0,
                    a.buffer_rows, a.input.column_first, a.buffer_columns,
                )  # fmt: skip
                clock = lap(a.profile, worker, INPUT, clock)
                for i in range(min(a.task_i, a.I - i0)):
                    x, top = buffer + i * line, (i0 + i) * a.down
                    y = a.y + image * a.yn + group * a.yg + top * a.yh
                    down = min(a.down, a.H - top)
                    if a.planes:
                        _line_to_planes(
                            like, a, itemsize, vector, row, x, pitch, line, y, down, group, room
                        )
                    else:
                        _line_to_rows(
                            a, vector * itemsize, row, x, pitch, line, y, down, group, room
                        )
                clock = lap(a.profile, worker, MULTIPLY, clock)

    return parities
