"""Geometry of the padded rows that input windows are copied into (:mod:`fastconv.gemm.windows`)."""

from __future__ import annotations

from .correlation import Axis


class Buffer:
    """One axis of a buffer that serves ``outputs`` neighbouring outputs.

    It holds ``extent`` positions, ``source`` apart in the input; neighbouring outputs stand
    ``advance`` positions apart in it, neighbouring taps ``spread``.
    """

    def __init__(self, axis: Axis, outputs: int):
        self.source, self.advance, self.spread = 1, axis.advance, axis.spread
        if axis.window == 1:  # then only the positions that are read are copied
            self.source, self.advance = axis.advance, 1
        elif outputs == 1:  # here too: large dilations would leave most of them unread
            self.source, self.spread = axis.spread, 1
        self.extent = (outputs - 1) * self.advance + (axis.window - 1) * self.spread + 1
