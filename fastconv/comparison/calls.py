"""Passes as a program would ask for them."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastconv import grad
from fastconv.conv.arguments import same_padding
from fastconv.conv.functions import conv2d
from fastconv.core.problem import ConvProblem


def public_call(problem: ConvProblem, first: np.ndarray, second: np.ndarray) -> partial:
    """The public function of a pass, on what it reads; keywords of a call are its options.

    Rows or columns that no output reads (``output_padding``) are left out.  Raises ``ValueError``
    where padding on two sides differs otherwise than as ``"same"`` has it.
    """
    settings = (problem.stride, _padding(problem), problem.dilation, problem.groups)
    if problem.direction == "forward":
        return partial(conv2d, first, second, None, *settings)
    if problem.direction == "backward_input":
        return partial(grad.conv2d_input, problem.x_shape, second, first, *settings)
    return partial(grad.conv2d_weight, first, problem.w_shape, second, *settings)


def _padding(problem: ConvProblem) -> tuple[int, ...] | str:
    if problem.padding[::2] == problem.padding[1::2]:
        return problem.padding[::2]
    if problem.padding == same_padding((problem.R, problem.S), problem.dilation):
        return "same"
    raise ValueError(f"no public function has padding {problem.padding}: {problem.summary}")
