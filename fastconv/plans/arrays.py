"""The arrays among the arguments of a kernel: their strides in bytes, as words."""

from __future__ import annotations

from .correlation import Correlation


def input_words(strides: tuple[int, ...], channels: int) -> dict[str, int]:
    """What a window is read from, with so many channels in a group."""
    n, c, h, w = strides
    return dict(xn=n, xg=c * channels, xc=c, xh=h, xw=w)


def output_words(strides: tuple[int, ...], correlation: Correlation) -> dict[str, int]:
    """What the results of a correlation go to: its lanes and neighbouring pixels apart."""
    n, k, h, w = strides
    return dict(
        yn=n, yg=k * correlation.filters, yh=h, yw=w,
        lane_step=k, pixel_step=w * correlation.columns.step,
    )  # fmt: skip
