"""``direct``: the convolution as matrix products over the data itself, no transform, all passes."""

from __future__ import annotations

from ._direct_correlation import DirectCorrelation
from ._direct_weight import DirectWeight
from ._product import ProductAlgorithm


class Direct(ProductAlgorithm):
    name = "direct"
    correlation = DirectCorrelation
    weight = DirectWeight
