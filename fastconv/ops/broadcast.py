"""The adjoint of broadcasting: what was repeated forward is summed backward."""

from __future__ import annotations

import numpy as np


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The adjoint of broadcasting an array of ``shape``: a sum over every axis it repeats."""
    if gradient.shape != shape:
        gradient = gradient.sum(axis=tuple(range(gradient.ndim - len(shape))))
        stretched = tuple(axis for axis, size in enumerate(shape) if size == 1)
        gradient = gradient.sum(axis=stretched, keepdims=True)
    return gradient.astype(dtype, copy=False)


def channel_bias_backward(dy: np.ndarray) -> np.ndarray:
    """The gradient (K,) of a bias added to each channel of dy (N, K, P, Q) or (K, P, Q)."""
    if dy.ndim == 3:
        dy = dy[None]
    pixels = dy.transpose(0, 2, 3, 1)
    if pixels.flags.c_contiguous:
        # Channels last: NumPy would add up rows one after another, which is slower than a matrix
        # product with ones.
        pixels = pixels.reshape(-1, dy.shape[1])
        return np.ones(len(pixels), dy.dtype) @ pixels
    return dy.sum(axis=(2, 3)).sum(axis=0)
