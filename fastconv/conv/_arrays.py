"""An array among the arguments of a kernel: where it is, and its strides in bytes."""

from __future__ import annotations

import numpy as np

from fastconv.core.address import address

from .correlation import Correlation


def input_words(array: np.ndarray, channels: int) -> dict[str, int]:
    """What a window reads from, with so many channels in a group."""
    n, c, h, w = array.strides
    return dict(x=address(array), xn=n, xg=c * channels, xc=c, xh=h, xw=w)


def output_words(array: np.ndarray, correlation: Correlation) -> dict[str, int]:
    """What the results of a correlation go to: its lanes and neighbouring pixels apart."""
    n, k, h, w = array.strides
    return dict(
        y=address(array), yn=n, yg=k * correlation.filters, yh=h, yw=w,
        lane_step=k, pixel_step=w * correlation.columns.step,
    )  # fmt: skip
