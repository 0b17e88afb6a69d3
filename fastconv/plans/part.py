"""A correlation of a plan, as :mod:`fastconv.conv._parts` runs it."""

from __future__ import annotations

import numpy as np

from fastconv.core.program import Address, Operands

from .arrays import Setting
from .correlation import Correlation
from .packed_filters import PackedFilters, Prepared


class Part:
    """One correlation, with filters of its own."""

    c: Correlation
    filters: PackedFilters
    kind = "product"  # of work (:data:`fastconv.conv.calibration.KINDS`)
    along_planes = False  # whether its vectors are of neighbouring pixels
    gathers = False  # whether columns are copied together
    turned = 0  # bytes of pixels that tasks make planes of, and of planes that they make pixels of
    folds = False  # whether vectors hold outputs of several pixels

    def arranged(self, x: np.ndarray, w: np.ndarray, bias) -> tuple:
        """The operands as :meth:`prepare` expects them."""
        return x, w, bias

    def prepare(
        self, base: Address, room: Address, at: Operands, s: Setting, flags: Address
    ) -> Prepared:
        """The calls for operands of such strides: filters go to ``base``, workers to ``room``.

        Kernels may set the :data:`.arrays.FLAGS` words at ``flags``.
        """
        raise NotImplementedError
