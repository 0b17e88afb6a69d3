"""Weight gradients of constant data: sums of very many equal terms, whose rounding adds up."""

from __future__ import annotations

import numpy as np
import pytest
from harness import DISTINCT, FORMATS, assert_close

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import workspace

N, C, H = 16, 16, 64


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("groups", [1, C], ids=["dense", "depthwise"])
@pytest.mark.parametrize("algorithm", [name for name in DISTINCT if name != "reference"])
def test_errors_keep_the_bound(algorithm, groups, order):
    shape, w_shape = (N, C, H, H), (C, C // groups, 3, 3)
    arguments = (1, 1, 1, groups)
    problem = described(shape, w_shape, *arguments, "backward_weight", "float32", order)
    if ALGORITHMS[algorithm].refuses(problem):
        pytest.skip("refused")
    x, dy = workspace.empty(shape, "float32", order), workspace.empty(shape, "float32", order)
    x[...], dy[...] = 0.7, 0.3
    with fc.options(accuracy="fast"):
        dw = fc.grad.conv2d_weight(x, w_shape, dy, *arguments, algorithm=algorithm)
    rows = np.array([H - 1, H, H - 1])  # outputs that see the tap inside the image
    product = float(np.float32(0.7)) * float(np.float32(0.3))
    expected = np.broadcast_to(N * product * np.outer(rows, rows), w_shape)
    assert_close(dw, expected, ALGORITHMS[algorithm].cost(problem, 1).error)
