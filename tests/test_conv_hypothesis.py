"""Odd shapes that nobody would write down: every algorithm, every pass, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case
from harness import DIRECTIONS, DISTINCT, DTYPES, FORMATS, Trial, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv as fc
from fastconv.core import workspace

pytestmark = pytest.mark.usefixtures("no_second_try")


@st.composite
def axes(draw):
    """One axis: its size, and the kernel, stride, padding and dilation along it."""
    kernel, stride, dilation = (draw(st.integers(1, most)) for most in (6, 5, 4))
    outputs, surplus = draw(st.integers(1, 17)), draw(st.integers(0, stride - 1))
    padded = (outputs - 1) * stride + dilation * (kernel - 1) + 1 + surplus
    padding = draw(st.integers(0, min(8, (padded - 1) // 2)))
    return padded - 2 * padding, kernel, stride, padding, dilation, surplus


@st.composite
def convolutions(draw):
    """A case, and the output padding with which its transposed convolution restores the image."""
    (h, r, *rows), (w, s, *columns) = draw(axes()), draw(axes())
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 18]))
    most = 3 if groups == 18 else 36
    c, k = (groups * draw(st.integers(1, most)) for _ in range(2))
    stride, padding, dilation, surplus = zip(rows, columns, strict=True)
    n = draw(st.integers(1, 3))
    return Case("odd", n, c, h, w, k, r, s, stride, padding, dilation, groups), surplus


odd = given(
    convolution=convolutions(),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from(FORMATS),
)


def trials(algorithm, convolution, dtype, order):
    """The passes that an algorithm runs."""
    found = [Trial(convolution[0], direction, dtype, order) for direction in DIRECTIONS]
    return [trial for trial in found if trial.refusal(algorithm) is None]


@pytest.mark.parametrize("algorithm", DISTINCT)
@odd
def test_every_pass_is_right(algorithm, **drawn):
    for trial in trials(algorithm, **drawn):
        result = trial.run(algorithm, *trial.operands())
        assert_close(result, trial.expected, trial.bound(algorithm))


@pytest.mark.parametrize("algorithm", DISTINCT)
@settings(max_examples=20)
@odd
def test_what_scratch_held_before_is_not_used(algorithm, **drawn):
    """NaN compares as nothing does, and may be clipped away; small numbers would stay."""
    for trial in trials(algorithm, **drawn):
        operands = trial.operands()
        expected = trial.run(algorithm, *operands)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workspace, "POISON", False)
            for block in workspace._shelf.blocks:
                block.fill(0x3C)  # 0.01 as float32 and as bfloat16
            np.testing.assert_array_equal(trial.run(algorithm, *operands), expected)


@given(convolution=convolutions(), order=st.sampled_from(FORMATS))
def test_gradients_are_adjoint_to_the_forward(convolution, order):
    """⟨y, dy⟩ = ⟨x, dx⟩ = ⟨w, dw⟩ for every dy, because the forward is bilinear."""
    case, _ = convolution
    forward = Trial(case, "forward", "float64", order)
    x, w = forward.operands()
    dy, _ = forward._replace(direction="backward_input").operands()
    y = fc.conv2d(x, w, None, *case.arguments)
    dx = fc.grad.conv2d_input(case.x_shape, w, dy, *case.arguments)
    dw = fc.grad.conv2d_weight(x, case.w_shape, dy, *case.arguments)
    expected = np.sum(y * dy)
    scale = np.linalg.norm(y) * np.linalg.norm(dy)
    assert abs(np.sum(x * dx) - expected) <= 1e-12 * scale
    assert abs(np.sum(w * dw) - expected) <= 1e-12 * scale


@given(convolution=convolutions(), order=st.sampled_from(FORMATS))
def test_transposed_convolution_is_the_input_gradient(convolution, order):
    case, surplus = convolution
    y, w = Trial(case, "backward_input", "float32", order).operands()
    stride, padding, dilation, groups = case.arguments
    x = fc.conv_transpose2d(y, w, None, stride, padding, surplus, groups, dilation)
    np.testing.assert_array_equal(x, fc.grad.conv2d_input(case.x_shape, w, y, *case.arguments))
