"""Arrays in the two memory orders that kernels read."""

from __future__ import annotations

import numpy as np

from fastconv.core import checks


def empty(shape: tuple[int, ...], dtype, order: str) -> np.ndarray:
    """An uninitialised array of logical ``shape`` (N, C, H, W)."""
    if order == "nchw":
        return np.empty(shape, dtype)
    n, c, h, w = shape
    return np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def contiguous(array: np.ndarray, order: str) -> np.ndarray:
    """The array without gaps in the given memory order; a copy only if it has to be."""
    if order == "nchw":
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def gradient(dy, input_shape) -> tuple[np.ndarray, tuple[int, ...]]:
    """The checked gradient of a result, and the shape of the input's gradient."""
    shape = checks.shape(input_shape, "input_shape", (3, 4))
    dy = checks.array(dy, "dy", (3, 4))
    if dy.ndim != len(shape) or dy.shape[:-2] != shape[:-2]:
        raise ValueError(
            f"dy and input_shape must agree but for the last two sizes, got {dy.shape} and {shape}"
        )
    return dy, shape
