"""``fft`` where every filter has one input channel of its own: products of spectra, no matrices."""

from __future__ import annotations

from operator import itemgetter

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.plans.correlation import parities, unfolded
from fastconv.plans.spectral.correlation import SpectralCorrelation
from fastconv.plans.spectral.grid import has_sides
from fastconv.plans.spectral.weight import SpectralWeight

from ._product import ProductAlgorithm
from .algorithm import Algorithm, Cost, Plan, Work, again_if
from .depthwise import Depthwise
from .direct import Direct

_ARITHMETIC = 0.5  # of the instructions of a map; the rest load and store


def elementwise(problem: ConvProblem) -> bool:
    """Whether vectors can run over the channels of a problem, with unit stride."""
    return 1 < problem.groups == problem.C == problem.K and problem.stride == (1, 1)


class DepthwiseFft(ProductAlgorithm):
    """The part of ``fft`` for :func:`elementwise` problems."""

    name = "fft"

    def refuses(self, problem: ConvProblem) -> str | None:
        c = _correlation(problem)
        if not has_sides(c.rows) or not has_sides(c.columns):
            return f"it has no tiles for {c.rows.window}×{c.columns.window} taps"
        return super().refuses(problem)

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        """The bound of errors: transforms are orthogonal, and products are summed over tiles."""
        c = _correlation(problem)
        terms = SpectralWeight(problem, 1).grid.tiles if c.N and problem.sums_weights else 1
        error = 3 * (6 + terms**0.5) * np.finfo(problem.dtype).eps
        cost = super().cost(problem, threads)._replace(error=float(error))
        return cost.or_else(_plain(problem).cost(problem, threads))

    def _stages(self, part, nbytes: int) -> tuple[Work, ...]:
        flops = int(2 * part.vector * _ARITHMETIC * part.instructions)
        return (
            Work("copy", 0, part.packed_bytes, part.workers),
            Work("spectrum", flops, nbytes, part.workers),
        )

    def _build(self, problem: ConvProblem, threads: int, folding: bool = True) -> list:
        if problem.sums_weights:
            return [SpectralWeight(problem, threads)]
        out = problem.made_format
        return [SpectralCorrelation(_correlation(problem), problem.itemsize, out, threads)]

    def _run(self, problem: ConvProblem, parts: list, threads: int) -> Plan:
        # Transforms mix the values of a tile, and spread NaN and Inf too far.
        plan = super()._run(problem, parts, threads)
        return again_if(itemgetter(0), plan, lambda: _plain(problem).plan(problem, threads))


def _plain(problem: ConvProblem) -> Algorithm:
    """What computes a result that is not finite."""
    return Direct() if Depthwise().refuses(problem) else Depthwise()


def _correlation(problem: ConvProblem):
    return parities(problem)[0] if problem.direction == "backward_input" else unfolded(problem)
