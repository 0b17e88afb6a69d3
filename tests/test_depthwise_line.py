"""``depthwise`` for short channels-last lines: where it sums them whole, and that it does."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DTYPES, Trial, assert_close, assert_fused

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.depthwise import _planned
from fastconv.core.machine import machine
from fastconv.plans.depthwise.line import DepthwiseLine
from fastconv.simd.vector import lanes

VECTOR = lanes(4)
SEVEN = 7 * VECTOR  # an odd number of vectors, where two are summed together


def _case(name, images, channels, size, taps, *arguments):
    return cases.Case(
        f"line-{name}", images, channels, *size, channels, *taps, *arguments, channels
    )


CASES = (
    _case("borders", 2, SEVEN, (5, 7), (3, 3), 1, 1, 1),
    _case("one-vector", 3, VECTOR, (6, 5), (3, 3), 1, 1, 1),
    _case("no-padding", 1, 2 * VECTOR, (9, 8), (3, 3), 1, 0, 1),
    _case("five", 1, SEVEN, (7, 7), (5, 5), 1, 2, 1),
    _case("taps-beyond", 2, 2 * VECTOR, (3, 3), (7, 5), 1, (3, 2), 1),
    _case("stride", 2, 3 * VECTOR, (14, 14), (3, 3), 2, 1, 1),
    _case("stride-five", 1, SEVEN, (13, 11), (5, 5), 2, 2, 1),
    _case("strides", 2, 2 * VECTOR, (9, 14), (4, 5), (3, 2), (1, 2), 1),
    _case("parities-apart", 1, SEVEN, (3, 19), (3, 3), 2, 1, 1),
    _case("far-strides", 2, VECTOR, (9, 14), (2, 3), (4, 5), 0, 1),
    _case("dilation", 1, 3 * VECTOR, (8, 7), (3, 3), 1, 2, 2),
    _case("row", 2, VECTOR, (1, 8), (1, 3), 1, (0, 1), 1),
    _case("part-of-a-vector", 2, VECTOR + 1, (7, 7), (3, 3), 1, 1, 1),
    _case("parts-of-tiles", 1, SEVEN + 3, (5, 7), (3, 3), 1, 1, 1),
    _case("part-for-each-parity", 1, 3 * VECTOR - 1, (9, 8), (3, 3), 2, 1, 1),
    _case("same", 1, 2 * VECTOR, (6, 6), (2, 4), 1, "same", 1),
)


def _plan(case, direction="forward", order="nhwc", threads=2):
    problem = described(case.x_shape, case.w_shape, *case.arguments, direction, "float32", order)
    return _planned(problem, threads)


@pytest.mark.parametrize("threads", [2, 64])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_short_lines_stay_in_registers(case, direction, threads):
    plan = _plan(case, direction, threads=threads)
    if machine().isa.registers < case.W:
        pytest.skip("the registers hold shorter lines")
    assert isinstance(plan, DepthwiseLine)
    assert plan.units.in_order // plan.splits >= max(plan.together)
    for c, together in zip(plan.parts, plan.together, strict=True):
        held = together * (c.columns.outputs + c.columns.window + 1)
        assert together >= 1 and held <= machine().isa.registers


@pytest.mark.parametrize(
    ("case", "order"),
    [
        (_case("planes", 1, VECTOR, (7, 7), (3, 3), 1, 1, 1), "nchw"),
        (_case("long", 1, VECTOR, (7, 40), (3, 3), 1, 1, 1), "nhwc"),
        (_case("less-than-a-vector", 1, VECTOR - 1, (7, 7), (3, 3), 1, 1, 1), "nhwc"),
    ],
    ids=["planes", "long", "less-than-a-vector"],
)
def test_others_are_cut_into_strips(case, order):
    assert not isinstance(_plan(case, order=order), DepthwiseLine)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, direction, dtype):
    trial = Trial(case, direction, dtype, "nhwc")
    result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "depthwise", "nhwc")


@pytest.mark.parametrize("stride", [2, 3, (4, 5)])
def test_every_output_of_a_transposed_convolution_gets_the_bias(stride):
    case = _case("transposed", 2, 2 * VECTOR, (9, 11), (3, 4), stride, 0, 1)
    trial = Trial(case, "backward_input", order="nhwc")
    dy, w = trial.operands()
    bias = np.linspace(-9, 9, case.C, dtype=np.float32)
    plain = fc.conv_transpose2d(dy, w, None, stride, groups=case.C, algorithm="depthwise")
    given = fc.conv_transpose2d(dy, w, bias, stride, groups=case.C, algorithm="depthwise")
    np.testing.assert_allclose(given, plain + bias[:, None, None], atol=1e-5)
