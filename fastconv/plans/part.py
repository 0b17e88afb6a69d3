"""A correlation of a plan, as :mod:`fastconv.conv._parts` runs it."""

from __future__ import annotations

import numpy as np

from fastconv.core.program import Operands

from .arrays import Room, Setting
from .correlation import Correlation
from .packed_filters import PackedFilters, Prepared


class Part:
    """One correlation, with filters of its own."""

    c: Correlation
    filters: PackedFilters
    kind = "product"  # of work (:data:`fastconv.conv.calibration.KINDS`)
    along_planes = False  # whether its vectors are of neighbouring pixels
    gathers = False  # whether columns are copied together
    # Bytes that tasks transpose, from channels-last pixels to planes or back; or that are stored so
    # often that it counts.
    turned = 0
    folds = False  # whether vectors hold outputs of several pixels

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        """The operands as :meth:`prepare` expects them."""
        return x, w, bias

    def prepare(self, room: Room, at: Operands, s: Setting) -> Prepared:
        """The calls for operands of such strides."""
        raise NotImplementedError
