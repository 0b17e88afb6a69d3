"""Matrix products: the fully connected layer and ``@``."""

from __future__ import annotations

import math

import numpy as np

from fastconv.core import checks

from .broadcast import unbroadcast


def linear_forward(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """y = x · wᵀ + bias, for x (…, C), w (K, C), bias (K,): y (…, K).

    Raises
    ------
    TypeError, ValueError : naming the argument (input, weight or bias), before any work.
    """
    _check(x, w, bias)
    y = x @ w.T
    if bias is not None:
        y += bias
    return y


def _check(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None) -> None:
    checks.dtype(x.dtype, "input")
    checks.same_dtype(x, "input", weight=w, bias=bias)
    if w.ndim != 2:
        raise ValueError(f"weight must have 2 dimensions, got shape {w.shape}")
    if not x.ndim or x.shape[-1] != w.shape[1]:
        raise ValueError(
            f"input must have shape (…, {w.shape[1]}) for weight {w.shape}, got {x.shape}"
        )
    if bias is not None and bias.shape != w.shape[:1]:
        raise ValueError(f"bias must have shape {w.shape[:1]}, got {bias.shape}")


def linear_backward_input(dy: np.ndarray, w: np.ndarray) -> np.ndarray:
    """dx = dy · w, (…, C)."""
    return dy @ w


def linear_backward_weight(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dw = dyᵀ · x, summed over all leading axes, (K, C)."""
    return _rows(dy).T @ _rows(x)


def linear_backward_bias(dy: np.ndarray) -> np.ndarray:
    """The sum of dy over all leading axes, (K,)."""
    return _rows(dy).sum(axis=0)


def _rows(array: np.ndarray) -> np.ndarray:
    """All leading axes as one; NumPy's -1 would not know how long, of rows without elements."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _matrices(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Vectors as matrices, as ``@`` reads them, and the axes of the product that it then drops."""
    dropped = [-2] * (a.ndim == 1) + [-1] * (b.ndim == 1)
    return a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b, dropped


def matmul_backward_first(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The gradient of a in y = a @ b: dy · bᵀ, summed over the axes that a was repeated along."""
    first, second, dropped = _matrices(a, b)
    da = np.expand_dims(dy, dropped) @ second.swapaxes(-1, -2)
    return unbroadcast(da, first.shape, a.dtype).reshape(a.shape)


def matmul_backward_second(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The gradient of b in y = a @ b: aᵀ · dy, summed over the axes that b was repeated along."""
    first, second, dropped = _matrices(a, b)
    db = first.swapaxes(-1, -2) @ np.expand_dims(dy, dropped)
    return unbroadcast(db, second.shape, b.dtype).reshape(b.shape)
