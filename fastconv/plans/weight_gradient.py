"""A weight gradient, as the algorithms run it."""

from __future__ import annotations

from array import array

import numpy as np

from fastconv.core.once import made_once
from fastconv.core.program import Program, Programs

from .planned import Planned

NO_LIMIT = 2**62  # of where the last of some neighbours begins, which may overlap the one before


class WeightGradient(Planned):
    """A plan of one weight gradient."""

    @made_once
    def _programs(self) -> Programs:
        return Programs(self.nbytes)

    def run(self, x: np.ndarray, dy: np.ndarray, dw: np.ndarray) -> array:
        """Compute dw; the flags of the program."""
        strides = x.strides, dy.strides, dw.strides
        return self._programs.run(strides, lambda: self._program(*strides), x, dy, dw)

    def _program(self, x_strides, dy_strides, dw_strides) -> Program:
        """What computes dw, of arrays of such strides."""
        raise NotImplementedError
