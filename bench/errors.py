"""Print the errors of every algorithm and pass in float32, as a table in Markdown.

    python bench/errors.py [--algorithms winograd …]

An error is max|y − y64| / max|y64| against the same pass in float64: a figure is the largest over
the layers below that the algorithm may run at accuracy "fast"; what this processor may not run has
no row.  In brackets, the largest share of the bound that the algorithm states for the layer
(``fc.explain``), which it must not exceed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastconv as fc
from fastconv.comparison.calls import public_call
from fastconv.core.problem import DIRECTIONS, ConvProblem


def _layer(N: int, C: int, size: int, K: int, taps: int, stride=1, groups=1) -> ConvProblem:
    """A convolution with square images and filters."""
    around = (taps // 2,) * 4
    return ConvProblem(N, C, size, size, K, taps, taps, (stride, stride), around, groups=groups)


LAYERS = (
    _layer(2, 64, 56, 64, 3),
    _layer(1, 256, 14, 32, 3),
    _layer(32, 8, 32, 8, 3),
    _layer(1, 3, 96, 16, 3),
    _layer(2, 24, 28, 24, 2),
    _layer(2, 24, 28, 24, 5),
    _layer(1, 16, 40, 16, 7),
    _layer(1, 16, 40, 16, 11),
    _layer(1, 3, 112, 32, 7, stride=2),
    _layer(8, 1, 28, 32, 5),
    _layer(2, 32, 28, 32, 1),
    _layer(4, 32, 28, 32, 3, groups=32),
    _layer(1, 16, 56, 16, 7, groups=16),
)


def _random(rng: np.random.Generator, shape: tuple[int, ...], first: bool) -> np.ndarray:
    return rng.normal(size=shape)


def _constant(rng: np.random.Generator, shape: tuple[int, ...], first: bool) -> np.ndarray:
    return np.full(shape, 0.7 if first else 0.3)


def _offset(rng: np.random.Generator, shape: tuple[int, ...], first: bool) -> np.ndarray:
    """The image, or the gradient that takes its place, has a mean of 1000 times its spread."""
    return rng.normal(size=shape) + (1000 if first else 0)


def _scaled(rng: np.random.Generator, shape: tuple[int, ...], first: bool) -> np.ndarray:
    """Every channel of every image, and every filter, in a unit of its own: from 10⁻³ to 10³."""
    return rng.normal(size=shape) * 10 ** rng.uniform(-3, 3, (*shape[:2], 1, 1))


DATA: dict[str, Callable[[np.random.Generator, tuple[int, ...], bool], np.ndarray]] = {
    "random": _random,
    "constant": _constant,
    "large offset": _offset,
    "badly scaled": _scaled,
}


def operands(problem: ConvProblem, data: str) -> tuple[np.ndarray, np.ndarray]:
    """What a pass reads, in float32, the same in every run."""
    rng, make = np.random.default_rng(1), DATA[data]
    (first, _), (second, _), _ = problem.operands
    return make(rng, first, True).astype(np.float32), make(rng, second, False).astype(np.float32)


def bounds(problem: ConvProblem) -> dict[str, float]:
    """Algorithm → the error bound that it states, if it may run the problem."""
    p = problem
    rows = fc.explain(
        p.x_shape, p.w_shape, p.stride, p.padding[::2], p.dilation, p.groups, direction=p.direction
    ).rows
    return {row.algorithm: row.error for row in rows if row.reason is None and row.error}


def error(result: np.ndarray, exact: np.ndarray) -> float:
    """max|y − y64| / max|y64|."""
    return float(np.abs(result - exact).max() / np.abs(exact).max())


class Worst(NamedTuple):
    """The largest error of an algorithm on one kind of data, and the largest share of its bound."""

    error: float = 0.0
    share: float = 0.0

    def joined(self, found: float, bound: float) -> Worst:
        return Worst(max(self.error, found), max(self.share, found / bound))


def measure(algorithms: tuple[str, ...]) -> dict[tuple[str, str], dict[str, Worst]]:
    """(algorithm, pass) → kind of data → its worst over the layers."""
    table: dict[tuple[str, str], dict[str, Worst]] = {}
    for direction, layer in itertools.product(DIRECTIONS, LAYERS):
        problem = layer._replace(direction=direction)
        allowed = bounds(problem)
        for data in DATA:
            single = operands(problem, data)
            double = (operand.astype(np.float64) for operand in single)
            exact = public_call(problem, *double)(algorithm="reference")
            call = public_call(problem, *single)
            for name in set(algorithms) & set(allowed):
                found = error(call(algorithm=name), exact)
                row = table.setdefault((name, direction), dict.fromkeys(DATA, Worst()))
                row[data] = row[data].joined(found, allowed[name])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algorithms", nargs="*", default=fc.algorithms(), metavar="NAME")
    algorithms = tuple(parser.parse_args().algorithms)
    with fc.options(accuracy="fast"):
        table = measure(algorithms)
    print("| algorithm | pass |", " | ".join(DATA), "|")
    print("|---|---|" + "---|" * len(DATA))
    for name in algorithms:
        for direction in DIRECTIONS:
            row = table.get((name, direction))
            if row is None:
                continue
            cells = (f"{worst.error:.1e} ({worst.share:.0%})" for worst in row.values())
            print(f"| `{name}` | {direction} |", " | ".join(cells), "|")
    broken = {key for key, row in table.items() if any(worst.share > 1 for worst in row.values())}
    if broken:
        raise SystemExit(f"beyond the bounds: {sorted(broken)}")


if __name__ == "__main__":
    main()
