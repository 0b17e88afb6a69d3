"""Strided input gradients of a few channels, all parities of a line at once."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.machine import machine
from fastconv.gemm.tiling import parity_tile
from fastconv.plans.lines.parity import ParityCorrelation
from fastconv.simd.vector import lanes

VECTOR = lanes(4)
CASES = (
    cases.Case("parities", 2, 16, 12, 14, 32, 3, 3, 2, 1),
    cases.Case("parities-odd", 3, 16, 13, 11, 8, 3, 3, 2, 1),
    cases.Case("parities-2-by-3", 1, 16, 9, 30, 24, 3, 3, (2, 3), 1),
    cases.Case("parities-5x4", 2, 16, 14, 15, 12, 5, 4, 2, (2, 1)),
    cases.Case("parities-no-overlap", 2, 16, 12, 16, 32, 2, 2, 2),
    cases.Case("parities-gaps", 1, 16, 17, 16, 16, 2, 2, 3),
    cases.Case("parities-of-groups", 2, 64, 11, 12, 32, 3, 3, 2, 1, groups=4),
    cases.Case("parities-together", 2, 64, 15, 14, 64, 3, 3, 2, 1, groups=8),
    cases.Case("parities-together-4", 1, 64, 10, 11, 32, 3, 3, 2, 1, groups=16),
)


FILLED = [
    cases.Case(
        f"parities-{filters}-{height}x{width}", 2, VECTOR, height, width, filters, 3, 3, 2, 1
    )
    for filters in (1, 8)
    for height, width in ((9, 14), (15, 31), (9, 16))
]


def _parts(case: cases.Case, dtype: str, order: str) -> list:
    return Direct()._build(Trial(case, "backward_input", dtype, order).problem, 2)


@pytest.mark.skipif(VECTOR != 16, reason="the cases are of sixteen lanes")
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_few_channels_are_read_once_for_all_parities(case, order):
    (part,) = _parts(case, "float32", order)
    assert isinstance(part, ParityCorrelation) and part.planes == (order == "nchw")
    assert part.together == (VECTOR * case.groups // case.C if case.groups > 1 else 1)


@pytest.mark.skipif(VECTOR not in (8, 16), reason="few filters are folded into short vectors")
@pytest.mark.parametrize("case", FILLED, ids=lambda case: case.name)
def test_as_many_channels_as_lanes(case):
    (part,) = _parts(case, "float32", "nhwc")
    assert isinstance(part, ParityCorrelation)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*CASES, *FILLED], ids=lambda case: case.name)
def test_results(case, dtype, order):
    trial = Trial(case, "backward_input", dtype, order)
    for threads in (1, 2):
        with fc.options(num_threads=threads):
            result = trial.run("direct", *trial.operands())
        assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("order", FORMATS)
def test_bias_and_relu_of_transposed_convolutions(order):
    """What no tap reaches is the bias too."""
    x = np.random.default_rng(0).standard_normal((2, 24, 6, 7))
    w = np.random.default_rng(1).standard_normal((24, VECTOR, 2, 2))
    bias = np.linspace(-1, 1, VECTOR)
    if order == "nhwc":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y = fc.conv_transpose2d(*(a.astype(np.float32) for a in (x, w, bias)), stride=3)
    expected = fc.conv_transpose2d(x, w, bias, stride=3, algorithm="reference")
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_go_where_their_taps_do(value, order):
    trial = Trial(CASES[1], "backward_input", "float32", order)
    dy, w = trial.operands()
    dy[1, 3, 2, 4] = value
    result = trial.run("direct", dy, w)
    rows, columns = slice(3, 6), slice(7, 10)  # 3 taps around (2, 4) · 2
    assert not np.isfinite(result[1, :, rows, columns]).any()
    result[1, :, rows, columns] = 0
    assert np.isfinite(result).all()


def test_others_are_not():
    for x, w, *rest in (
        ((2, VECTOR, 16, 16), (64, VECTOR, 3, 3), 2, 1, 1, 1),  # many channels
        ((2, VECTOR + 1, 16, 16), (16, VECTOR + 1, 3, 3), 2, 1, 1, 1),  # no whole vector
        ((2, VECTOR, 16, 16), (16, VECTOR, 3, 3), 1, 1, 1, 1),  # one parity
        ((2, VECTOR, 16, 16), (16, VECTOR, 3, 3), 2, 1, 2, 1),  # dilated
        ((2, VECTOR, 16, 16), (16, VECTOR, 3, 3), (1, 2), 1, 1, 1),  # parities along one axis
        ((2, VECTOR, 16, 16), (16, VECTOR, 1, 1), 2, 0, 1, 1),  # one tap
    ):
        problem = described(x, w, *rest, "backward_input", "float32", "nhwc")
        assert not any(isinstance(part, ParityCorrelation) for part in Direct()._build(problem, 2))


@pytest.mark.parametrize("taps", [[2, 1], [6, 3], [12, 12, 6, 6], [4]])
@pytest.mark.parametrize("columns", [3, 14, 112])
def test_tiles_fit_the_registers(columns, taps):
    registers = machine().isa.registers
    for nv in (2, 4, 9):
        tile = parity_tile(columns, taps, nv, 2, 1)
        if tile is None:
            assert nv + max(taps) + 1 > registers
            continue
        assert 1 <= tile.mr <= columns and 0 < tile.score < 1
        assert tile.mr * nv + max(taps) + 1 <= registers
