"""Scratch memory that is reused between calls: aligned, one block for each Python thread."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator

import numpy as np

from .address import address

ALIGN = 64  # a cache line, and the widest vector
POISON = False  # tests set this: scratch is filled with NaN before every use

_ITEMSIZE = {"float32": 4, "float64": 8}
_local = threading.local()


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to whole cache lines."""
    return -(-nbytes // ALIGN) * ALIGN


def scratch(nbytes: int) -> int:
    """The address of at least ``nbytes`` of aligned scratch, valid until this thread's next call.

    Several Python threads each have a block of their own.  Its content is undefined.
    """
    held = getattr(_local, "held", 0)
    if getattr(_local, "size", -1) < held + nbytes:
        _local.size, _local.block = -1, None  # release the old block before taking a larger one
        _local.block = np.empty(held + nbytes + ALIGN, np.uint8)
        _local.address = aligned(address(_local.block))
        _local.size = held + nbytes
    if POISON:
        # Every float32 and float64 made of these bytes is NaN.
        _local.block[_local.address - address(_local.block) + held :].fill(0xFF)
    return _local.address + held


def release() -> None:
    """Give this thread's block back to the system; the next call takes one anew."""
    if getattr(_local, "held", 0) == 0:
        _local.size, _local.block = -1, None


@contextlib.contextmanager
def reserve(nbytes: int, within: int) -> Iterator[np.ndarray]:
    """Scratch of ``nbytes`` as an array of bytes that lasts for the ``with`` block.

    Calls of :func:`scratch` inside it get what is behind; ``within`` is the most they ask for.
    """
    first = scratch(aligned(nbytes) + within)
    start = first - address(_local.block)
    held = getattr(_local, "held", 0)
    _local.held = held + aligned(nbytes)
    try:
        yield _local.block[start : start + nbytes]
    finally:
        _local.held = held


def empty(shape: tuple[int, ...], dtype: str, order: str) -> np.ndarray:
    """A new array (N, C, H, W) in memory order ``"nchw"`` or ``"nhwc"``, on a cache-line boundary.

    NumPy aligns to 16 bytes; a vector store across two cache lines costs twice.
    """
    if order == "nhwc":
        n, c, h, w = shape
        return empty((n, h, w, c), dtype, "nchw").transpose(0, 3, 1, 2)
    itemsize = _ITEMSIZE[dtype]
    size = math.prod(shape)
    block = np.empty(size + ALIGN // itemsize, dtype)
    if POISON:
        block.fill(np.nan)
    start = -address(block) % ALIGN // itemsize
    return block[start : start + size].reshape(shape)
