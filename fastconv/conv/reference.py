"""``reference``: the definition, tap by tap, in NumPy with float64 sums. Runs everything."""

from __future__ import annotations

import numpy as np

from fastconv.core.problem import ConvProblem

from .algorithm import Algorithm, Cost, Plan, Work, summation_error


def _taps(problem: ConvProblem):
    """Each tap (r, s) with the slices of the padded input that it reads."""
    for r in range(problem.R):
        for s in range(problem.S):
            top, left = r * problem.dilation[0], s * problem.dilation[1]
            rows = slice(top, top + (problem.P - 1) * problem.stride[0] + 1, problem.stride[0])
            columns = slice(left, left + (problem.Q - 1) * problem.stride[1] + 1, problem.stride[1])
            yield r, s, rows, columns


def _padded_shape(problem: ConvProblem) -> tuple[int, ...]:
    top, bottom, left, right = problem.padding
    n, c, h, w = problem.x_shape
    g = problem.groups
    return n, g, c // g, h + top + bottom, w + left + right


def _inside(problem: ConvProblem):
    """The part of the padded input that is the input."""
    top, _, left, _ = problem.padding
    return (..., slice(top, top + problem.H), slice(left, left + problem.W))


def _grouped(array: np.ndarray, groups: int, axis: int) -> np.ndarray:
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])


def _forward(problem, x, w, y, bias, relu):
    padded = np.zeros(_padded_shape(problem))
    padded[_inside(problem)] = _grouped(x, problem.groups, 1)
    filters = _grouped(w, problem.groups, 0).astype(np.float64)
    n, k, p, q = problem.y_shape
    total = np.zeros((n, problem.groups, k // problem.groups, p, q))
    for r, s, rows, columns in _taps(problem):
        total += np.einsum("ngchw,gkc->ngkhw", padded[..., rows, columns], filters[..., r, s])
    total = total.reshape(y.shape)
    if bias is not None:
        total += bias[:, None, None]
    y[...] = np.maximum(total, 0) if relu else total


def _backward_input(problem, dy, w, dx, bias, relu):
    padded = np.zeros(_padded_shape(problem))
    filters = _grouped(w, problem.groups, 0).astype(np.float64)
    gradient = _grouped(dy, problem.groups, 1)
    for r, s, rows, columns in _taps(problem):
        padded[..., rows, columns] += np.einsum("ngkhw,gkc->ngchw", gradient, filters[..., r, s])
    total = padded[_inside(problem)].reshape(dx.shape)
    if bias is not None:
        total = total + bias[:, None, None]
    dx[...] = np.maximum(total, 0) if relu else total


def _backward_weight(problem, x, dy, dw, bias, relu):
    padded = np.zeros(_padded_shape(problem))
    padded[_inside(problem)] = _grouped(x, problem.groups, 1)
    gradient = _grouped(dy, problem.groups, 1).astype(np.float64)
    for r, s, rows, columns in _taps(problem):
        tap = np.einsum("ngchw,ngkhw->gkc", padded[..., rows, columns], gradient)
        dw[..., r, s] = tap.reshape(problem.w_shape[:2])


_PASSES = {
    "forward": _forward,
    "backward_input": _backward_input,
    "backward_weight": _backward_weight,
}


class Reference(Algorithm):
    name = "reference"
    fallback = True

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        padded = 8 * int(np.prod(_padded_shape(problem)))
        result = 8 * int(np.prod(problem.y_shape))
        traffic = problem.R * problem.S * (padded + result)
        # Sums in float64 leave a float32 result its rounding alone.
        rounding = float(np.finfo(np.float32).eps)
        error = rounding if problem.dtype == "float32" else summation_error(problem)
        work = Work("numpy", problem.flops, traffic, launches=problem.R * problem.S)
        return Cost((work,), padded + 2 * result, error)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        compute = _PASSES[problem.direction]

        def run(first, second, out, bias, relu):
            with np.errstate(all="ignore"):  # NaN and Inf are results, as they are of kernels
                compute(problem, first, second, out, bias, relu)

        return run
