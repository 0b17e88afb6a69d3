"""``im2col``: tiles of the column matrix, gathered and multiplied as plain matrices, all passes."""

from __future__ import annotations

from fastconv.plans.blocked.direct_weight import direct_weight
from fastconv.plans.blocked.im2col import Im2colCorrelation
from fastconv.plans.blocked.im2col_weight import Im2colWeight
from fastconv.plans.pointwise.in_place import in_place

from ._product import ProductAlgorithm


class Im2col(ProductAlgorithm):
    name = "im2col"
    flattens = True

    def correlation(self, c, itemsize, x_format, y_format, threads):
        plan = in_place(c, itemsize, x_format, y_format, threads)
        return plan or Im2colCorrelation(c, itemsize, x_format, y_format, threads)

    def weight(self, problem, threads):
        one = problem.R == problem.S == 1
        return (direct_weight if one else Im2colWeight)(problem, threads)
