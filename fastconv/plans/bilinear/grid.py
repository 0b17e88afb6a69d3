"""The tiles of a bilinear algorithm over the outputs of a correlation with unit advance."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastconv.core.machine import machine
from fastconv.core.workspace import ALIGN, aligned
from fastconv.gemm.sharing import room_for_all
from fastconv.gemm.tiling import round_up
from fastconv.plans.correlation import Correlation
from fastconv.transforms.tile_map import (
    GRADIENT,
    INPUT,
    OUTPUT,
    WEIGHT,
    WEIGHT_GRADIENT,
    Tiling,
    map_cycles,
)

COMPONENT_BYTES = 8 << 20  # components of the tiles that a worker has at a time
_LINE = 16  # elements of a cache line, or of two
_ALIASED = 1 << 10  # bytes; rows a multiple of this apart compete for sets of the cache


_FEW_VECTORS = 6  # of a tile's components in the cache, while its filters are mapped there
_FEW_PANELS = 3  # of those while sums are
_LAST_CACHE = 3  # times as fast as memory
_SETUP = 4  # multiply-adds in the time that a vector of sums takes to start and to store


class Effort(NamedTuple):
    """Cycles of the steps, and bytes of components that do not fit the cache."""

    products: int  # multiply-adds
    tiles: int  # maps
    filters: int  # maps
    far: int  # bytes of memory

    @property
    def cycles(self) -> int:
        """To compare tilings: the cycles of a machine that moves 8 bytes of memory in each."""
        return self.products + self.tiles + self.filters + self.far // 8


def staggered(row_bytes: int) -> int:
    """``row_bytes``, or one cache line more where rows would compete for sets of the cache."""
    return row_bytes if row_bytes % _ALIASED else row_bytes + ALIGN


class TileGrid:
    """Tiles of ``tiling`` over every lattice of every image (see :mod:`.tiles`)."""

    streams = False  # whether inputs come and outputs go while others are multiplied

    def __init__(self, c: Correlation, tiling: Tiling):
        axes = (c.rows, c.columns)
        tile = (tiling.m_rows, tiling.m_columns)
        self.c = c
        self.tiling = tiling
        self.lattices = [axis.spread for axis in axes]
        self.advance = [axis.advance for axis in axes]
        self.phases = [min(axis.advance, axis.window) for axis in axes]
        self.depth = self.phases[0] * self.phases[1] * c.channels
        outputs = [-(-axis.outputs // axis.spread) for axis in axes]
        self.shape = [-(-n // m) for n, m in zip(outputs, tile, strict=True)]
        self.tiles = c.N * self.lattices[0] * self.lattices[1] * self.shape[0] * self.shape[1]

    def joined(self, vector: int) -> bool:
        """Whether phases have so few channels that several share a vector."""
        return self.phases != [1, 1] and self.c.channels < vector

    def effort(self, vector: int, itemsize: int, weight: bool) -> Effort:
        """What the steps take, for the result or for the weight gradient."""
        c, tiling = self.c, self.tiling
        lane_vectors = -(-c.lanes // vector)
        # The phases of a few channels share vectors.
        whole = c.channels if c.channels < vector else round_up(c.channels, vector)
        inputs = -(-self.phases[0] * self.phases[1] * whole // vector)
        on_lanes, on_weights = (GRADIENT, WEIGHT_GRADIENT) if weight else (OUTPUT, WEIGHT)
        maps = inputs * map_cycles(INPUT, tiling) + lane_vectors * map_cycles(on_lanes, tiling)
        filters = c.groups * self.depth * lane_vectors
        products = tiling.components * (self.depth + _SETUP) * lane_vectors
        tiles = self.tiles * c.groups
        # Components are stored and loaded again; what does not fit the cache goes to the last one,
        # and comes back while others are multiplied (tasks take no more tiles than that holds);
        # a weight gradient's, whose sums may be too many for it, to memory.  Filters need not where
        # there are few tiles, and sums not where the last cache has the components of all.
        pixel = vector * itemsize * tiling.components
        tile = pixel * (-(-self.depth // vector) + lane_vectors)
        last = not weight or self.few_tiles(pixel, tiles * tile)
        few = last if weight else _FEW_VECTORS * self.tiles * pixel <= machine().l2 // 2
        passed = [(tiles * tile, 56 * tile)]
        if not few:
            passed.append((pixel * filters,) * 2)
        far = 2 * sum(n for n, near in passed if near > machine().l2)
        far = far // _LAST_CACHE if last else far
        return Effort(tiles * products, tiles * maps, filters * map_cycles(on_weights, tiling), far)

    def few_tiles(self, pixel: int, components: int) -> bool:
        """Whether weight gradients may sum all tiles at once, of few channels at a time.

        The cache holds those of a vector of either operand, of ``pixel`` bytes, and the last one
        all of both, so many bytes.
        """
        near = self.phases == [1, 1] and _FEW_PANELS * self.tiles * pixel <= machine().l2
        return near and components <= room_for_all()

    def segment(self, share: int, channels: int, vector: int, pixel: int) -> int:
        """Most tiles whose inputs are copied together, in tasks of ``share``.

        The copy stays in the first-level cache, unless whole vectors of channels may be on planes
        (NCHW), where long rows are what counts.
        """
        room = machine().l1 // 2
        if channels >= vector:
            room = max(room, machine().l2 // 16)
        fitting = 1
        while (
            fitting < min(self.shape[1], share) and self._window_pixels(fitting + 1) * pixel <= room
        ):
            fitting += 1
        return fitting

    def output_segment(self, pixel: int, folds: int) -> int:
        """Most tiles whose outputs, in so many folds of columns, are stored together.

        In planes (NCHW) whole rows are stored at twice the speed of short stretches; those should
        at least begin and end with a cache line.
        """
        t = self.tiling
        columns = folds * t.m_columns
        fitting = max(1, machine().l2 // 16 // (t.m_rows * columns * pixel))
        whole = _LINE // math.gcd(_LINE, columns)
        if fitting > whole:
            fitting -= fitting % whole
        return min(fitting, self.shape[1])

    def _window_pixels(self, tiles: int) -> int:
        """Pixels that a segment reads."""
        t = self.tiling
        return t.rows * ((tiles - 1) * t.m_columns + t.columns)

    def room_bytes(self, share: int, vector: int, pixel: int, folds: int = 1) -> int:
        """Scratch for the window of a segment, or for outputs in so many folds of columns, and for
        what a map keeps between its axes."""
        t = self.tiling
        stored = min(share, self.output_segment(pixel, folds))
        outputs = stored * folds * t.m_rows * t.m_columns
        channels = max(self.c.channels, self.c.filters)
        segment = self.segment(share, channels, vector, pixel)
        line = 0
        if self.joined(vector):  # a row of the input, before its phases are joined
            columns = (segment - 1) * t.m_columns + t.columns
            line = columns * self.advance[1] * self.c.channels * pixel // vector
        inputs = self._window_pixels(segment) * pixel + line
        return aligned(t.components * pixel + max(inputs, outputs * pixel))

    def constants(self, share: int, pixel: int, folds: int = 1) -> dict[str, int]:
        """The arguments of :data:`.tiles.TILING`."""
        t = self.tiling
        return dict(
            lattice_rows=self.lattices[0],
            lattice_columns=self.lattices[1],
            grid_rows=self.shape[0],
            grid_columns=self.shape[1],
            all_tiles=self.tiles,
            share=share,
            output_segment=self.output_segment(pixel, folds),
            m_rows=t.m_rows,
            m_columns=t.m_columns,
            components=t.components,
            temp_bytes=t.components * pixel,
        )

    def x_window(self, share: int, vector: int, pixel: int) -> dict[str, int]:
        """The arguments of :data:`.phases.PHASES` for the input."""
        rows, columns = self.c.rows, self.c.columns
        segment = self.segment(share, self.c.channels, vector, pixel)
        size, first = (rows.inputs, columns.inputs), (rows.first, columns.first)
        window = self._window(
            segment, self.c.channels, vector, size, first, self.advance, self.phases
        )
        return window | dict(map_rows=self.tiling.rows, map_columns=self.tiling.columns)

    def y_window(self, share: int, vector: int, pixel: int) -> dict[str, int]:
        """The same for the gradient of the output."""
        outputs = (self.c.rows.outputs, self.c.columns.outputs)
        segment = self.segment(share, self.c.filters, vector, pixel)
        window = self._window(segment, self.c.filters, vector, outputs, (0, 0), (1, 1), (1, 1))
        return window | dict(map_rows=self.tiling.m_rows, map_columns=self.tiling.m_columns)

    def _window(self, segment, channels, vector, size, first, advance, phases) -> dict[str, int]:
        return dict(
            segment=segment,
            height=size[0],
            width=size[1],
            row_first=first[0],
            row_source=self.lattices[0] * advance[0],
            column_first=first[1],
            column_source=self.lattices[1] * advance[1],
            channels=channels,
            block=vector,
            n_blocks=-(-channels // vector),
            vector=vector,
            row_advance=advance[0],
            column_advance=advance[1],
            row_phases=phases[0],
            column_phases=phases[1],
        )
