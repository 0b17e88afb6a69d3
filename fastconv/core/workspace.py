"""Scratch memory that is reused between calls: aligned blocks, each Python thread has its own."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

import numpy as np

from .address import address

ALIGN = 64  # a cache line, and the widest vector
POISON = False  # tests set this: scratch is filled with NaN before every use


class _Shelf(threading.local):
    """The blocks of a thread that are not in use."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []


_shelf = _Shelf()


def aligned(nbytes: int) -> int:
    """``nbytes`` rounded up to whole cache lines."""
    return -(-nbytes // ALIGN) * ALIGN


def odd_lines(nbytes: int) -> int:
    """``nbytes`` as an odd number of cache lines.

    What is read or written together, so far apart, uses all sets of the cache alike.
    """
    return aligned(nbytes) | ALIGN


def _take(nbytes: int) -> np.ndarray:
    """A block with room for so much behind its first boundary, off the shelf or new."""
    blocks = _shelf.blocks
    for at in reversed(range(len(blocks))):
        if blocks[at].nbytes >= nbytes + ALIGN:
            block = blocks.pop(at)
            break
    else:
        blocks.clear()  # gives back what is idle before taking more
        block = np.empty(nbytes + ALIGN, np.uint8)
    if POISON:
        block.fill(0xFF)  # every float32 and float64 made of these bytes is NaN
    return block


class Scratch:
    """At least ``nbytes`` of aligned scratch for a ``with`` block, which gets their address.

    The content is undefined.  The block is off the shelf meanwhile: whatever else this thread
    computes before the end, be it in a signal handler, gets another one.
    """

    __slots__ = ("_block",)

    def __init__(self, nbytes: int):
        self._block = _take(nbytes)

    def __enter__(self) -> int:
        return aligned(address(self._block))

    def __exit__(self, *error: object) -> None:
        _shelf.blocks.append(self._block)


@contextlib.contextmanager
def reserve(nbytes: int) -> Iterator[np.ndarray]:
    """The same as an array of bytes."""
    block = _take(nbytes)
    try:
        yield block[-address(block) % ALIGN :][:nbytes]
    finally:
        _shelf.blocks.append(block)


def release() -> None:
    """Give this thread's blocks back to the system; the next call takes one anew."""
    _shelf.blocks.clear()


@functools.lru_cache(maxsize=4096)
def _layout(
    shape: tuple[int, ...], dtype: str, order: str
) -> tuple[np.dtype, int, tuple[int, ...]]:
    """The type of an array's elements, their number, and its strides."""
    kind = np.dtype(dtype)
    n, c, h, w = shape
    pixel = c if order == "nhwc" else 1
    strides = (c * h * w, 1 if order == "nhwc" else h * w, w * pixel, pixel)
    return kind, n * c * h * w, tuple(kind.itemsize * step for step in strides)


def empty(shape: tuple[int, ...], dtype: str, order: str) -> np.ndarray:
    """A new array (N, C, H, W) in memory order ``"nchw"`` or ``"nhwc"``, on a cache-line boundary.

    NumPy aligns to 16 bytes; a vector store across two cache lines costs twice.
    """
    kind, size, strides = _layout(shape, dtype, order)
    block = np.empty(size + ALIGN // kind.itemsize, kind)
    if POISON:
        block.fill(np.nan)
    return np.ndarray(shape, kind, block, -address(block) % ALIGN, strides)
