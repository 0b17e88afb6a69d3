"""``winograd``: fewer multiplications, by maps between tiles and their components (all passes).

    y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A

for tiles of m × m outputs and r × r taps takes (m + r − 1)² products instead of m²·r².
Sources: S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and S. Gray, "Fast
Algorithms for Convolutional Neural Networks", CVPR 2016.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

from fastconv.transforms.cook_toom import cook_toom, error_growth
from fastconv.transforms.tile_map import Tiling

from ._bilinear import BilinearAlgorithm

_OUTPUTS = (2, 3, 4, 5, 6)  # of a tile along an axis
_LARGEST = 10  # inputs of a tile along an axis: beyond, rounding errors are too large


class Winograd(BilinearAlgorithm):
    """Tiles of ``m`` outputs along each axis; of the shape with the least work if m is None.

    Or along lines alone, if channels are few (:mod:`fastconv.plans.bilinear.line`).
    """

    def __init__(self, m: int | None = None):
        self.m = m
        self.name, self.forces = "winograd", None
        if m is not None:
            self.name, self.forces = f"winograd{m}", "winograd"

    def tilings(self, r_rows: int, r_columns: int) -> Iterable[Tiling]:
        axes = [[(m, r) for m in self._outputs(r)] for r in (r_rows, r_columns)]
        return [Tiling(*rows, *columns) for rows, columns in itertools.product(*axes)]

    def line_tilings(self, r_columns: int) -> Iterable[Tiling]:
        some = self._outputs(r_columns) if r_columns > 1 else []
        if self.m is None:  # an even number of inputs has 0 among its points: shorter maps
            some = [m for m in some if (m + r_columns) % 2]
        return [Tiling(1, 1, m, r_columns) for m in some]

    def _outputs(self, r: int) -> list[int]:
        """Outputs of a tile along an axis with r taps."""
        if r == 1:
            return [1]
        some = _OUTPUTS if self.m is None else (self.m,)
        return [m for m in some if m + r - 1 <= _LARGEST]

    def growth(self, t: Tiling) -> float:
        return (_growth(*t[:2]) * _growth(*t[2:4])) ** 0.5


@functools.cache
def _growth(m: int, r: int) -> float:
    return error_growth(cook_toom(m, r))
