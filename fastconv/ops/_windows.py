"""Where pooling windows lie: plain arithmetic along one axis, no kernel."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from fastconv.core import checks

_LARGEST_PLANE = 2**31  # positions inside a window are 32-bit integers


class Spans(NamedTuple):
    """What each output along an axis reads: ``table`` has its first input, how many, a divisor.

    The inputs stand ``spread`` apart; some, or all, may lie outside the array.  Outputs that are
    ``y_step`` apart read spans that start ``x_step`` apart.
    """

    table: np.ndarray
    spread: int
    x_step: int
    y_step: int

    def clipped(self, size: int) -> np.ndarray:
        """The table without the inputs outside 0 … size − 1."""
        start, count, divisor = self.table.T
        low = np.maximum(0, -(start // self.spread))
        high = np.minimum(count, (size - 1 - start) // self.spread + 1)
        count = np.maximum(0, high - low)
        return np.column_stack([np.where(count, start + low * self.spread, 0), count, divisor])

    def runs(self, size: int) -> np.ndarray:
        """The table with one row (…, first output, outputs) for all outputs that are alike.

        Inputs that are outside the array for every output of a run are left out.
        """
        parts = []
        for phase in range(min(self.y_step, len(self.table))):
            spans = self.table[phase :: self.y_step]
            alike = (np.diff(spans, axis=0) == (self.x_step, 0, 0)).all(axis=1)
            first = np.flatnonzero(np.append(True, ~alike))
            outputs = np.diff(first, append=len(spans))
            parts.append(np.column_stack([spans[first], phase + first * self.y_step, outputs]))
        table = np.concatenate(parts)
        start, count, outputs = table[:, 0], table[:, 1], table[:, -1]
        last = start + (outputs - 1) * self.x_step
        low = np.clip(-(last // self.spread), 0, count)
        high = np.minimum(count, (size - 1 - start) // self.spread + 1)
        table[:, 0], table[:, 1] = start + low * self.spread, np.maximum(0, high - low)
        return table


class Axis(NamedTuple):
    """One spatial axis: window i covers the inputs i·stride − padding + r·dilation, r < taps."""

    size: int
    taps: int
    stride: int
    padding: int
    dilation: int
    outputs: int

    def windows(self, divisors: np.ndarray | int = 1) -> Spans:
        """The inputs of every output."""
        start = np.arange(self.outputs) * self.stride - self.padding
        return Spans(_table(start, self.taps, divisors), self.dilation, self.stride, 1)

    def readers(self, divisors: np.ndarray | int = 1) -> Spans:
        """The outputs that read each input, as its span; only without dilation."""
        last = np.arange(self.size) + self.padding
        low = (last - self.taps) // self.stride + 1
        return Spans(_table(low, last // self.stride - low + 1, divisors), 1, 1, self.stride)

    def extents(self, include_pad: bool) -> np.ndarray:
        """Inputs that each window's average divides by; never any beyond the padding."""
        if not include_pad:
            return self.windows().clipped(self.size)[:, 1]
        end = self.size + 2 * self.padding
        return np.minimum(self.taps, end - np.arange(self.outputs) * self.stride)


def _table(*columns: np.ndarray | int) -> np.ndarray:
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.int64)


def flag(value, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a bool, got {value!r}")
    return bool(value)


def axes(
    shape, kernel_size, stride, padding, dilation, ceil_mode, name="input"
) -> tuple[Axis, Axis]:
    """The checked rows and columns of a pooling over arrays (N, C, H, W) of ``shape``."""
    kernel_size = checks.integers(kernel_size, "kernel_size", 2, 1)
    stride = kernel_size if stride is None else checks.integers(stride, "stride", 2, 1)
    padding = checks.integers(padding, "padding", 2)
    dilation = checks.integers(dilation, "dilation", 2, 1)
    ceil_mode = flag(ceil_mode, "ceil_mode")
    height, width = shape[2:]
    if min(shape[1:]) < 1:
        raise ValueError(f"only the batch of {name} may be empty, got shape {tuple(shape)}")
    if (height + 3) * width >= _LARGEST_PLANE:  # windows reach up to three rows further
        raise ValueError(f"a plane of {name} must be below 2**31 elements, got {tuple(shape)}")
    if 2 * padding[0] > kernel_size[0] or 2 * padding[1] > kernel_size[1]:
        raise ValueError(
            f"padding must be at most half of kernel_size, got padding {padding} "
            f"with kernel_size {kernel_size}"
        )
    rows = _axis(height, kernel_size[0], stride[0], padding[0], dilation[0], ceil_mode)
    columns = _axis(width, kernel_size[1], stride[1], padding[1], dilation[1], ceil_mode)
    if rows.outputs < 1 or columns.outputs < 1:
        raise ValueError(
            f"kernel_size {kernel_size} with dilation {dilation} is larger than the padded {name}: "
            f"{name} {tuple(shape)}, padding {padding}"
        )
    return rows, columns


@functools.lru_cache(maxsize=4096)
def _axis(size, taps, stride, padding, dilation, ceil_mode) -> Axis:
    """Outputs are counted as in PyTorch: ⌊(size + 2·padding − dilation·(taps−1) − 1) / stride⌋ + 1,
    or ⌈…⌉ + 1 with ``ceil_mode``, less a last window that would start beyond the input.
    """
    room = size + 2 * padding - dilation * (taps - 1) - 1
    outputs = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (outputs - 1) * stride >= size + padding:
        outputs -= 1
    return Axis(size, taps, stride, padding, dilation, outputs)
