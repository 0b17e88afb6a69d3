"""Softmax and its logarithm along an axis."""

from __future__ import annotations

import numpy as np


def log_softmax_forward(x: np.ndarray, axis: int) -> np.ndarray:
    """y = x − log Σ eˣ along ``axis``, after subtracting the largest x so that no eˣ overflows."""
    if not x.size:
        return np.exp(x)
    with np.errstate(invalid="ignore"):  # a row with Inf or NaN becomes NaN, without a warning
        shifted = x - x.max(axis=axis, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_backward(dy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """dx = dy − softmax(x) · Σ dy."""
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True)


def softmax_forward(x: np.ndarray, axis: int) -> np.ndarray:
    """y = eˣ / Σ eˣ along ``axis``."""
    return np.exp(log_softmax_forward(x, axis))


def softmax_backward(dy: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """dx = y · (dy − Σ dy · y)."""
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True))
