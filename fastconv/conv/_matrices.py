"""Filters as large as the image: a convolution that is a product of matrices.

    y[n, k] = Σ_{c,r,s} x[n, c, r, s] · w[k, c, r, s]

Images on planes are the rows of one of them, filters those of the other, and taps are channels.
"""

from __future__ import annotations

import numpy as np

from fastconv.core.problem import ConvProblem

from .algorithm import Plan

_PIXEL = dict(H=1, W=1, R=1, S=1, stride=(1, 1), dilation=(1, 1), x_format="nhwc", y_format="nhwc")


def covers(problem: ConvProblem) -> bool:
    """Whether a filter is as large as an image, which is on planes."""
    taps, image = (problem.R, problem.S), (problem.H, problem.W)
    return taps == image and problem.x_format == "nchw" and not any(problem.padding)


def flattened(problem: ConvProblem) -> ConvProblem:
    """The same with images of one pixel, of which both memory orders are one."""
    return problem._replace(C=problem.C * problem.R * problem.S, **_PIXEL)


def on_matrices(problem: ConvProblem, plan: Plan) -> Plan:
    """What runs the ``plan`` of the flattened ``problem`` on arrays that are not."""
    # A channel of inputs has a bias (transposed convolutions), and so have its pixels.
    pixels = problem.R * problem.S if problem.direction == "backward_input" else 1

    def run(first, second, out, bias, relu):
        if bias is not None and pixels > 1:
            bias = np.repeat(bias, pixels)
        result = _rows(out)
        told = plan(_rows(first), _rows(second), result, bias, relu)
        if not np.may_share_memory(result, out):
            out[...] = result.reshape(out.shape)
        return told

    return run


def _rows(array: np.ndarray) -> np.ndarray:
    """As images of one pixel: in the same memory, if the elements of each are side by side."""
    rows = array.reshape(len(array), -1, 1, 1)
    return rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)
