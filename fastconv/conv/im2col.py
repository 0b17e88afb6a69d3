"""``im2col``: tiles of the column matrix, gathered and multiplied as plain matrices, all passes."""

from __future__ import annotations

from ._im2col_correlation import Im2colCorrelation
from ._im2col_weight import Im2colWeight
from ._product import ProductAlgorithm


class Im2col(ProductAlgorithm):
    name = "im2col"
    gathers = True
    correlation = Im2colCorrelation
    weight = Im2colWeight
