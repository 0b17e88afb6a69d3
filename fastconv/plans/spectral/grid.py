"""The tiles of a depthwise correlation with unit advance that is computed by spectra."""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

from fastconv.gemm.tiling import round_up
from fastconv.plans.correlation import Axis, Correlation
from fastconv.transforms.spectrum import Side, product_instructions, transform_instructions

_LENGTHS = (4, 8, 12, 16, 20, 24, 32, 36, 40, 48, 60, 64, 72, 80, 96, 128)
_MULTIPLE = 4  # of a tile's extent, so that layers of about one size share machine code
_PACKING = 3  # instructions in the time that a value takes from memory to a tile, or back


class SpectralWork(NamedTuple):
    """Vector instructions for one vector of channels: of a tile, and of the filters."""

    tile: int
    filters: int


class SpectralGrid:
    """Tiles over every lattice of every image, of the sizes with the least work.

    With a dilation d, every d-th row and column of an image is an image of its own, a *lattice*.
    """

    def __init__(self, c: Correlation):
        axes = (c.rows, c.columns)
        self.c = c
        self.lattices = [axis.spread for axis in axes]
        self.sides = min(itertools.product(*map(_sides, axes)), key=self._work)
        self.shape = self._shape(self.sides)
        self.tiles = c.N * self.lattices[0] * self.lattices[1] * self.shape[0] * self.shape[1]
        self.work = _tile_work(*self.sides)

    def _shape(self, sides: tuple[Side, ...]) -> list[int]:
        """Tiles along each axis of a lattice."""
        axes = (self.c.rows, self.c.columns)
        return [-(-_outputs(axis) // side.outputs) for axis, side in zip(axes, sides, strict=True)]

    def _work(self, sides: tuple[Side, ...]) -> int:
        """Instructions for a vector of channels of all images."""
        tile, filters = _tile_work(*sides)
        shape = self._shape(sides)
        lattices = self.c.N * self.lattices[0] * self.lattices[1]
        return lattices * shape[0] * shape[1] * tile + filters

    @property
    def tile_key(self) -> tuple[int, ...]:
        """What the kernels of products of tiles are made for."""
        rows, columns = self.sides
        inputs, outputs = (rows.inputs, columns.inputs), (rows.outputs, columns.outputs)
        return (rows.length, columns.length, *inputs, *outputs)

    @property
    def filter_key(self) -> tuple[int, ...]:
        """What the kernels of filters are made for: lengths, taps, positions of the first tap."""
        rows, columns = self.sides
        taps = rows.taps, columns.taps
        first = -rows.shift % rows.length, -columns.shift % columns.length
        return (rows.length, columns.length, *taps, *first)

    def window_first(self) -> tuple[int, int]:
        """The row and column of the input at which the first tile begins."""
        row, column = (
            axis.first + side.shift * axis.spread
            for axis, side in zip((self.c.rows, self.c.columns), self.sides, strict=True)
        )
        return row, column

    def constants(self, share: int) -> dict[str, int]:
        """The arguments of :data:`fastconv.plans.bilinear.tiles.TILING`; inputs of a tile."""
        rows, columns = self.sides
        return dict(
            lattice_rows=self.lattices[0],
            lattice_columns=self.lattices[1],
            grid_rows=self.shape[0],
            grid_columns=self.shape[1],
            all_tiles=self.tiles,
            share=share,
            m_rows=rows.outputs,
            m_columns=columns.outputs,
            tile_rows=rows.inputs,
            tile_columns=columns.inputs,
            components=rows.length * columns.length,
        )


def _outputs(axis: Axis) -> int:
    """Outputs of the largest lattice."""
    return -(-axis.outputs // axis.spread)


@functools.lru_cache(maxsize=1024)
def has_sides(axis: Axis) -> bool:
    return bool(_sides(axis))


def _sides(axis: Axis) -> list[Side]:
    """What a tile may be along an axis: the whole image, or a part of it (overlap-save)."""
    whole = [_whole(axis, length) for length in _LENGTHS]
    parts = [_part(axis, length) for length in _LENGTHS if length >= axis.window]
    return [*filter(None, whole), *parts]


def _whole(axis: Axis, length: int) -> Side | None:
    """All outputs of a lattice; zeros around the image are not part of the tile."""
    outputs, taps = _outputs(axis), axis.window
    shift = max(0, -axis.first) // axis.spread
    left = -(-(axis.inputs - axis.first - shift * axis.spread) // axis.spread)
    inputs = max(1, min(outputs + taps - 1 - shift, left))
    if length < max(inputs + shift, outputs + taps - 1 - shift):
        return None
    inputs = min(round_up(inputs, _MULTIPLE), length - shift)
    return Side(length, inputs, min(round_up(outputs, _MULTIPLE), length), taps, shift)


def _part(axis: Axis, length: int) -> Side:
    """As many outputs as do not wrap around, or fewer if tiles can be equal."""
    most = length - axis.window + 1
    outputs = -(-_outputs(axis) // -(-_outputs(axis) // most))
    outputs = min(round_up(outputs, _MULTIPLE), most)
    return Side(length, outputs + axis.window - 1, outputs, axis.window, 0)


def _tile_work(rows: Side, columns: Side) -> SpectralWork:
    """What one tile and the filters take, packing included."""
    lengths = rows.length, columns.length
    inputs, outputs = (rows.inputs, columns.inputs), (rows.outputs, columns.outputs)
    taps = rows.taps, columns.taps
    maps = transform_instructions(lengths, inputs) + transform_instructions(lengths, outputs)
    packed = inputs[0] * inputs[1] + outputs[0] * outputs[1]
    tile = maps + product_instructions(lengths) + _PACKING * packed
    filters = transform_instructions(lengths, taps) + _PACKING * taps[0] * taps[1]
    return SpectralWork(tile, filters)
