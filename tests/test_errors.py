"""Error bounds on random, constant, offset and badly scaled data: ``bench/errors.py``, checked."""

from __future__ import annotations

import re
from pathlib import Path

import errors
import numpy as np
import oracle
import pytest

import fastconv as fc
from fastconv.comparison.calls import public_call
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS

LAYERS = {
    "3x3": errors.LAYERS[1],
    "long-sums": errors.LAYERS[2],
    "5x5": errors.LAYERS[5],
    "strided": errors.LAYERS[8],
    "lines": errors.LAYERS[9],
    "depthwise": errors.LAYERS[-1],
}


def _exact(problem, first, second):
    arguments = (problem.stride, problem.padding[::2], problem.dilation, problem.groups)
    if problem.direction == "forward":
        return oracle.forward(first, second, None, *arguments)
    if problem.direction == "backward_input":
        return oracle.backward_input(problem.x_shape, second, first, *arguments)
    return oracle.backward_weight(first, problem.w_shape, second, *arguments)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("data", errors.DATA)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_every_algorithm_keeps_its_bound(layer, data, direction):
    problem = layer._replace(direction=direction)
    operands = errors.operands(problem, data)
    exact = _exact(problem, *operands)
    call = public_call(problem, *operands)
    with fc.options(accuracy="fast"):
        for algorithm, bound in errors.bounds(problem).items():
            found = errors.error(call(algorithm=algorithm), exact)
            assert found <= bound, f"{algorithm}: {found:.1e} exceeds {bound:.1e}"


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "fft"])
def test_long_sums_of_equal_terms(algorithm):
    """Rounding errors of equal terms all point the same way, and would add up in one long sum."""
    x = np.full((1, 128, 24, 24), 1.3, np.float32)
    w = np.full((16, 128, 15, 15), 0.77, np.float32)
    exact = float(x[0, 0, 0, 0]) * float(w[0, 0, 0, 0]) * 128 * 15 * 15
    y = fc.conv2d(x, w, algorithm=algorithm)
    assert np.abs(y / exact - 1).max() < 5e-5


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("channels", "taps"), [(96, 3), (512, 1), (1024, 1), (2048, 1), (4096, 1), (160, 3)]
)
def test_equal_terms_of_any_value_keep_the_bound(channels, taps, order):
    """The yardstick's, on many constants: what is rounded off depends on them."""
    shape, w_shape = (1, channels, 7, 7), (16, channels, taps, taps)
    found = {name: 0.0 for name in ("direct", "im2col")}
    for i in range(24):
        x, w = np.full(shape, 0.51 + i / 17, np.float32), np.full(w_shape, 1.9 - i / 29, np.float32)
        if order == "nhwc":
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        exact = float(x[0, 0, 0, 0]) * float(w[0, 0, 0, 0]) * channels * taps**2
        for name in found:
            y = fc.conv2d(x, w, algorithm=name)
            found[name] = max(found[name], np.abs(y / exact - 1).max())
    for name, error in found.items():
        limit = ALGORITHMS[name].cost(
            described(shape, w_shape, 1, 0, 1, 1, "forward", "float32", order), 2
        )
        assert error <= limit.error, f"{name}: {error:.1e} exceeds {limit.error:.1e}"


def test_the_documented_errors_are_within_their_bounds():
    page = (Path(__file__).parents[1] / "docs" / "algorithms.md").read_text()
    shares = re.findall(r"\de[+-]\d\d \((\d+)%\)", page)
    assert len(shares) > 3 * len(DIRECTIONS) * len(errors.DATA)
    assert max(map(int, shares)) <= 100
