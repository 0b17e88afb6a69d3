"""The terms of a column: where the taps of a window stand in its buffer."""

from __future__ import annotations

import numpy as np

from ._buffer import Buffer
from .correlation import Correlation


def column_terms(
    c: Correlation, rows: Buffer, columns: Buffer, pixel: int, joined: bool
) -> tuple[np.ndarray, int]:
    """Byte offsets of the runs of taps, and the number of taps in each.

    Positions of the buffer are ``pixel`` bytes apart.  If ``joined``, the taps of a row make one
    run where they are neighbours.
    """
    taps = c.columns.window if joined and columns.spread == 1 else 1
    r = np.arange(c.rows.window)[:, None] * rows.spread * columns.extent
    s = np.arange(0, c.columns.window, taps) * columns.spread
    return ((r + s) * pixel).ravel().astype(np.int64), taps
