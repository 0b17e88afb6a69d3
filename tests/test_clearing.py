"""Outputs that no tap reaches, which are set before any kernel adds to the others."""

from __future__ import annotations

import numpy as np
import pytest
from harness import FORMATS, fenced

from fastconv.core.problem import ConvProblem
from fastconv.plans.clearing import clear, start_of


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("size", [(3, 150, 151), (8, 128, 128)], ids=str)
def test_all_of_a_result_and_no_more_is_cleared(size, order):
    images = fenced(np.full((3, *size), np.nan), order=order)
    clear(images[:1], 2)
    assert (images[0] == 0).all() and np.isnan(images[1:]).all()


def test_any_array_is_cleared():
    frame = np.full((2, 3, 6, 5), np.nan)
    clear(frame[:, :, 1:-1, ::2], 2)
    assert (frame == 0).sum() == 2 * 3 * 4 * 3


@pytest.mark.parametrize(("relu", "expected"), [(False, (-1, 0, 2)), (True, (0, 0, 2))])
def test_outputs_start_with_the_bias(relu, expected):
    problem = ConvProblem(2, 3, 4, 5, 8, 1, 1, stride=(2, 2), direction="backward_input")
    bias, out = np.array([-1, 0, 2], np.float32), np.full((2, 3, 4, 5), np.nan, np.float32)
    start_of(problem, 12, 2)(out, bias, relu)
    np.testing.assert_array_equal(out, np.broadcast_to(np.reshape(expected, (3, 1, 1)), out.shape))
