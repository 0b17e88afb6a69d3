"""Changes made to a batch as it is drawn, to show the net more than the data set holds."""

from __future__ import annotations

import numpy as np

from fastconv.core import checks


class RandomShift:
    """Move each image by up to ``pixels`` in each direction; zeros come in at the border.

    Calling it with images (N, C, H, W) and a ``numpy.random.Generator`` gives new images of the
    same shape and dtype.
    """

    def __init__(self, pixels: int = 1):
        self.pixels = checks.integer(pixels, "pixels")

    def __call__(self, images: np.ndarray, random: np.random.Generator) -> np.ndarray:
        if np.ndim(images) != 4:
            raise ValueError(f"images must be (N, C, H, W), got shape {np.shape(images)}")
        if not isinstance(random, np.random.Generator):
            raise TypeError(f"random must be a numpy.random.Generator, got {random!r:.60}")
        p = self.pixels
        n, _, height, width = images.shape
        padded = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        down, right = random.integers(0, 2 * p + 1, (2, n))
        return windows[np.arange(n), :, down, right]
