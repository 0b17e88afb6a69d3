"""A correlation of a plan, as :mod:`fastconv.conv._parts` runs it."""

from __future__ import annotations

import numpy as np

from fastconv.core.program import Operands

from .arrays import Room, Setting
from .packed_filters import PackedFilters, Prepared
from .planned import Planned


class Part(Planned):
    """One correlation, with filters of its own."""

    filters: PackedFilters
    worker_bytes: int  # of scratch, what a worker has while it multiplies

    @property
    def outputs(self) -> int:
        """Pixels of the results."""
        raise NotImplementedError

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        """The operands as :meth:`prepare` expects them."""
        return x, w, bias

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        """The calls for operands of such strides."""
        raise NotImplementedError
