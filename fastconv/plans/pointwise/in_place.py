"""1×1 filters: the data is its own column matrix, multiplied where it is."""

from __future__ import annotations

from fastconv.plans.correlation import Correlation

from .dot import DotCorrelation
from .matrix import MatrixCorrelation
from .planes import PlanesCorrelation


def in_place(
    c: Correlation, itemsize: int, x_format: str, y_format: str, threads: int
) -> DotCorrelation | MatrixCorrelation | PlanesCorrelation | None:
    """A plan that copies no columns together, if one can run ``c`` and suits it."""
    if DotCorrelation.applies(c, itemsize, x_format, y_format):
        return DotCorrelation(c, itemsize, threads)
    if MatrixCorrelation.applies(c, itemsize, x_format, y_format):
        return MatrixCorrelation(c, itemsize, threads)
    if PlanesCorrelation.applies(c, itemsize, x_format, y_format):
        return PlanesCorrelation(c, itemsize, threads)
    return None
