"""The cross entropy of class scores and the classes, or probabilities, they should have given.

    loss = −Σ_c q_c · log softmax(x)_c,   q_c = weight_c · ((1 − s) · t_c + s / C)

with smoothing s (Szegedy et al., 2016, § 7), and t the target as probabilities: 1 for the class of
an index, else 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.core import checks

from .softmax import log_softmax_forward

_REDUCTIONS = ("none", "mean", "sum")


class Saved(NamedTuple):
    """What the backward needs."""

    log_p: np.ndarray  # log-probabilities, shaped as the scores
    q: np.ndarray  # as in the formula, same shape
    divisor: np.floating  # of the sum over samples
    axis: int  # of the classes


def cross_entropy_forward(
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[np.ndarray, Saved]:
    """The loss, and what :func:`cross_entropy_backward` needs.

    Parameters
    ----------
    x : array (C,), (N, C) or (N, C, …), scores that no softmax has seen
    target : integers 0 … C−1 shaped as x without C, or floats shaped as x
    weight : array (C,), optional
    ignore_index : samples of this class (which need not exist) count for nothing
    reduction : ``"none"`` (a loss for each sample), ``"sum"``, or ``"mean"``: the sum divided by
        the weights of the samples' classes, or by their number if ``target`` is probabilities;
        NaN if there are none
    label_smoothing : s, 0 … 1

    Raises
    ------
    TypeError, ValueError : naming the argument, before any work.
    """
    axis = min(1, x.ndim - 1)
    _check(x, target, weight, axis, ignore_index, reduction, label_smoothing)
    q, samples = _shares(x, target, weight, axis, ignore_index, label_smoothing)
    log_p = log_softmax_forward(x, axis)
    # A class that counts for nothing adds nothing, even where its probability is 0.
    losses = -np.multiply(q, log_p, out=np.zeros_like(x), where=q != 0).sum(axis=axis)
    divisor = x.dtype.type(samples if reduction == "mean" else 1)
    saved = Saved(log_p, q, divisor or x.dtype.type(1), axis)  # nothing counts: the gradient is 0
    if reduction == "none":
        return losses, saved
    with np.errstate(invalid="ignore", divide="ignore"):
        return losses.sum() / divisor, saved


def cross_entropy_backward(dy: np.ndarray, saved: Saved) -> np.ndarray:
    """dx = dy / divisor · (softmax(x) · Σ_c q_c − q)."""
    log_p, q, divisor, axis = saved
    scale = np.asarray(dy / divisor)
    if scale.ndim:
        scale = np.expand_dims(scale, axis)
    return scale * (np.exp(log_p) * q.sum(axis=axis, keepdims=True) - q)


def _shares(x, target, weight, axis, ignore_index, smoothing) -> tuple[np.ndarray, float]:
    """q, and what ``"mean"`` divides by."""
    classes = x.shape[axis]
    along = (-1, *(1,) * (x.ndim - 1 - axis))  # shapes (C,) to broadcast against x
    if target.dtype.kind == "f":
        counted, q, samples = 1, target, x.size / classes
    else:
        target = np.expand_dims(target, axis)
        counted = target != ignore_index
        index = np.where(counted, target, 0)
        q = np.zeros_like(x)
        np.put_along_axis(q, index, 1, axis)
        samples = (counted if weight is None else counted * weight[index]).sum()
    if smoothing:
        q = q * x.dtype.type(1 - smoothing) + x.dtype.type(smoothing / classes)
    if weight is not None:
        q = q * weight.reshape(along)
    return (q * counted).astype(x.dtype, copy=False), float(samples)


def check_settings(ignore_index: int, reduction: str, label_smoothing: float) -> None:
    """Raise what :func:`cross_entropy_forward` would raise of these."""
    checks.signed(ignore_index, "ignore_index")
    checks.one_of(reduction, "reduction", _REDUCTIONS)
    if not isinstance(label_smoothing, (int, float, np.number)) or not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {label_smoothing!r}")


def _check(x, target, weight, axis, ignore_index, reduction, smoothing) -> None:
    checks.dtype(x.dtype, "input")
    if not x.ndim or not x.shape[axis]:
        raise ValueError(f"input must be (C,), (N, C) or (N, C, …) with C ≥ 1, got {x.shape}")
    classes, samples = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    checks.same_dtype(x, "input", weight=weight)
    if weight is not None and weight.shape != (classes,):
        raise ValueError(f"weight must have shape ({classes},), got {weight.shape}")
    check_settings(ignore_index, reduction, smoothing)
    if target.dtype.kind == "f":
        checks.same_dtype(x, "input", target=target)
        if target.shape != x.shape:
            raise ValueError(f"target of probabilities must be {x.shape}, got {target.shape}")
        if ignore_index >= 0:
            raise ValueError(f"ignore_index {ignore_index} needs a target of class indices")
        return
    if target.dtype.kind not in "iu":
        raise TypeError(f"target must hold class indices or probabilities, got {target.dtype}")
    if target.shape != samples:
        raise ValueError(
            f"target must have shape {samples} for input {x.shape}, got {target.shape}"
        )
    wrong = target[(target != ignore_index) & ((target < 0) | (target >= classes))]
    if wrong.size:
        raise ValueError(f"target must be within 0 … {classes - 1}, got class {wrong[0]}")
