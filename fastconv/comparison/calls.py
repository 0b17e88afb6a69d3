"""Passes as a program would ask for them."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastconv import grad
from fastconv.conv.functions import conv2d
from fastconv.core.problem import ConvProblem


def public_call(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> partial:
    """The public function of a pass, on what it reads; keywords of a call are its options."""
    settings = (problem.stride, problem.padding[::2], problem.dilation, problem.groups)
    if problem.direction == "forward":
        return partial(conv2d, first, second, None, *settings)
    if problem.direction == "backward_input":
        return partial(grad.conv2d_input, problem.x_shape, second, first, *settings)
    return partial(grad.conv2d_weight, first, problem.w_shape, second, *settings)
