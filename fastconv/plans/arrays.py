"""The arrays of a call, as its program sees them: their strides in bytes, and what it tells."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fastconv.core.program import Address, Words

from .correlation import Correlation

FLAGS = 2  # that kernels may set: some result is not finite, some result is not tiny


def no_flags(parts: int = 1) -> Words:
    """Those of some correlations, or of a weight gradient; an algorithm knows what they mean."""
    return Words([0] * (FLAGS * parts))


class Setting(NamedTuple):
    """What a program of a correlation is made for: strides, and what is asked for."""

    x: tuple[int, ...]
    w: tuple[int, ...] | None  # None where they are packed already
    y: tuple[int, ...]
    biased: bool
    relu: bool


class Room(NamedTuple):
    """Where a correlation has what it needs beside its arrays."""

    filters: Address  # packed
    workers: Address  # scratch of all of them
    flags: Address  # the :data:`FLAGS` words that its kernel may set


def input_words(strides: tuple[int, ...], channels: int) -> dict[str, int]:
    """What a window is read from, with so many channels in a group."""
    n, c, h, w = strides
    return dict(xn=n, xg=c * channels, xc=c, xh=h, xw=w)


def whole_lines(c: Correlation, channels: int, vector: int) -> dict[str, int]:
    """A window of whole lines of a correlation's input, with all channels of a pixel together."""
    return dict(
        height=c.rows.inputs,
        width=c.columns.inputs,
        row_first=c.rows.first,
        row_source=1,
        column_first=c.columns.first,
        column_source=1,
        channels=channels,
        block=channels,
        n_blocks=1,
        vector=vector,
    )


def output_words(strides: tuple[int, ...], correlation: Correlation) -> dict[str, int]:
    """What the results of a correlation go to: its lanes and neighbouring pixels apart."""
    n, k, h, w = strides
    return dict(
        yn=n, yg=k * correlation.filters, yh=h, yw=w,
        lane_step=k, pixel_step=w * correlation.columns.step,
    )  # fmt: skip


def window_of(template: np.ndarray, array: Address, steps: Iterable[int], first: int = 0) -> Words:
    """The record of a window from its ``template``: an array and its steps, from a word on."""
    words = Words(template.tolist())
    for i, value in enumerate((array, *steps), first):
        words.put(i, value)
    return words
