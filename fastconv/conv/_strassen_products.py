"""Some images of a problem: their sums, the seven products of half the size, and the result."""

from __future__ import annotations

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.plans.strassen.sums import Sums, quarters
from fastconv.simd.blocks import ADDED, LEFT, RESULT, RIGHT

from .algorithm import Work
from .direct import Direct

# Which of the first operand, the second and the result have the rows of their blocks along the
# second axis.
_TURNED = {
    "forward": (False, True, False),  # y[n, k] = Σ_c x[n, c] * w[k, c]
    "backward_input": (False, False, False),  # dx[n, c] = Σ_k dy[n, k] * w[k, c]
    "backward_weight": (True, False, True),  # dw[k, c] = Σ_n x[n, c] * dy[n, k]
}


class Products:
    """The plan of one level of Strassen's recursion; :mod:`fastconv.simd.blocks` has the formulas.

    A block row or column is half of the images, of the channels or of the filters; the product of
    two blocks is the pass itself, on half of each.  A plan for ``later`` images than the first of
    a problem adds to a weight gradient; in the other passes it finds the sums of the filters made.
    """

    def __init__(self, problem: ConvProblem, threads: int, later: bool):
        n, c, k = problem.N // 2, problem.C // 2, problem.K // 2
        half = problem._replace(N=n, C=c, K=k)
        first, second, out = half.operands
        weight = problem.sums_weights
        self.images = problem.N
        self.turned = _TURNED[problem.direction]
        self.spreads = weight or not later  # the second operand
        self.adds = weight and later
        self.left = Sums(*first, problem.dtype, LEFT, threads)
        self.right = Sums(*second, problem.dtype, RIGHT, threads)
        self.result = Sums(*out, problem.dtype, ADDED if self.adds else RESULT, threads)
        self.nbytes = self.left.nbytes + self.right.nbytes + self.result.nbytes
        self.product = Direct().cost(half, threads)
        self.multiply = Direct().plan(half, threads)

    @property
    def workspace(self) -> int:
        """Bytes of scratch: the parts, and that of a product."""
        return self.nbytes + self.product.workspace

    @property
    def stages(self) -> tuple[Work, ...]:
        right = (_sweep(self.right),) if self.spreads else ()
        return (*right, _sweep(self.left), *self.product.stages * 7, _sweep(self.result))

    def run(self, memory, first, second, out, biases, relu: bool) -> bool:
        """The result of these images, its parts in ``memory``; whether all of it is finite."""
        a, b, c = map(quarters, (first, second, out), self.turned)
        t = self.right.parts(memory, 0)
        s = self.left.parts(memory, self.right.nbytes)
        parts = self.result.parts(memory, self.right.nbytes + self.left.nbytes)
        if self.spreads:
            self.right.run(b, t)
        self.left.run(a, s)
        one, minus_one, two = biases
        factors = (
            (a[0], b[0], None),
            (a[1], b[2], one),
            (s[3], b[3], None),
            (a[3], t[3], minus_one),
            (s[0], t[0], two),
            (s[1], t[1], None),
            (s[2], t[2], None),
        )
        products = parts if self.adds else c + parts
        for (x, w, bias), y in zip(factors, products, strict=True):
            self.multiply(x, w, y, bias, False)
        return self.result.run(c, parts, relu)


def _sweep(sums: Sums) -> Work:
    return Work("copy", 0, sums.moved, sums.workers)


def biases_of(bias: np.ndarray | None) -> tuple:
    """The biases of P2, P4 and P5: these reach each block of the result once, and no other does.

    C11 = … + P2 and C21 = … − P4 have the first half of the outputs, C12 and C22 = … + P5 the
    second.
    """
    if bias is None:
        return (None, None, None)
    first, second = np.split(bias, 2)
    return (first, -first, second)
