"""``depthwise`` on channels-last pixels that are no whole vectors: the last one ends with them."""

from __future__ import annotations

import cases
import pytest
from harness import DIRECTIONS, DTYPES, Trial, assert_close, assert_fused

import fastconv as fc
from fastconv.conv.depthwise import _planned
from fastconv.plans.correlation import unfolded
from fastconv.plans.depthwise.units import Units
from fastconv.simd.vector import lanes

VECTOR = lanes(4)


def _case(name, images, channels, size, taps, *arguments):
    return cases.Case(
        f"last-{name}", images, channels, *size, channels, *taps, *arguments, channels
    )


CASES = (
    _case("one-more", 2, VECTOR + 1, (9, 33), (3, 3), 1, 1, 1),
    _case("one-less", 1, 2 * VECTOR - 1, (8, 40), (3, 3), 1, 1, 1),
    _case("many", 1, 9 * VECTOR + 5, (6, 35), (3, 3), 1, 1, 1),
    _case("strided", 2, 3 * VECTOR + 2, (15, 66), (3, 3), 2, 1, 1),
    _case("five", 1, VECTOR + 7, (12, 37), (5, 5), 1, 2, 1),
    _case("dilated", 1, 2 * VECTOR + 1, (11, 40), (3, 3), 1, 2, 2),
)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_they_are_read_in_place(case, direction):
    plan = _planned(Trial(case, direction, order="nhwc").problem, 2)
    assert plan.in_place
    assert plan.units.last == case.C - VECTOR
    assert (plan.units.count, plan.units.in_order) == (-(-case.C // VECTOR), case.C // VECTOR)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, direction, dtype, threads):
    trial = Trial(case, direction, dtype, "nhwc")
    with fc.options(num_threads=threads):
        result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "depthwise", "nhwc")


@pytest.mark.parametrize("channels", [1, VECTOR - 1, VECTOR, VECTOR + 1, 3 * VECTOR])
def test_a_vector_is_the_least(channels):
    c = unfolded(
        Trial(CASES[0]._replace(C=channels, K=channels, groups=channels), "forward").problem
    )
    units = Units(c, "nhwc", 4, splat=False)
    assert units.can_overlap == (channels >= VECTOR)
    assert units.whole == (channels % VECTOR == 0)
    before = units.in_order
    if units.can_overlap:
        units.end_together()
        assert units.in_order == channels // VECTOR
        assert units.last + VECTOR == channels
    assert before == -(-channels // VECTOR)
