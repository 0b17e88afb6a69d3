"""From sums of a bilinear weight gradient to dw: gathering taps and storing them."""

from __future__ import annotations

from fastconv.core.jit import call, inner, record
from fastconv.core.workspace import aligned
from fastconv.simd.copying import LINE, fetch, zero
from fastconv.simd.transposing import transpose_tile
from fastconv.transforms.maps import gather
from fastconv.transforms.tile_map import WEIGHT_GRADIENT

from .grid import TileGrid
from .line_grid import LineGrid

# The map and the word it sets if dw is not finite; dw and its strides.
# Taps in the staging buffer, where those of a phase stand a stride apart: all, in a row; channels
# that are mapped together; lines that are consecutive there and in dw.
TAPS = record(
    "flag weight_map summed dw dk dc row_advance column_advance row_phases column_phases "
    "staged_taps staged_columns together lines line_taps width channels filters"
)


class StagedTaps:
    """The taps of dw on their way from the sums of ``grid``, in tiles of ``width`` filters."""

    def __init__(self, grid: TileGrid | LineGrid, vector: int, itemsize: int, width: int):
        self.grid, self.width = grid, width
        self.itemsize, self.vector = itemsize, vector
        t, c = grid.tiling, grid.c
        self.rows, self.columns = t.r_rows * grid.advance[0], t.r_columns * grid.advance[1]
        # Taps that stand as in dw are written for many channels at once, in whole cache lines.
        whole = (self.rows, self.columns) == (c.rows.window, c.columns.window)
        self.together = vector if whole else 1
        taps = self.together * self.rows * self.columns
        self.room_bytes = aligned((1 + taps + t.components) * vector * itemsize)

    def constants(self) -> dict[str, int]:
        """The arguments of :data:`TAPS`."""
        grid, c = self.grid, self.grid.c
        R, S = c.rows.window, c.columns.window
        return dict(
            weight_map=gather(self.itemsize, WEIGHT_GRADIENT, grid.tiling).address,
            summed=grid.tiling.components,
            row_advance=grid.advance[0],
            column_advance=grid.advance[1],
            row_phases=grid.phases[0],
            column_phases=grid.phases[1],
            staged_taps=self.rows * self.columns,
            staged_columns=self.columns,
            together=self.together,
            lines=1 if self.columns == S else R,
            line_taps=R * S if self.columns == S else S,
            width=self.width,
            channels=c.channels,
            filters=c.filters,
        )


@inner
def fetch_taps(a, group, k0, c0, c_end, part, parts):
    """Fetch one of equal parts of what :func:`gather_taps` will write."""
    n_lanes = min(a.width, a.filters - k0)
    target = a.dw + (group * a.filters + k0) * a.dk + c0 * a.dc
    for lane in range(part * n_lanes // parts, (part + 1) * n_lanes // parts):
        fetch(target + lane * a.dk, (c_end - c0) * a.dc // LINE + 1, LINE)


@inner
def gather_taps(like, a, item, vector, sums, component, group, k0, c0, c_end, room):
    """dw of channels ``c0`` … ``c_end`` for a tile of filters, ``k0`` and up, of a group.

    ``sums`` are those of channel 0, rows of filters; components are ``component`` bytes apart.
    """
    row, pixel = a.width * item, vector * item
    nothing = room
    staged = nothing + pixel
    temp = staged + a.together * a.staged_taps * pixel
    zero(nothing, pixel)
    phases = a.row_phases * a.column_phases
    n_lanes = min(a.width, a.filters - k0)
    for c in range(c0, c_end, a.together):
        together = min(a.together, c_end - c)
        for lane in range(0, n_lanes, vector):
            for at in range(together * phases):
                # The taps of a phase stand a stride apart.
                i, phase = at // phases, at % phases
                r, s = phase // a.column_phases, phase % a.column_phases
                source = sums + (phase * a.channels + c + i) * row + lane * item
                call(
                    a.weight_map, 1, source, 0, component,
                    staged + (i * a.staged_taps + r * a.staged_columns + s) * pixel, 0,
                    a.row_advance * a.staged_columns * pixel, a.column_advance * pixel, temp,
                    nothing, 0, 0, a.flag,
                )  # fmt: skip
            k = group * a.filters + k0 + lane
            count = together * a.line_taps
            for line in range(a.lines):
                target = a.dw + k * a.dk + c * a.dc + line * a.line_taps * item
                for t in range(0, count, vector):
                    transpose_tile(
                        like, target + t * item, a.dk,
                        staged + (line * a.staged_columns + t) * pixel, pixel,
                        min(vector, count - t), min(vector, n_lanes - lane),
                    )  # fmt: skip
