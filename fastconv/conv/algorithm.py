"""The protocol of a convolution algorithm: refuse or accept a problem, state a cost, make a plan.

An algorithm is a small class; the list of :mod:`.registry` has an instance of each.
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.simd.microkernel import TERMS

WORKSPACE = 32 << 20  # bytes of scratch for each thread, whatever the shape
_ALIKE = 12  # equal terms in one go, by which the bound of a sum grows by a rounding


# Error bounds of max|y − y64| / max|y64| that a level allows, in units of the dtype's rounding
# (2⁻²³ in float32, 2⁻⁵² in float64); None stands for twice the bound of a plain sum.
ACCURACIES: dict[str, float | None] = {
    "strict": None,
    "default": 5e-5 / 2**-23,
    "fast": 1e-3 / 2**-23,
}


class Work(NamedTuple):
    """One stage of an algorithm: what it does, of which kind, and on how many threads."""

    kind: str  # a row of :data:`.calibration.KINDS`
    flops: int  # executed, wasted lanes and zero taps included
    nbytes: int  # read and written
    workers: int = 1
    launches: int = 1  # of kernels; 0 for a stage that is fused into another


class Cost(NamedTuple):
    """What an algorithm would spend on a problem, for the selector and for ``explain``."""

    stages: tuple[Work, ...]  # one after the other
    workspace: int  # bytes of scratch, all threads together
    error: float  # bound of max|y − y64| / max|y64|

    @property
    def flops(self) -> int:
        """Executed by all stages."""
        return sum(work.flops for work in self.stages)

    @property
    def nbytes(self) -> int:
        """Read and written by all stages."""
        return sum(work.nbytes for work in self.stages)

    def or_else(self, other: Cost) -> Cost:
        """The same where a result that is spoilt is left to ``other`` (:func:`again_if`)."""
        return self._replace(workspace=max(self.workspace, other.workspace))


# plan(first, second, out, bias, relu): the operands of the pass in the order of the public
# functions: forward (x, w, y), backward_input (dy, w, dx), backward_weight (x, dy, dw).
# It tells AGAIN where these numbers made it take longer than others would.
Plan = Callable[[np.ndarray, np.ndarray, np.ndarray, "np.ndarray | None", bool], object]
AGAIN = object()
# The same, which tells the :data:`fastconv.plans.arrays.FLAGS` of each of its parts.
FlaggedPlan = Callable[[np.ndarray, np.ndarray, np.ndarray, "np.ndarray | None", bool], array]


def again_if(spoilt: Callable[[Any], bool], plan: Callable, other: Callable[[], Plan]) -> Plan:
    """Run ``plan``; where its answer is ``spoilt``, that of ``other()`` too, which is made once."""
    again = functools.cache(other)

    def run(*operands):
        if not spoilt(plan(*operands)):
            return None
        again()(*operands)
        return AGAIN

    return run


class Algorithm:
    """One way to compute all three passes of a convolution."""

    name: str
    forces: str | None = None  # the algorithm that may make the same plan of its own accord
    fallback = False  # whether "auto" takes it only if nothing else may run
    exact = True  # whether products are rounded as the dtype is
    vector = True  # whether it multiplies on the vector units; False: on the matrix unit

    def refuses(self, problem: ConvProblem) -> str | None:
        """Why this algorithm cannot run ``problem``; None if it can."""
        return None

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        raise NotImplementedError

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        """Everything that depends on the problem alone, done once; the result runs on arrays."""
        raise NotImplementedError


def too_large(workspace: int) -> str | None:
    """The reason to refuse a problem whose scratch exceeds what a thread may have."""
    if workspace <= WORKSPACE:
        return None
    return f"it needs {workspace >> 20} MiB of scratch, more than {WORKSPACE >> 20} MiB"


def terms(problem: ConvProblem) -> int:
    """Terms of each of the direct sums; of either image pass, at most so many."""
    if problem.sums_weights:
        return problem.N * problem.P * problem.Q
    return max(problem.C, problem.K) // problem.groups * problem.R * problem.S


def summation_error(problem: ConvProblem, growth: float = 1) -> float:
    """Error bound of the direct sum, a sum of others of at most :data:`TERMS` terms.

    Rounding errors of equal terms point the same way: within one of these sums they grow with the
    number of terms.  (Of 1024 equal terms they were 0.12 roundings a term in the worst case found;
    what is not added here is in the bound of independent ones, which an algorithm may let grow.)
    """
    count = terms(problem)
    alike = min(count, TERMS) / _ALIKE
    return growth * sum_error(count, problem.dtype) + float(np.finfo(problem.dtype).eps) * alike


def sum_error(count: int, dtype: str) -> float:
    """Error bound of a plain sum: those of so many terms grow as √n (Higham, 2002, § 2.8)."""
    return float(np.finfo(dtype).eps) * (4 + 2 * count**0.5)
