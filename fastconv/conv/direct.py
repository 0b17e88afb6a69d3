"""``direct``: the convolution as matrix products over the data itself, no transform, all passes."""

from __future__ import annotations

from ._direct_correlation import DirectCorrelation
from ._direct_weight import DirectWeight
from ._line_correlation import LineCorrelation
from ._matrix_correlation import MatrixCorrelation
from ._pointwise_correlation import PointwiseCorrelation
from ._product import ProductAlgorithm


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
