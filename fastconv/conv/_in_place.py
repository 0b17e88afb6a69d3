"""1×1 filters: the data is its own column matrix, multiplied where it is."""

from __future__ import annotations

from ._dot_correlation import DotCorrelation
from ._matrix_correlation import MatrixCorrelation
from ._pointwise_correlation import PointwiseCorrelation
from .correlation import Correlation


def in_place(
    c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int
) -> DotCorrelation | MatrixCorrelation | PointwiseCorrelation | None:
    """A plan that copies no columns together, if one can run ``c`` and suits it."""
    if DotCorrelation.applies(c, itemsize, x_format, y_format):
        return DotCorrelation(c, itemsize, threads)
    if MatrixCorrelation.applies(c, itemsize, x_format, y_format):
        return MatrixCorrelation(c, itemsize, threads)
    if PointwiseCorrelation.applies(c, itemsize, x_format, y_format):
        return PointwiseCorrelation(c, itemsize, threads)
    return None
