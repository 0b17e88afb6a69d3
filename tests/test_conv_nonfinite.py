"""NaN and Inf reach exactly the results whose sums contain them.

The oracle says which: it runs on ones and zeros that mark the non-finite element, with the other
operand all ones.  Where the formula multiplies a non-finite value by the zeros of the padding,
libraries differ; so non-finite weights and weight gradients are tested without padding.
"""

from __future__ import annotations

import cases
import numpy as np
import oracle
import pytest
from harness import DISTINCT, FORMATS, Trial

import fastconv as fc
from fastconv.conv import selector
from fastconv.conv.algorithm import AGAIN
from fastconv.conv.direct import Direct
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS, ConvProblem

algorithms = pytest.mark.parametrize("algorithm", DISTINCT)
orders = pytest.mark.parametrize("order", FORMATS)
values = pytest.mark.parametrize("value", [np.nan, -np.inf])

ANYWHERE = (
    "channels-3-17", "channels-17-3", "columns-29", "kernel-4x4", "stride-2-3x3", "stride-3-2x2",
    "dilation-2-stride-3", "padding-beyond-kernel", "groups-3-of-4", "depthwise-3x3",
    "depthwise-stride-2", "depthwise-times-3", "halves-3x3", "halves-stride-3",
)  # fmt: skip
UNPADDED = (
    "channels-1-1", "columns-29", "kernel-1x1", "kernel-2x2", "stride-2-3x3-surplus",
    "stride-5-3x3", "groups-2-of-17", "depthwise-stride-3-2x2", "depthwise-1x1",
    "halves-1x1", "halves-stride-3", "sliding-3x3", "sliding-as-short-as-taps",
    "sliding-shorter-than-taps",
)  # fmt: skip


def tables(names):
    return pytest.mark.parametrize("case", [cases.BY_NAME[n] for n in names], ids=lambda c: c.name)


def _check(trial, algorithm, operand, value):
    """Put ``value`` at the first, a middle and the last element of an operand, one at a time."""
    reason = trial.refusal(algorithm)
    if reason is not None:
        pytest.skip(reason)
    size = trial.operands()[operand].size
    for position in (0, size // 2, size - 1):
        operands = trial.operands()
        where = np.unravel_index(position, operands[operand].shape)
        operands[operand][where] = value
        marks = [np.ones(a.shape) for a in operands]
        marks[operand][...] = 0
        marks[operand][where] = 1
        result = trial.run(algorithm, *operands)
        touched = trial.oracle(*marks) > 0
        np.testing.assert_array_equal(np.isfinite(result), ~touched)
        if np.isnan(value):
            np.testing.assert_array_equal(np.isnan(result), touched)


@values
@orders
@algorithms
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@tables(ANYWHERE)
def test_image_or_its_gradient(case, direction, algorithm, order, value):
    _check(Trial(case, direction, "float32", order), algorithm, 0, value)


@values
@algorithms
@tables(UNPADDED)
def test_weight(case, algorithm, value):
    _check(Trial(case, "forward"), algorithm, 1, value)


@values
@orders
@algorithms
@pytest.mark.parametrize("operand", [0, 1])
@tables(UNPADDED)
def test_weight_gradient(case, operand, algorithm, order, value):
    _check(Trial(case, "backward_weight", "float32", order), algorithm, operand, value)


@orders
@algorithms
@tables(["channels-3-17", "medium-3x3", "depthwise-3x3"])
def test_relu_keeps_nan(case, algorithm, order):
    trial = Trial(case, "forward", "float32", order)
    reason = trial.refusal(algorithm)
    if reason is not None:
        pytest.skip(reason)
    x, w = trial.operands()
    bias = np.zeros(case.K, np.float32)
    bias[:3] = np.nan, np.inf, -np.inf
    y = fc.conv2d(x, w, bias, *case.arguments, algorithm=algorithm, activation="relu")
    assert np.isnan(y[:, 0]).all()
    assert (y[:, 1] == np.inf).all()
    assert (y[:, 2] == 0).all()
    assert np.isfinite(y[:, 3:]).all()


@pytest.mark.parametrize("algorithm", ["winograd", "fft", "strassen", "bf16x3"])
def test_how_to_compute_again_is_planned_once(algorithm, monkeypatch):
    trial = Trial(cases.BY_NAME["halves-3x3"], "forward")
    reason = trial.refusal(algorithm)
    if reason is not None:
        pytest.skip(reason)
    made, plan = [], Direct.plan
    monkeypatch.setattr(Direct, "plan", lambda *asked: made.append(asked) or plan(*asked))
    selector.forget()  # plans of other tests
    x, w = trial.operands()
    trial.run(algorithm, x, w)
    before = len(made)  # strassen's own products are direct's
    x[0] = np.inf
    for _ in range(3):
        trial.run(algorithm, x, w)
    assert len(made) == before + 1


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", DISTINCT)
def test_a_plan_tells_that_it_computed_again(algorithm, direction):
    """A contest of algorithms is not decided by that."""
    problem = ConvProblem(2, 32, 8, 8, 32, 3, 3, direction=direction)
    reason = ALGORITHMS[algorithm].refuses(problem)
    if reason is not None:
        pytest.skip(reason)
    plan = ALGORITHMS[algorithm].plan(problem, 2)
    *read, (shape, _) = problem.operands
    first, second = (np.ones(of, np.float32) for of, _ in read)
    out = np.empty(shape, np.float32)
    assert plan(first, second, out, None, False) is not AGAIN
    first[0] = np.nan
    told = plan(first, second, out, None, False)
    assert (told is AGAIN) == (algorithm in ("winograd", "fft", "strassen", "bf16x3"))


def test_a_plan_of_pieces_tells_that_one_of_them_computed_again(monkeypatch):
    monkeypatch.setattr("fastconv.conv._product.WORKSPACE", 1 << 16)
    problem = ConvProblem(1, 64, 12, 12, 128, 3, 3)
    plan = ALGORITHMS["winograd2"].plan(problem, 1)
    x, w = np.ones(problem.x_shape, np.float32), np.ones(problem.w_shape, np.float32)
    out = np.empty(problem.y_shape, np.float32)
    assert plan(x, w, out, None, False) is not AGAIN
    w[-1] = np.inf
    assert plan(x, w, out, None, False) is AGAIN


def test_oracle_marks_a_receptive_field():
    """One pixel of a 5×5 image, seen by a padded 3×3 kernel, touches 3×3 outputs."""
    pixel = np.zeros((1, 1, 5, 5))
    pixel[0, 0, 2, 2] = 1
    touched = oracle.forward(pixel, np.ones((1, 1, 3, 3)), padding=1) > 0
    assert touched.sum() == touched[0, 0, 1:4, 1:4].sum() == 9


@pytest.mark.parametrize("algorithm", ["direct", "reference"])
def test_an_overflow_is_infinite_and_no_warning(algorithm):
    x, w = np.full((1, 1, 3, 3), 3e38, "f4"), np.ones((1, 1, 3, 3), "f4")
    assert fc.conv2d(x, w, algorithm=algorithm).item() == np.inf
