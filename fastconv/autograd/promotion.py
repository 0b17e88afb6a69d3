"""The dtypes that operands combine to, which are PyTorch's."""

from __future__ import annotations

from functools import reduce
from numbers import Number, Real
from typing import Any

import numpy as np

from .variable import Variable, as_array

_FLOAT = np.dtype(np.float32)  # of Python floats
_NUMBERS = {bool: np.dtype(bool), int: np.dtype(np.int64)}
_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2}


def kind(dtype: np.dtype) -> int:
    """The rank of bools, integers and floats."""
    return _KINDS[dtype.kind]


def _common(first: np.dtype, second: np.dtype) -> np.dtype:
    """NumPy's, but that integers never widen floats, nor become such."""
    if (first.kind == "f") != (second.kind == "f"):
        return max(first, second, key=kind)
    common = np.promote_types(first, second)
    if kind(common) > max(kind(first), kind(second)):
        raise TypeError(f"no integers hold both {first} and {second}")
    return common


def _result(operands: list[Any]) -> np.dtype:
    """Arrays with axes decide; those without, and then numbers, only by a higher kind."""
    ranks: tuple[list[np.dtype], ...] = ([], [], [])
    for operand in operands:
        if isinstance(operand, np.ndarray):
            ranks[operand.ndim == 0].append(operand.dtype)
        else:
            ranks[2].append(_NUMBERS.get(type(operand), _FLOAT))
    return max((reduce(_common, rank) for rank in ranks if rank), key=kind)


def _plain(operand: Any) -> Any:
    """An array or a Python number (``TypeError`` for one that is not real)."""
    if isinstance(operand, (np.bool_, np.integer)):
        return operand.item()
    if isinstance(operand, (bool, int)):
        return operand
    if isinstance(operand, Real):
        return float(operand)
    if isinstance(operand, Number):
        raise TypeError(f"a tensor combines with real numbers, not with {operand!r}")
    return as_array(operand, "operand")


def combined(operands: tuple[Any, ...], fractional: bool) -> list[Any]:
    """Tensors, arrays and numbers as arrays of one dtype, and Python numbers.

    NumPy gives the numbers the dtype of the arrays.  Of integers, ``fractional`` makes float32.
    """
    plain = [o.data if isinstance(o, Variable) else _plain(o) for o in operands]
    dtypes = {o.dtype for o in plain if isinstance(o, np.ndarray)}
    if len(dtypes) == 1 and dtypes.pop().kind == "f":
        return plain
    dtype = _result(plain)
    if fractional and dtype.kind != "f":
        dtype = _FLOAT
    return [o.astype(dtype, copy=False) if isinstance(o, np.ndarray) else o for o in plain]
