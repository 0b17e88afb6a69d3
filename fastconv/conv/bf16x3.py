"""``bf16x3``: the direct sum on the matrix unit, every product as three of bfloat16.

    x = x₁ + x₂ + ε,  |ε| ≤ 2⁻¹⁷·|x|        x·w ≈ x₁·w₁ + x₂·w₁ + x₁·w₂

A product is off by at most 2⁻¹⁵ of itself (x₂·w₂ is left out), and is summed in float32.
Source: G. Henry, P. Tang and A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence
Datatype For Higher-Precision Computations", ARITH 2019.
"""

from __future__ import annotations

from fastconv.core.machine import matrix_unit
from fastconv.core.problem import ConvProblem
from fastconv.plans.split.correlation import SplitCorrelation
from fastconv.plans.split.weight import SplitWeight

from ._product import ProductAlgorithm, parts_of
from .algorithm import Cost, Plan, Work, again_if, sum_error
from .direct import Direct

_PRODUCT_ERROR = 2**-15


class Bf16x3(ProductAlgorithm):
    name = "bf16x3"
    exact = vector = folds = False
    flattens = True
    correlation = SplitCorrelation
    weight = SplitWeight

    def refuses(self, problem: ConvProblem) -> str | None:
        if problem.dtype != "float32":
            return "it computes float32 alone"
        if not matrix_unit():
            return "this processor has no matrix unit for bfloat16 (AMX)"
        return super().refuses(problem)

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        """Raises ``ValueError`` where it refuses: without the unit the process would be killed."""
        reason = self.refuses(problem)
        if reason is not None:
            raise ValueError(f"{self.name} cannot run this: {reason}")
        return super().plan(problem, threads)

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        cost = super().cost(problem, threads)
        parts = [part for _, some in parts_of(self, problem, threads) for part in some]
        terms = max((part.summed for part in parts), default=0)
        cost = cost._replace(error=_PRODUCT_ERROR + sum_error(terms, problem.dtype))
        return cost.or_else(Direct().cost(problem, threads))

    def _stages(self, part, nbytes: int) -> tuple[Work, ...]:
        weight = isinstance(part, SplitWeight)
        c = part.c
        # A result comes to scratch first, and the lines it goes to are not fetched ahead.
        stored = 0 if weight else 2 * c.groups * c.pixels * c.filters * part.itemsize
        return (
            Work("copy", 0, part.packed_bytes + stored, part.workers),
            Work("split", 0, part.split_bytes, part.workers, launches=0),
            Work("matrix sums" if weight else "matrix", part.flops, nbytes, part.workers),
        )

    def _run(self, problem: ConvProblem, parts: list, threads: int) -> Plan:
        # What is left of an infinite operand is NaN, what is left of a tiny one is lost.
        def spoilt(flags):
            return any(flags[::2]) or not all(flags[1::2])

        plan = super()._run(problem, parts, threads)
        return again_if(spoilt, plan, lambda: Direct().plan(problem, threads))
