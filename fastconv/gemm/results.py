"""Storing a register tile that cannot go straight to memory: part of a tile, or another order."""

from __future__ import annotations

from fastconv.core.jit import inner
from fastconv.simd.copying import copy, get_word, move, transpose_tile

# Where the result of a tile goes, from the strides of the output.
ROWS, PLANES, SCATTER = range(3)

# What a kernel that stores tiles needs in its arguments: the stride between lanes, and for SCATTER
# the table of lanes: (offset in bytes, row and column inside the block of outputs).
FIELDS = "store lane_step lane_table"


@inner
def _run(pixels, m, end, item):
    """Pixels from ``m`` on that lie side by side in memory."""
    length = 1
    while m + length < end and get_word(pixels + (m + length) * 8) == (
        get_word(pixels + m * 8) + length * item
    ):
        length += 1
    return length


@inner
def store_tile(like, a, item, vector, tile, row, pixels, room, m, count, lane, n_lanes):
    """Store ``count`` rows of a tile (``row`` bytes each) as pixels ``m …``, lanes ``lane …``.

    ``pixels`` is the table of their addresses; ``room`` that of the output rows and columns left
    of each (two words), which folded outputs beyond the border do not have.
    """
    if a.store == ROWS:
        for i in range(count):
            copy(get_word(pixels + (m + i) * 8) + lane * item, tile + i * row, n_lanes * item)
    elif a.store == PLANES:
        i = 0
        while i < count:
            length = _run(pixels, m + i, m + count, item)
            target = get_word(pixels + (m + i) * 8) + lane * a.lane_step
            for j in range(0, length, vector):
                for v in range(0, n_lanes, vector):
                    transpose_tile(
                        like, target + v * a.lane_step + j * item, a.lane_step,
                        tile + (i + j) * row + v * item, row,
                        min(vector, length - j), min(vector, n_lanes - v),
                    )  # fmt: skip
            i += length
    else:
        for i in range(count):
            target = get_word(pixels + (m + i) * 8)
            rows = get_word(room + (m + i) * 16)
            columns = get_word(room + (m + i) * 16 + 8)
            for v in range(n_lanes):
                entry = a.lane_table + (lane + v) * 24
                if get_word(entry + 8) < rows and get_word(entry + 16) < columns:
                    move(like, target + get_word(entry), tile + i * row + v * item)
