"""``direct``: the convolution as matrix products over the data itself, no transform, all passes."""

from __future__ import annotations

from fastconv.core.problem import ConvProblem
from fastconv.plans.blocked.direct import DirectCorrelation, packs_filters_itself
from fastconv.plans.blocked.direct_weight import DirectWeight, direct_weight
from fastconv.plans.correlation import joined_parities
from fastconv.plans.lines.line import LineCorrelation, groups_together
from fastconv.plans.lines.parity import ParityCorrelation
from fastconv.plans.lines.planar import PlanarCorrelation
from fastconv.plans.lines.planar_weight import PlanarWeight
from fastconv.plans.pointwise.in_place import in_place

from ._product import ProductAlgorithm
from .algorithm import WORKSPACE

_PLANAR_GAIN = 1.2  # promised, or operands are transposed


def _weight(problem: ConvProblem, threads: int) -> DirectWeight | PlanarWeight:
    """The plan of a weight gradient."""
    plan = direct_weight(problem, threads)
    if PlanarWeight.applies(problem):
        planar = PlanarWeight(problem, threads)
        fits = planar.nbytes <= threads * WORKSPACE
        if fits and _PLANAR_GAIN * planar.time < plan.time_on_planes:
            return planar
    return plan


class Direct(ProductAlgorithm):
    name = "direct"
    flattens = True
    weight = staticmethod(_weight)

    def fills_lanes(self, c, itemsize, x_format, y_format):
        if y_format == "nhwc" and groups_together(c, itemsize) > 1:
            return LineCorrelation.applies(c, itemsize, y_format)
        return PlanarCorrelation.applies(c, itemsize, x_format, y_format)

    def transposes(self, part):
        return not isinstance(part, PlanarWeight)

    def _build(self, problem, threads, folding=True):
        if problem.direction == "backward_input" and problem.stride != problem.dilation == (1, 1):
            c = joined_parities(problem)
            if ParityCorrelation.applies(c, problem.itemsize):
                return [ParityCorrelation(c, problem.itemsize, problem.x_format, threads)]
        return super()._build(problem, threads, folding)

    def correlation(self, c, itemsize, x_format, y_format, threads):
        if PlanarCorrelation.applies(c, itemsize, x_format, y_format):
            return PlanarCorrelation(c, itemsize, x_format, y_format, threads)
        if not packs_filters_itself(c, x_format, threads):
            plan = in_place(c, itemsize, x_format, y_format, threads)
            if plan is not None:
                return plan
        if LineCorrelation.applies(c, itemsize, y_format):
            return LineCorrelation(c, itemsize, y_format, threads)
        return DirectCorrelation(c, itemsize, x_format, y_format, threads)
