"""``reference``: the definition, tap by tap, in NumPy with float64 sums. Runs everything.

It takes as many images at a time as the workspace has room for, and at least one.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.gemm.tiling import even_split

from .algorithm import WORKSPACE, Algorithm, Cost, Plan, Work, summation_error

_CASTS = 3 * np.getbufsize()  # elements that NumPy casts in buffers of its own


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
    _store(total, y, bias, relu)


def _store(total, out, bias, relu):
    if bias is not None:
        total += bias[:, None, None]
    out[...] = np.maximum(total, 0, out=total) if relu else total


def _backward_input(problem, dy, w, dx, bias, relu):
    padded = np.zeros(_padded_shape(problem))
    filters = _grouped(w, problem.groups, 0).astype(np.float64)
    gradient = _grouped(dy, problem.groups, 1)
    for r, s, rows, columns in _taps(problem):
        padded[..., rows, columns] += np.einsum("ngkhw,gkc->ngchw", gradient, filters[..., r, s])
    total = padded[_inside(problem)].reshape(dx.shape)
    _store(total, dx, bias, relu)


def _backward_weight(problem, x, dy, dw):
    """Adds to ``dw``."""
    padded = np.zeros(_padded_shape(problem))
    padded[_inside(problem)] = _grouped(x, problem.groups, 1)
    gradient = _grouped(dy, problem.groups, 1).astype(np.float64)
    for r, s, rows, columns in _taps(problem):
        tap = np.einsum("ngchw,ngkhw->gkc", padded[..., rows, columns], gradient)
        dw[..., r, s] += tap.reshape(problem.w_shape[:2])


_PASSES = {
    "forward": _forward,
    "backward_input": _backward_input,
    "backward_weight": _backward_weight,
}


def _scratch(problem: ConvProblem) -> int:
    """Bytes of the float64 arrays that there are at once: operands, sums, and what a tap adds."""
    n, c, p, q = problem.N, problem.C, problem.P, problem.Q
    x, y, w = map(math.prod, (_padded_shape(problem), problem.y_shape, problem.w_shape))
    tap = w // (problem.R * problem.S)
    added = {"forward": 2 * y, "backward_input": n * c * p * q, "backward_weight": y + tap}
    return 8 * (x + w + added[problem.direction] + _CASTS)


def _at_a_time(problem: ConvProblem) -> ConvProblem:
    """The same for as many images as are computed at a time."""
    images = max(1, problem.N)
    fixed, one = (_scratch(problem._replace(N=n)) for n in (0, 1))
    some = even_split(images, (WORKSPACE - fixed) // (one - fixed or 1))
    return problem._replace(N=some)


class Reference(Algorithm):
    name = "reference"
    fallback = True

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        touched = math.prod(_padded_shape(problem)) + math.prod(problem.y_shape)
        taps = problem.R * problem.S
        # Sums in float64 leave a float32 result its rounding alone.
        rounding = float(np.finfo(np.float32).eps)
        error = rounding if problem.dtype == "float32" else summation_error(problem)
        work = Work("numpy", problem.flops, 8 * taps * touched, launches=taps)
        return Cost((work,), _scratch(_at_a_time(problem)), error)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        compute, some = _PASSES[problem.direction], _at_a_time(problem).N
        weight = problem.sums_weights

        def run(first, second, out, bias, relu):
            total = np.zeros(out.shape) if weight else out
            with np.errstate(all="ignore"):  # NaN and Inf are results, as they are of kernels
                for start in range(0, problem.N, some):
                    images = slice(start, start + some)
                    part = problem._replace(N=len(first[images]))
                    if weight:
                        compute(part, first[images], second[images], total)
                    else:
                        compute(part, first[images], second, out[images], bias, relu)
                if weight:
                    out[...] = total

        return run
