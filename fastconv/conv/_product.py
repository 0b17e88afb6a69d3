"""What the algorithms that multiply blocked matrices share: their plans, costs and limits.

Forward and backward_input are correlations; the weight gradient has a plan of its own.  A problem
whose packed filters or sums would not fit the workspace is computed in pieces.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.plans import correlation
from fastconv.plans.correlation import Correlation
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.vector import lanes

from ._matrices import covers, flattened, on_matrices
from ._parts import plan_of_parts, workspace
from ._pieces import Piece, pieces
from .algorithm import (
    AGAIN,
    WORKSPACE,
    Algorithm,
    Cost,
    FlaggedPlan,
    Plan,
    Work,
    again_if,
    summation_error,
    too_large,
)

_TRIPS = 6  # copies within the cache take as long as a transposition


class ProductAlgorithm(Algorithm):
    """An algorithm given by its two kinds of plan."""

    correlation: Callable[..., Any]  # (correlation, itemsize, x_format, y_format, threads) → plan
    weight: Callable[..., Any]  # (problem, threads) → plan
    folds = True  # whether neighbouring outputs may be folded into the lanes
    flattens = False  # whether it takes taps for channels where a filter covers the image

    def refuses(self, problem: ConvProblem) -> str | None:
        return too_large(self._workspace(parts_of(self, problem, 1), 1))

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        computed = parts_of(self, problem, threads)
        placed = [(piece, part) for piece, some in computed for part in some]
        parts = [part for _, part in placed]
        share = problem.nbytes // max(1, len(parts))
        stages = [stage for part in parts for stage in self._stages(part, share)]
        if problem.made_format == "nchw":
            stages += [_scattered(part) for part in parts if part.c.columns.step > 1]
        if problem.sums_weights:
            stages += [
                _transposed(piece.problem, part.workers)
                for piece, part in placed
                if self.transposes(part)
            ]
        return Cost(tuple(stages), self._workspace(computed, threads), summation_error(problem))

    def _stages(self, part, nbytes: int) -> tuple[Work, ...]:
        c, workers = part.c, part.workers
        columns = moved_singly(part)
        if part.gathers:  # a few channels of a tap in the time of a vector
            vector = lanes(part.itemsize)
            taps = c.steps // c.channels * -(-c.channels // vector)
            columns += c.groups * c.pixels * taps * vector * part.itemsize
        return (
            Work("copy", 0, part.packed_bytes, workers),
            Work("gather", 0, 2 * columns + _TRIPS * part.turned, workers, launches=0),
            Work(part.kind, part.flops, nbytes, workers),
        )

    def plan(self, problem: ConvProblem, threads: int) -> Plan:
        plans = [
            (piece, self._run(piece.problem, parts, threads))
            for piece, parts in parts_of(self, problem, threads)
        ]
        plan = plans[0][1] if len(plans) == 1 else _in_turn(plans)
        return on_matrices(problem, plan) if self.flattens and covers(problem) else plan

    def fills_lanes(self, c: Correlation, itemsize: int, x_format: str, y_format: str) -> bool:
        """Whether the plan for ``c``, without folded outputs, fills its lanes with few filters."""
        return False

    def transposes(self, part) -> bool:
        """Whether the plan of a weight gradient reads planes in vectors of channels."""
        return True

    def _build(self, problem: ConvProblem, threads: int, folding: bool = True) -> list:
        """The plans of a problem's parts, folded where that is less work."""
        if problem.sums_weights:
            return [self.weight(problem, threads)]
        build = getattr(correlation, problem.direction)
        formats = (problem.itemsize, problem.read_format, problem.made_format)
        found = build(problem, None)
        if folding and self.folds and not any(self.fills_lanes(c, *formats) for c in found):
            found = build(problem, lanes(problem.itemsize))
        return [self.correlation(c, *formats, threads) for c in found]

    def _again(self, problem: ConvProblem, parts: list, threads: int) -> list:
        """The plans of what computes a result anew that is NaN: nothing unless ``parts`` fold.

        Folding multiplies inputs by zeros where no tap joins them, which spreads NaN and Inf too
        far; a result without NaN cannot have met any.
        """
        if not any(part.folds for part in parts):
            return []
        return _unfolded(self, problem, threads)

    def _workspace(self, computed: list[tuple[Piece, list]], threads: int) -> int:
        """Bytes of scratch: pieces run one after the other, and so does what comes after a NaN."""
        run = [parts for _, parts in computed]
        run += [self._again(piece.problem, parts, threads) for piece, parts in computed]
        return max(map(workspace, run))

    def _run(self, problem: ConvProblem, parts: list, threads: int) -> Plan | FlaggedPlan:
        """What runs the parts; it tells their flags unless some of them fold."""
        if problem.sums_weights:
            return lambda x, dy, dw, bias, relu: parts[0].run(x, dy, dw)
        plan = plan_of_parts(problem, parts, threads)
        if not any(part.folds for part in parts):
            return plan

        def run(first, second, out, bias, relu):
            plan(first, second, out, bias, relu)
            return np.isnan(out.min())

        def plain():
            return plan_of_parts(problem, self._again(problem, parts, threads), threads)

        return again_if(bool, run, plain)


def _in_turn(plans: list[tuple[Piece, Plan]]) -> Plan:
    def run(first, second, out, bias, relu):
        told = [
            plan(*piece.cut((first, second, out)), piece.cut_bias(bias), relu)
            for piece, plan in plans
        ]
        return AGAIN if AGAIN in told else None

    return run


def moved_singly(part) -> int:
    """Bytes of the vectors that could be moved while a few elements of groups are.

    These are channels of pixels, filters of gradients that are summed, folded outputs; none where
    vectors are of neighbouring pixels.
    """
    c, itemsize = part.c, part.itemsize
    vector = lanes(itemsize)
    if part.along_planes:
        return 0
    moved = 0
    if c.channels < vector:
        moved += c.N * c.rows.inputs * c.columns.inputs
    if isinstance(part, WeightGradient) and c.filters < vector:
        moved += c.pixels
    if part.folds:
        moved += c.pixels * c.lanes
    return c.groups * moved * vector * itemsize if c.groups > 1 else 0


def shapes_on_planes(problem: ConvProblem) -> list[tuple[int, ...]]:
    """Those of the images, read or written, that are on planes."""
    images = (problem.x_shape, problem.x_format), (problem.y_shape, problem.y_format)
    return [shape for shape, order in images if order == "nchw"]


def _transposed(problem: ConvProblem, workers: int) -> Work:
    """Reading operands on planes of several channels in vectors of channels."""
    planes = [shape for shape in shapes_on_planes(problem) if shape[1] > problem.groups]
    moved = sum(map(math.prod, planes)) * problem.itemsize
    return Work("gather", 0, _TRIPS * moved, workers, launches=0)


def _scattered(part) -> Work:
    """Storing every other element of a row of a plane: each in the time of a vector."""
    moved = part.c.groups * part.c.pixels * part.c.filters * lanes(part.itemsize) * part.itemsize
    return Work("gather", 0, 2 * moved, part.workers, launches=0)


@functools.lru_cache(maxsize=16)
def _unfolded(algorithm: ProductAlgorithm, problem: ConvProblem, threads: int) -> list:
    """The plans of a problem's parts without folds."""
    return algorithm._build(problem, threads, folding=False)


@functools.lru_cache(maxsize=16)
def parts_of(algorithm: ProductAlgorithm, problem: ConvProblem, threads: int):
    """The pieces of a problem, each with its plans; for an empty batch, those of one image."""
    problem = problem._replace(N=max(1, problem.N))
    if algorithm.flattens and covers(problem):
        problem = flattened(problem)
    built: dict[ConvProblem, list] = {}

    def fits(problem: ConvProblem) -> bool:
        parts = built[problem] = algorithm._build(problem, threads)
        return workspace(parts) <= threads * WORKSPACE

    return [(piece, built[piece.problem]) for piece in pieces(problem, fits)]
