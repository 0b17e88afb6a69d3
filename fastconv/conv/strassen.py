"""``strassen``: seven products of half the size instead of eight, each by ``direct`` (all passes).

A convolution is a matrix product: of (images × channels) by (channels × filters), where the
product of two entries is the convolution of an image with a filter.  Cut into halves along all
three, it is a product of matrices of 2 × 2 blocks.  One level, in Winograd's form.
Sources: V. Strassen, "Gaussian Elimination is not Optimal", 1969; N. Higham, "Accuracy and
Stability of Numerical Algorithms", 2002, chapter 23.
"""

from __future__ import annotations

import functools
from operator import not_

import numpy as np

from fastconv.core import workspace
from fastconv.core.problem import ConvProblem
from fastconv.gemm.tiling import even_split

from ._strassen_products import Products, biases_of
from .algorithm import WORKSPACE, Algorithm, Cost, Plan, again_if, summation_error, too_large
from .direct import Direct

# One level makes the bound of errors 18/4 of what it is (Higham, § 23.2.2); rounding errors are
# independent, so they grow as its root.
_GROWTH = (18 / 4) ** 0.5


class Strassen(Algorithm):
    name = "strassen"

    def refuses(self, problem: ConvProblem) -> str | None:
        if problem.groups > 1:
            return "it halves channels and filters, which are in groups"
        odd = [f"{size}={getattr(problem, size)}" for size in "NCK" if getattr(problem, size) % 2]
        if odd:
            return f"it halves images, channels and filters, not {' and '.join(odd)}"
        halves = {"C": problem.x_format, "K": problem.y_format}
        for size, order in halves.items():
            if order == "nhwc" and getattr(problem, size) == 2:
                return f"half of {size}=2 channels-last channels is no image in either memory order"
        return too_large(_workspace(_parts(problem, 1)))

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        parts = _parts(problem, threads)
        stages = tuple(work for part in parts for work in part.stages)
        cost = Cost(stages, _workspace(parts), summation_error(problem, _GROWTH))
        return cost.or_else(Direct().cost(problem, threads))

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        parts = _parts(problem, threads)
        own = max(part.nbytes for part in parts)
        weight = problem.sums_weights

        def run(first, second, out, bias, relu):
            biases, finite, image = biases_of(bias), True, 0
            if not weight:  # unlike images, filters come in any order
                second = np.ascontiguousarray(second)
            with workspace.reserve(own) as memory:
                for part in parts:
                    some = slice(image, image := image + part.images)
                    w, y = (second[some], out) if weight else (second, out[some])
                    finite &= part.run(memory, first[some], w, y, biases, relu)
            return finite

        # The sums mix the values of blocks, and spread NaN and Inf too far.
        return again_if(not_, run, lambda: Direct().plan(problem, threads))


@functools.lru_cache(maxsize=16)
def _parts(problem: ConvProblem, threads: int) -> list[Products]:
    """Plans for as many images at a time as the workspace has room for, in equal parts."""
    pairs = max(1, problem.N // 2)

    def part(some: int, later: bool) -> Products:
        return Products(problem._replace(N=2 * some), threads, later)

    limit, some = threads * WORKSPACE, pairs
    largest = part(some, False)
    while some > 1 and largest.workspace > limit:
        some = even_split(pairs, min(some - 1, some * limit // largest.workspace))
        largest = part(some, True)
    several, rest = divmod(pairs, some)
    parts = [part(some, False), *[part(some, True)] * (several - 1)]
    return parts + [part(rest, True)] * (rest > 0)


def _workspace(parts: list[Products]) -> int:
    """Bytes of scratch: parts run one after the other."""
    own, product = (max(p.nbytes for p in parts), max(p.product.workspace for p in parts))
    return own + product
