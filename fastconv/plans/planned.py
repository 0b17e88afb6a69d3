"""What correlations and weight gradients say of themselves, for the algorithms to state a cost."""

from __future__ import annotations

from .correlation import Correlation


class Planned:
    """One correlation or weight gradient, with sizes for everything; it runs on any arrays."""

    c: Correlation
    itemsize: int
    workers: int
    nbytes: int  # of scratch
    kind = "product"  # of work (:data:`fastconv.conv.calibration.KINDS`)
    along_planes = False  # whether its vectors are of neighbouring pixels
    gathers = False  # whether columns are copied together
    # Bytes that tasks transpose, from channels-last pixels to planes or back; or that are stored so
    # often that it counts.
    turned = 0
    folds = False  # whether vectors hold outputs of several pixels

    @property
    def flops(self) -> int:
        """Executed, vectors filled up with zeros."""
        raise NotImplementedError
