"""``fft``: circular correlation of tiles by Fourier transforms (all passes).

    y = F⁻¹[F(x) ⊙ conj(F(w))]

on tiles of T × T inputs, of whose results the first (T − R + 1) × (T − S + 1) do not wrap around
and are kept (overlap-save).  A complex product is three real ones: 3T²/2 − 2 in all.
Depthwise convolutions with unit stride have products of their own (:mod:`._depthwise_fft`).
Sources: T. G. Stockham, "High-speed convolution and correlation", 1966; M. Mathieu, M. Henaff and
Y. LeCun, "Fast Training of Convolutional Networks through FFTs", ICLR 2014.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastconv.core.problem import ConvProblem
from fastconv.transforms.tile_map import FOURIER, Tiling

from ._bilinear import BilinearAlgorithm
from ._depthwise_fft import DepthwiseFft, elementwise
from .algorithm import Cost, Plan

_LENGTHS = (8, 12, 16, 20, 24, 32, 40, 48, 64)  # T: products of 2, 3, 4 and 5


class Fft(BilinearAlgorithm):
    name = "fft"
    depthwise = DepthwiseFft()

    def _of(self, problem: ConvProblem):
        """What runs it: this, or the part for depthwise ones."""
        return self.depthwise if elementwise(problem) else super()

    def refuses(self, problem: ConvProblem) -> str | None:
        return self._of(problem).refuses(problem)

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        return self._of(problem).cost(problem, threads)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        return self._of(problem).plan(problem, threads)

    def tilings(self, r_rows: int, r_columns: int) -> Iterable[Tiling]:
        return [
            Tiling(t - r_rows + 1, r_rows, t - r_columns + 1, r_columns, FOURIER)
            for t in _LENGTHS
            if t >= max(r_rows, r_columns)
        ]

    def growth(self, tiling: Tiling) -> float:
        return 1.0  # transforms are orthogonal
