"""``depthwise``: one input channel to a filter; vectors of outputs, one multiply-add a tap.

There is no reduction over channels to block for, so the data is cut into planes (:mod:`._planes`)
in which any kernel size, stride and dilation is a table of offsets.
"""

from __future__ import annotations

from fastconv.core.problem import ConvProblem

from . import correlation
from ._correlation_plan import plan_of_parts
from ._depthwise_sum import DepthwiseSum
from ._depthwise_weight import DepthwiseWeight
from .algorithm import Algorithm, Cost, Plan, summation_error


def _sums(problem: ConvProblem, threads: int) -> list[DepthwiseSum]:
    if problem.direction == "forward":
        parts, order = [correlation.unfolded(problem)], problem.x_format
    else:
        parts, order = correlation.parities(problem), problem.y_format
    return [DepthwiseSum(c, problem.itemsize, order, threads) for c in parts]


class Depthwise(Algorithm):
    name = "depthwise"

    def refuses(self, problem: ConvProblem) -> str | None:
        if problem.groups != problem.C:
            return f"it needs one input channel to a group, not {problem.C // problem.groups}"
        return None

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        error = summation_error(problem)
        if problem.direction == "backward_weight":
            part = DepthwiseWeight(problem, threads)
            return Cost(part.flops, problem.nbytes + 2 * part.copy_bytes, part.nbytes, error)
        parts = _sums(problem, threads)
        workspace = max((part.nbytes for part in parts), default=0)
        return Cost(sum(part.flops for part in parts), problem.nbytes, workspace, error)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        if problem.direction == "backward_weight":
            part = DepthwiseWeight(problem, threads)
            return lambda x, dy, dw, bias, relu: part.run(x, dy, dw)
        return plan_of_parts(problem, _sums(problem, threads))
