"""``direct``: the convolution as matrix products over the data itself, no transform, all passes."""

from __future__ import annotations

from fastconv.core.problem import ConvProblem
from fastconv.simd.vector import lanes

from . import correlation
from ._correlation_plan import plan_of_parts
from ._direct_correlation import DirectCorrelation
from ._direct_weight import DirectWeight
from .algorithm import Algorithm, Cost, Plan, summation_error


def _correlations(problem: ConvProblem, threads: int) -> list[DirectCorrelation]:
    first, out = problem.x_format, problem.y_format
    build = correlation.forward
    if problem.direction == "backward_input":
        first, out = out, first
        build = correlation.backward_input
    return [
        DirectCorrelation(c, problem.itemsize, first, out, threads)
        for c in build(problem, lanes(problem.itemsize))
    ]


class Direct(Algorithm):
    name = "direct"

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        error = summation_error(problem)
        if problem.direction == "backward_weight":
            part = DirectWeight(problem, threads)
            return Cost(part.flops, problem.nbytes + 2 * part.copy_bytes, part.nbytes, error)
        parts = _correlations(problem, threads)
        flops = 2 * correlation.executed([p.c for p in parts], lanes(problem.itemsize))
        return Cost(flops, problem.nbytes, max((p.nbytes for p in parts), default=0), error)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        if problem.direction == "backward_weight":
            part = DirectWeight(problem, threads)
            return lambda x, dy, dw, bias, relu: part.run(x, dy, dw)
        return plan_of_parts(problem, _correlations(problem, threads))
