"""``depthwise``: one or a few channels to a group; vectors of outputs, one multiply-add a tap.

There is no reduction over channels to block for, so the data is cut into planes
(:mod:`fastconv.plans.depthwise.planes`) in which any kernel size, stride and dilation is a table of
offsets, and so is the channel of a group.
"""

from __future__ import annotations

import functools

from fastconv.core.problem import ConvProblem
from fastconv.gemm.sharing import workers_for
from fastconv.plans import correlation
from fastconv.plans.clearing import start_of
from fastconv.plans.depthwise.correlation import DepthwiseSum
from fastconv.plans.depthwise.flat import FlatSum
from fastconv.plans.depthwise.flat_weight import FlatWeight
from fastconv.plans.depthwise.line import DepthwiseLine
from fastconv.plans.depthwise.weight import DepthwiseWeight
from fastconv.simd.vector import lanes

from .algorithm import Algorithm, Cost, Plan, Work, summation_error, too_large

_Sum = DepthwiseSum | DepthwiseLine | FlatSum | DepthwiseWeight | FlatWeight


@functools.lru_cache(maxsize=16)
def _planned(problem: ConvProblem, threads: int) -> _Sum | None:
    """The plan, of one image for an empty batch; None where no tap reaches any input."""
    problem = problem._replace(N=max(1, problem.N))
    channels_last = problem.x_format == problem.y_format == "nhwc"
    if problem.sums_weights:
        weight = DepthwiseWeight(problem, threads)
        if channels_last and FlatWeight.applies(problem):
            return FlatWeight(problem, threads, weight)
        return weight
    forward = problem.direction == "forward"
    parts = [correlation.unfolded(problem)] if forward else correlation.parities(problem)
    order = problem.read_format
    if not parts:
        return None
    if len(parts) == 1 and channels_last and FlatSum.applies(parts[0], problem.itemsize):
        return FlatSum(parts[0], problem.itemsize, threads)
    if DepthwiseLine.applies(parts, order, problem.itemsize):
        return DepthwiseLine(parts, problem.itemsize, threads)
    return DepthwiseSum(parts, problem.itemsize, order, threads)


def _workspace(plan: _Sum | None) -> int:
    """Bytes of scratch."""
    return 0 if plan is None else plan.nbytes


def _too_wide(problem: ConvProblem) -> str | None:
    """Why not groups of several channels; wide ones fill the vectors of the dense algorithms."""
    channels, filters = problem.C // problem.groups, problem.K // problem.groups
    most = lanes(problem.itemsize) // 2
    if problem.groups == 1 or max(channels, filters) > most:
        return (
            f"it needs one channel to a group, or groups of at most {most} channels and filters, "
            f"not {problem.groups} of {channels} and {filters}"
        )
    plan = _planned(problem, 1)
    if plan is not None and not (plan.units.splat or plan.units.dealt):
        return f"groups of {channels} channels and {filters} filters do not fill its vectors"
    return None


class Depthwise(Algorithm):
    name = "depthwise"

    def refuses(self, problem: ConvProblem) -> str | None:
        reason = None if problem.groups == problem.C else _too_wide(problem)
        return reason or too_large(_workspace(_planned(problem, 1)))

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        plan = _planned(problem, threads)
        flops = 0 if plan is None else plan.flops
        workers = workers_for(flops, threads, threads, problem.nbytes)
        work = Work("taps", flops, problem.nbytes, workers, int(plan is not None))
        return Cost((work,), _workspace(plan), summation_error(problem))

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        plan = _planned(problem, threads)
        if problem.sums_weights:
            return lambda x, dy, dw, bias, relu: plan.run(x, dy, dw)
        start = start_of(problem, 0 if plan is None else plan.outputs, threads)

        def run(first, second, out, bias, relu):
            start(out, bias, relu)
            if plan is not None:
                plan.run(first, second, out, bias, relu)

        return run
