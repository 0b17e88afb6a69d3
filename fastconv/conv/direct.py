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
        for special in (MatrixCorrelation, PointwiseCorrelation, LineCorrelation):
            if special.applies(c, itemsize, x_format, y_format):
                return special(c, itemsize, threads)
        return DirectCorrelation(c, itemsize, x_format, y_format, threads)
