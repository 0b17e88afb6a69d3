"""The windows that the tests of pooling go through, one line each."""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np
import pytest
from harness import fenced

import fastconv as fc
from fastconv.ops.avg_pooling import avg_pool2d_backward
from fastconv.ops.max_pooling import max_pool2d_backward, max_pool2d_forward


class Case(NamedTuple):
    """The shape of an input, and PyTorch's arguments."""

    name: str
    shape: tuple[int, int, int, int]
    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False

    @property
    def window(self):
        return (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    @property
    def undilated(self):
        return (self.kernel_size, self.stride, self.padding, self.ceil_mode)

    def input(self, dtype="float32", order="nchw"):
        """Many equal elements, so that the choice among them matters."""
        return self._values(self.shape, dtype, order)

    def gradient(self, shape, dtype, order):
        return self._values(shape, dtype, order)

    def _values(self, shape, dtype, order):
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return fenced(rng.integers(-4, 5, shape) / 4, dtype, order)


CASES = (
    # channels and columns around the lengths of vectors
    Case("odd-3-channels", (2, 3, 9, 11), 3, 2, 1),
    Case("odd-17-channels", (2, 17, 6, 7), 2),
    Case("odd-33-channels", (1, 33, 5, 35), (2, 3), (1, 2), (1, 0)),
    Case("odd-64-columns", (1, 2, 3, 64), 2, 2),
    Case("odd-65-columns", (2, 1, 4, 65), 3, 1, 1),
    Case("odd-131-columns", (1, 2, 2, 131), (1, 4), (1, 2), (0, 2)),
    Case("odd-one-pixel", (3, 5, 1, 1), 1),
    Case("odd-one-column", (2, 3, 7, 1), (3, 2), (2, 1), (1, 1)),
    Case("odd-one-row", (2, 3, 1, 9), (2, 3), 1, 1),
    # kernels and strides
    Case("kernel-1", (1, 4, 5, 6), 1),
    Case("kernel-1-stride-2", (1, 4, 5, 6), 1, 2),
    Case("kernel-2-stride-3", (1, 4, 9, 40), 2, 3),
    Case("kernel-2-stride-5", (1, 2, 9, 91), 2, 5, 1),
    Case("kernel-3-stride-1", (1, 16, 7, 20), 3, 1, 1),
    Case("kernel-3-stride-2", (1, 16, 8, 37), 3, 2),
    Case("kernel-5-stride-3", (2, 3, 11, 50), 5, 3, 2),
    Case("kernel-2x5", (2, 3, 8, 9), (2, 5), (3, 1), (1, 2)),
    Case("kernel-global", (2, 19, 7, 6), (7, 6)),
    Case("kernel-beyond", (1, 3, 4, 5), 9, 1, 4),
    Case("kernel-huge", (1, 2, 3, 20), 2**31 - 2, 2**31 - 1, 2**30 - 1),
    # the last window hangs over
    Case("ceil-2", (1, 3, 5, 7), 2, 2, 0, 1, True),
    Case("ceil-3-padded", (2, 5, 6, 6), 3, 2, 1, 1, True),
    Case("ceil-3-stride-3", (1, 17, 7, 5), 3, 3, 1, 1, True),
    Case("ceil-dropped", (1, 3, 5, 5), 2, 3, 1, 1, True),  # it would start in the right padding
    Case("ceil-wider-than-input", (1, 3, 2, 2), 3, 3, 0, 1, True),
    Case("ceil-4-stride-5", (1, 4, 9, 98), 4, 5, 2, 1, True),
    # large enough for several threads
    Case("threads-planes", (4, 32, 28, 28), 3, 2, 1),
    Case("threads-one-image", (1, 48, 40, 40), 2, 2),
)
DILATED = (
    Case("dilation-2", (2, 5, 9, 21), 3, 1, 1, 2),
    Case("dilation-2x3-stride-2", (1, 17, 12, 43), (3, 2), 2, (1, 1), (2, 3), True),
    Case("dilation-3-stride-3", (1, 3, 11, 60), 2, 3, 1, 3),
    Case("dilation-misses", (1, 3, 1, 6), 2, 1, 1, 2),  # windows of nothing but padding
    Case("dilation-misses-columns", (2, 17, 5, 1), (1, 2), 1, (0, 1), (1, 2)),
)

FUNCTIONS = {  # forward, backward as functions of x, of (dy, x), with the window 3, 2, 1
    "max": (
        lambda x: fc.max_pool2d(x, 3, 2, 1),
        lambda dy, x: max_pool2d_backward(dy, max_pool2d_forward(x, 3, 2, 1)[1], x.shape),
    ),
    "avg": (
        lambda x: fc.avg_pool2d(x, 3, 2, 1, True, False),
        lambda dy, x: avg_pool2d_backward(dy, x.shape, 3, 2, 1, True, False),
    ),
}
BOTH = pytest.mark.parametrize(("forward", "backward"), FUNCTIONS.values(), ids=FUNCTIONS)
