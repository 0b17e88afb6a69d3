"""Padding an image with zeros, or with itself: reflected, repeated or wrapped around.

Both passes go over the border one slice at a time: a slice i of it is a copy of a slice j inside,
so its gradient is added to that of j.  Axes follow one another, which fills the corners.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from fastconv.core import checks

# The modes, as ``numpy.pad`` names them, and the most that each can take from an axis of size n.
_BORDERS: dict[str, tuple[Any, Callable[[int], int]]] = {
    "reflect": ("reflect", lambda n: max(n - 1, 0)),
    "replicate": ("edge", lambda n: 2**31 if n else 0),
    "circular": ("wrap", lambda n: n),
}
MODES = ("constant", *_BORDERS)

Pads = tuple[tuple[int, int], ...]  # before and after, for each axis


def pad_forward(x: np.ndarray, pads: Pads, mode: str, value: float = 0.0) -> np.ndarray:
    """x with ``before + after`` elements more along each axis, in the memory order of x.

    ``mode`` is one of :data:`MODES`; ``value`` fills the border in mode ``"constant"``.

    Raises
    ------
    ValueError : the mode is unknown, or an axis has too few elements to take the border from.
    """
    _check(x.shape, pads, mode)
    shape = [before + n + after for n, (before, after) in zip(x.shape, pads, strict=True)]
    y = np.empty_like(x, shape=shape)
    if mode == "constant":
        y.fill(value)
    y[_inside(y.shape, pads)] = x
    for border, source in _copies(x.shape, pads, mode):
        y[border] = y[source]
    return y


def pad_backward(dy: np.ndarray, pads: Pads, mode: str) -> np.ndarray:
    """dx: the inner part of dy, to which each copy in the border has added its gradient."""
    dy = dy.copy(order="K")
    inside = _inside(dy.shape, pads)
    for border, source in reversed(list(_copies(dy[inside].shape, pads, mode))):
        dy[source] += dy[border]
    return dy[inside]


def check_fill(value: Any, dtype: np.dtype) -> None:
    """Refuse what an array of ``dtype`` cannot hold."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"value must be a number, got {value!r}")
    if dtype.kind != "f" and not float(value).is_integer():
        raise ValueError(f"value must be whole for an input of dtype {dtype}, got {value!r}")
    low, high = _range(dtype)
    number: Any = float(value) if dtype.kind == "f" else int(cast(Any, value))
    if math.isfinite(number) and not low <= number <= high:
        raise ValueError(f"value must fit an input of dtype {dtype}, got {value!r}")


def _inside(shape: tuple[int, ...], pads: Pads) -> tuple[slice, ...]:
    """Where x lies in y."""
    return tuple(slice(before, n - after) for n, (before, after) in zip(shape, pads, strict=True))


def _copies(shape: tuple[int, ...], pads: Pads, mode: str) -> Iterator[tuple[tuple, tuple]]:
    """Indices of every slice of the border and of the one inside that it is a copy of."""
    if mode == "constant":
        return
    for axis, (n, (before, after)) in enumerate(zip(shape, pads, strict=True)):
        if not before and not after:
            continue
        along = (slice(None),) * axis
        sources = np.pad(np.arange(n), (before, after), _BORDERS[mode][0]) + before
        for i in (*range(before), *range(before + n, before + n + after)):
            yield (*along, i), (*along, sources[i])


def _check(shape: tuple[int, ...], pads: Pads, mode: str) -> None:
    checks.one_of(mode, "mode", MODES)
    if mode == "constant":
        return
    for n, pad in zip(shape, pads, strict=True):
        most = _BORDERS[mode][1](n)
        if max(pad) > most:
            raise ValueError(f"{mode} padding of {pad} needs more than the {n} elements of {shape}")


def _range(dtype: np.dtype) -> tuple[float, float]:
    """The least and the largest finite number of a dtype."""
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return np.iinfo(dtype).min, np.iinfo(dtype).max
