"""Arguments become plain integers and arrays here, or a clear error before any work is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

DTYPES = ("float32", "float64")
_DTYPES = frozenset(map(np.dtype, DTYPES))
_LARGEST = 2**62  # bytes in one array, or distance between two of its elements


def array(value, name: str, ranks: tuple[int, ...]) -> np.ndarray:
    """``value`` as a native, aligned float32 or float64 array with one of ``ranks`` dimensions.

    ndarrays are taken as they are; byte-swapped and misaligned ones are copied.  Anything with
    ``__dlpack__`` is taken without a copy.  Lists and integer arrays are refused (``TypeError``).
    """
    if not isinstance(value, np.ndarray):
        if not hasattr(value, "__dlpack__"):
            raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
        value = from_dlpack(value, name)
    if value.dtype not in _DTYPES:
        if value.dtype.kind != "f" or value.dtype.newbyteorder("=") not in _DTYPES:
            raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
        value = value.astype(value.dtype.newbyteorder("="))
    if type(value) is not np.ndarray:
        unmasked(value, name)
        value = np.asarray(value)
    if value.ndim not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{name} must have {wanted} dimensions, got shape {value.shape}")
    if not value.flags.aligned:
        value = value.copy()
    return value


def unmasked(value, name: str) -> None:
    """``TypeError`` for what loses its mask as an array."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array: a mask would be lost")


def from_dlpack(value, name: str) -> np.ndarray:
    """The array of another library, without a copy."""
    if getattr(value, "is_neg", bool)():
        raise TypeError(f"{name} is a lazy negation, whose sign DLPack loses: resolve it first")
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be shared as a NumPy array: {error}") from error


def same_dtype(first: np.ndarray, name: str, **others: np.ndarray | None) -> None:
    dtype = first.dtype
    for other, value in others.items():
        if value is not None and value.dtype is not dtype and value.dtype != dtype:
            raise TypeError(
                f"{name} and {other} must have the same dtype, got {dtype} and {value.dtype}"
            )


def integer(value, name: str, least: int = 0, bits: int = 31) -> int:
    if type(value) is not int:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, np.integer):
            raise TypeError(f"{name} must be an int, got {value!r}")
        value = int(value)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value >= 2**bits:
        raise ValueError(f"{name} must be below 2**{bits}, got {value}")
    return value


def signed(value, name: str) -> int:
    """An integer of any sign, as 64 bits hold it."""
    return integer(value, name, -(2**63), 63)


def axis(value, name: str, shape: tuple[int, ...]) -> None:
    """An axis of an array, counted from either end."""
    if not -len(shape) <= signed(value, name) < len(shape):
        raise ValueError(f"{name} must be an axis of shape {shape}, got {value}")


def flag(value, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {value!r:.60}")
    return bool(value)


def integers(value, name: str, count: int, least: int = 0) -> tuple[int, ...]:
    """One int for all axes, or a sequence of ``count`` of them."""
    if type(value) is int:
        return (integer(value, name, least),) * count
    if isinstance(value, (tuple, list)):
        if len(value) != count:
            several = "a sequence of one" if count == 1 else f"{count} ints"
            raise ValueError(f"{name} must be an int or {several}, got {value!r}")
        return tuple(integer(v, name, least) for v in value)
    return (integer(value, name, least),) * count


def shape(value, name: str, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """A sequence of sizes, such as the shape of a gradient to compute."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a sequence of ints, got {value!r:.60}")
    if len(value) not in ranks:
        wanted = " or ".join(map(str, ranks))
        raise ValueError(f"{name} must have {wanted} entries, got {tuple(value)!r:.60}")
    sizes = tuple(integer(v, name) for v in value)
    fits(sizes, name)
    return sizes


def one_of(value, name: str, known: Iterable[str]) -> str:
    """One of some names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
    return value


def fits(sizes: tuple[int, ...], name: str) -> None:
    """Refuse sizes whose array no address could span."""
    if math.prod(sizes) * 8 >= _LARGEST:
        raise ValueError(f"{name} is too large to address: {sizes}")


def memory_format(value: np.ndarray) -> str | None:
    """``"nchw"`` or ``"nhwc"`` where rows or channels are contiguous; None for any other order.

    A size of 1 makes an axis's stride meaningless: it then counts as contiguous.
    """
    _, c, _, w = value.shape
    _, sc, _, sw = value.strides
    item = value.itemsize
    rows = sw == item or w == 1
    channels = sc == item or c == 1
    if rows and not (channels and sw > item):
        # Both orders fit when C or W is 1; with contiguous pixels, rows are the natural reading.
        return "nchw"
    return "nhwc" if channels else None


def dense(array: np.ndarray) -> tuple[np.ndarray, str]:
    """The array and its memory order; an order that no kernel reads is made contiguous first."""
    # Planes of one pixel are contiguous in either order; the strides tell which was meant.
    if array.strides[3] == array.itemsize and array.flags.c_contiguous:
        return array, "nchw"
    order = memory_format(array)
    if order is None:
        return np.ascontiguousarray(array), "nchw"
    return array, order


def order_of_result(array: np.ndarray, order: str, channels: int) -> str:
    """The memory order for so many channels made of an array that has ``order``.

    One channel is the same memory in both orders; its stride tells which was meant.
    """
    _, c, h, w = array.shape
    meant = c == 1 < channels and array.strides[1] == array.itemsize and h * w > 1
    return "nhwc" if meant else order


def dtype(value, name: str = "dtype") -> np.dtype:
    """float32 or float64, by any of NumPy's names."""
    try:
        found = None if value is None else np.dtype(value)  # of None NumPy makes float64
    except TypeError:
        found = None
    if found not in _DTYPES:
        raise TypeError(f"{name} must be float32 or float64, got {found or repr(value)}")
    return found


def random(value, name: str) -> np.random.Generator:
    """A generator of random numbers, or one started from a seed."""
    try:
        return np.random.default_rng(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a generator or a seed, got {value!r}") from None


def positive(value, name: str) -> float:
    """A finite number above 0."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return float(value)
