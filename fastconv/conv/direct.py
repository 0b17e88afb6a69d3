"""``direct``: the convolution as matrix products over the data itself, no transform, all passes."""

from __future__ import annotations

from fastconv.core.problem import ConvProblem

from ._direct_correlation import DirectCorrelation
from ._direct_weight import DirectWeight
from ._line_correlation import LineCorrelation
from ._matrix_correlation import MatrixCorrelation
from ._pointwise_correlation import PointwiseCorrelation
from ._product import ProductAlgorithm
from .algorithm import Cost


def or_direct(cost: Cost, problem: ConvProblem, threads: int) -> Cost:
    """The cost of an algorithm that leaves it to ``direct`` where a result is not finite."""
    other = Direct().cost(problem, threads).workspace
    return cost._replace(workspace=max(cost.workspace, other))


class Direct(ProductAlgorithm):
    name = "direct"
    weight = DirectWeight

    def correlation(self, c, itemsize, x_format, y_format, threads):
        if MatrixCorrelation.applies(c, itemsize, x_format, y_format):
            return MatrixCorrelation(c, itemsize, threads)
        if PointwiseCorrelation.applies(c, itemsize, x_format, y_format):
            return PointwiseCorrelation(c, itemsize, threads)
        if LineCorrelation.applies(c, itemsize):
            return LineCorrelation(c, itemsize, y_format, threads)
        return DirectCorrelation(c, itemsize, x_format, y_format, threads)
