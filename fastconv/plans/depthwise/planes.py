"""Planes: the input of a depthwise convolution cut up so that every tap is one offset.

Where neighbours of a row are in the lanes, the padded input of a unit (:mod:`.units`) is split by
phase, ``h mod advance`` and ``w mod advance``, so that neighbouring outputs read neighbouring
positions at any stride.  *Flat* planes are one for each tap along a row instead, with as many
columns as there are outputs: so every tap finds the rows of all outputs one behind the other, and
vectors need not end with a row.
Buffer layout: ``[input of the sum][row phase][column phase][row][column]``, and behind that the
pixels from which the inputs of the sum are dealt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastconv.plans.correlation import Axis, Correlation

if TYPE_CHECKING:
    from .units import Units


class Planes:
    """The plane buffer of correlations whose outputs come in blocks of ``rows`` rows.

    The parts read the same input with the same advance and spread; ``first`` is the position
    (row, column) of the first window of all, ``source`` the distance of a plane's positions in the
    input.  They may be ``flat`` if there is one part, without dilation along the rows, and rows in
    the lanes.
    """

    def __init__(
        self, parts: list[Correlation], rows: int, units: Units, vector_bytes: int,
        flat: bool = False,
    ):  # fmt: skip
        self.parts = parts
        self.flat = flat
        self.unit_bytes = units.nbytes
        axes = [[c.rows for c in parts], [c.columns for c in parts]]
        extents = [rows, max(axis.outputs for axis in axes[1])]
        self.first = [min(axis.first for axis in some) for some in axes]
        advances = [some[0].advance for some in axes]
        self.source = advances if units.splat else [1, 1]
        self.phases, self.shape = [], []
        for some, first, extent, advance, source in zip(
            axes, self.first, extents, advances, self.source, strict=True
        ):
            reach = max(a.first - first + (a.window - 1) * a.spread for a in some)
            self.phases.append(min(source, reach + 1))
            self.shape.append(((extent - 1) * advance + reach) // source + 1)
        if flat:
            columns = parts[0].columns
            self.phases[1], self.shape[1] = columns.window, columns.outputs
        # From output to output, down a row and along it.
        down, across = (a // s for a, s in zip(advances, self.source, strict=True))
        self.step_bytes = down * self.shape[1] * units.nbytes, across * units.nbytes
        self.plane_bytes = self.shape[0] * self.shape[1] * self.unit_bytes
        self.set_bytes = self.phases[0] * self.phases[1] * self.plane_bytes
        # The last vector of a short row reads on past its end.
        sets_bytes = parts[0].channels * self.set_bytes
        self.dealt_bytes = sets_bytes if units.dealt else 0  # behind which is what they are from
        undealt = self.set_bytes // self.unit_bytes * units.undealt
        self.nbytes = sets_bytes + undealt + vector_bytes

    def tap_offsets(self, part: int = 0) -> np.ndarray:
        """Byte offset of every (input of the sum, r, s) of a part in the buffer."""
        c = self.parts[part]

        def along(axis: Axis, first: int, source: int):
            taps = axis.first - first + np.arange(axis.window) * axis.spread
            return np.divmod(taps, source)

        row, row_phase = along(c.rows, self.first[0], self.source[0])
        column, column_phase = along(c.columns, self.first[1], self.source[1])
        if self.flat:
            column, column_phase = 0 * column, np.arange(c.columns.window)
        plane = row_phase[:, None] * self.phases[1] + column_phase
        offset = plane * self.plane_bytes
        offset = offset + (row[:, None] * self.shape[1] + column) * self.unit_bytes
        sets = np.arange(c.channels) * self.set_bytes
        return (sets[:, None, None] + offset).astype(np.int64)


def windows_in_place(c: Correlation, strides) -> tuple[int, np.ndarray, np.ndarray]:
    """Windows in an array with these ``strides`` of rows and columns, in bytes.

    The offset of the first output's window, the steps from output to output down a row and along
    it, and the offsets of the taps [r, s].
    """
    axes, strides = (c.rows, c.columns), np.array(strides)
    first = np.array([axis.first for axis in axes]) @ strides
    steps = strides * [axis.advance for axis in axes]
    down, across = (
        np.arange(axis.window) * axis.spread * stride
        for axis, stride in zip(axes, strides, strict=True)
    )
    return int(first), steps, down[:, None] + across
