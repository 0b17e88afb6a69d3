"""What the algorithms with maps between tiles and components share: plans, costs and limits.

All passes are computed as correlations with unit advance: a stride s makes s² correlations with
every s-th tap, a dilation d works on d² images.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from operator import itemgetter

import numpy as np

from fastconv.core.problem import ConvProblem
from fastconv.plans.bilinear.correlation import BilinearCorrelation
from fastconv.plans.bilinear.few_tiles_weight import bilinear_weight
from fastconv.plans.bilinear.grid import TileGrid
from fastconv.plans.bilinear.line import BilinearLine
from fastconv.plans.bilinear.line_grid import LineGrid
from fastconv.plans.bilinear.line_weight import BilinearLineWeight
from fastconv.plans.correlation import Correlation, joined_parities, unfolded
from fastconv.plans.weight_gradient import WeightGradient
from fastconv.simd.vector import lanes
from fastconv.transforms.tile_map import COOK_TOOM, FOURIER, Tiling

from ._product import ProductAlgorithm, moved_singly, shapes_on_planes
from .algorithm import ACCURACIES, Cost, Plan, Work, again_if
from .direct import Direct

_LARGE_GROWTH = 100  # of the predicted errors, from which on measured ones grow in proportion
# The kind of work that maps are, and the share of their cycles that is arithmetic.
_MAPS = {COOK_TOOM: ("transform", 0.35), FOURIER: ("fourier", 0.175)}
_CORRELATIONS = {TileGrid: BilinearCorrelation, LineGrid: BilinearLine}
_WEIGHTS = {TileGrid: bilinear_weight, LineGrid: BilinearLineWeight}


class BilinearAlgorithm(ProductAlgorithm):
    """An algorithm given by the tilings it offers, and by how much they add to rounding errors."""

    def tilings(self, r_rows: int, r_columns: int) -> Iterable[Tiling]:
        """The tilings to choose from, for so many taps; none if it cannot run them."""
        raise NotImplementedError

    def line_tilings(self, r_columns: int) -> Iterable[Tiling]:
        """Those of lines, whose sums stay in registers."""
        return ()

    def growth(self, tiling: Tiling) -> float:
        """How much larger rounding errors are than those of a direct sum."""
        raise NotImplementedError

    def refuses(self, problem: ConvProblem) -> str | None:
        if max(problem.stride) > 1 and max(problem.dilation) > 1:
            return "it takes a stride or a dilation, not both"
        taps = _taps(_correlation(problem))
        if taps == (1, 1):
            return "with one tap for every input there is nothing to save"
        if _best_grid(self, problem) is None:
            return f"it has no tiles for {taps[0]}×{taps[1]} taps"
        return super().refuses(problem)

    def cost(self, problem: ConvProblem, threads: int) -> Cost:
        problem = problem._replace(N=max(1, problem.N))  # an empty batch costs what one image does
        error = _error(self, problem, _best_grid(self, problem))
        cost = super().cost(problem, threads)
        stages = (*cost.stages, *_lattices(problem, cost.stages))
        cost = cost._replace(stages=stages, error=error)
        return cost.or_else(Direct().cost(problem, threads))

    def _stages(self, part, nbytes: int) -> tuple[Work, ...]:
        weight = isinstance(part, WeightGradient)
        effort = part.grid.effort(part.vector, part.itemsize, weight)
        kind, arithmetic = _MAPS[part.grid.tiling.method]
        flops = 2 * part.vector * arithmetic
        waited = 0 if part.grid.streams else nbytes
        return (
            Work("copy", 0, effort.far + waited, part.workers),
            Work("gather", 0, 2 * moved_singly(part), part.workers, launches=0),
            Work(kind, int(flops * effort.filters), 0, part.workers, launches=0),
            Work(kind, int(flops * effort.tiles), 0, part.workers, launches=int(weight)),
            Work("product", 2 * part.vector * effort.products, nbytes - waited, part.workers),
        )

    def _build(self, problem: ConvProblem, threads: int, folding: bool = True) -> list:
        grid = _best_grid(self, problem)
        if problem.sums_weights:
            return [_WEIGHTS[type(grid)](problem, grid.tiling, threads)]
        out = problem.made_format
        build = _CORRELATIONS[type(grid)]
        return [build(grid.c, problem.itemsize, out, grid.tiling, threads)]

    def _run(self, problem: ConvProblem, parts: list, threads: int) -> Plan:
        # The maps mix the values of a tile, and spread NaN and Inf too far.
        plan = super()._run(problem, parts, threads)
        return again_if(itemgetter(0), plan, lambda: Direct().plan(problem, threads))


def _lattices(problem: ConvProblem, stages: tuple[Work, ...]) -> list[Work]:
    """Every so many columns of planes are read or written, a vector's bytes for each element."""
    if problem.dilation[1] == 1:
        return []
    elements = sum(map(math.prod, shapes_on_planes(problem)))
    moved = elements * lanes(problem.itemsize) * problem.itemsize
    return [Work("gather", 0, moved, max(stage.workers for stage in stages), launches=0)]


def _correlation(problem: ConvProblem) -> Correlation:
    return joined_parities(problem) if problem.direction == "backward_input" else unfolded(problem)


def _taps(c: Correlation) -> tuple[int, int]:
    """Taps along each axis in one phase of a stride."""
    rows, columns = (-(-axis.window // axis.advance) for axis in (c.rows, c.columns))
    return rows, columns


def _error(algorithm: BilinearAlgorithm, problem: ConvProblem, grid: TileGrid | LineGrid) -> float:
    """The bound of errors: those of n summed products grow as √n, times the maps'.

    Measured over random, constant, offset and badly scaled data, the latter follow the root of the
    predicted growth until that is large.
    """
    weight, tiling = problem.sums_weights, grid.tiling
    terms = _WEIGHTS[type(grid)](problem, tiling, 1).summed if weight else grid.depth
    growth = algorithm.growth(tiling)
    thinness = _thinness(grid.c, tiling, weight)
    factor = 3 * growth**0.5 * max(1, growth / _LARGE_GROWTH) * thinness**0.5
    return float(factor * (6 + terms**0.5) * np.finfo(problem.dtype).eps)


def _thinness(c: Correlation, tiling: Tiling, weight: bool) -> float:
    """How many times more of a sum a tile is made for than an image has, if that is smaller.

    Results are smaller by as much, but not so their errors, which all of the tile has a part in.
    """
    if weight:  # which sums the outputs of a tile
        pairs = (tiling.m_rows, c.rows.outputs), (tiling.m_columns, c.columns.outputs)
    else:
        pairs = tuple(
            (r, -(-axis.inputs // (axis.advance * axis.spread)))
            for r, axis in ((tiling.r_rows, c.rows), (tiling.r_columns, c.columns))
        )
    return math.prod(max(1, wanted / max(1, there)) for wanted, there in pairs)


def _grids(algorithm: BilinearAlgorithm, problem: ConvProblem) -> list[TileGrid | LineGrid]:
    """What tiles of the algorithm a problem may have: in both dimensions, or along lines."""
    c = _correlation(problem)
    rows, columns = _taps(c)
    grids: list[TileGrid | LineGrid] = [TileGrid(c, t) for t in algorithm.tilings(rows, columns)]
    if LineGrid.applies(c, problem.itemsize):
        lines = [LineGrid(c, t) for t in algorithm.line_tilings(columns)]
        grids += [grid for grid in lines if _suits(grid, problem)]
    return grids


def _suits(grid: LineGrid, problem: ConvProblem) -> bool:
    """Whether what minimal filtering along lines needs stays in the cache."""
    weight = problem.sums_weights
    planes = not weight and problem.made_format == "nchw"
    near = not weight or grid.sums_are_near(problem.itemsize)
    return near and grid.near(problem.itemsize, planes)


@functools.lru_cache(maxsize=1024)
def _best_grid(algorithm: BilinearAlgorithm, problem: ConvProblem) -> TileGrid | LineGrid | None:
    """The tiles with the least work that keep the default accuracy, or else the most accurate.

    None if the algorithm offers none.
    """
    problem = problem._replace(N=max(1, problem.N))
    vector, weight = lanes(problem.itemsize), problem.sums_weights
    limit = ACCURACIES["default"] * np.finfo(problem.dtype).eps
    errors = {grid: _error(algorithm, problem, grid) for grid in _grids(algorithm, problem)}
    if not errors:
        return None
    accurate = [grid for grid, error in errors.items() if error <= limit]
    if not accurate:
        return min(errors, key=errors.__getitem__)
    return min(accurate, key=lambda grid: grid.effort(vector, problem.itemsize, weight).cycles)
