"""Print the errors of every algorithm and pass in float32, as a table in Markdown.

    python bench/errors.py [--algorithms winograd …]

An error is max|y − y64| / max|y64| against the same pass in float64: a figure is the largest over
the layers below that the algorithm may run at accuracy "fast"; what this processor may not run has
no row.  In brackets, the largest share of the bound that the algorithm states for the layer
(``fc.explain``), which it must not exceed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastconv as fc

PASSES = ("forward", "backward_input", "backward_weight")


class Layer(NamedTuple):
    """A convolution with square images and filters."""

    N: int
    C: int
    size: int
    K: int
    taps: int
    stride: int = 1
    groups: int = 1

    @property
    def arguments(self) -> tuple[int, int, int, int]:
        """Stride, padding, dilation, groups."""
        return self.stride, self.taps // 2, 1, self.groups

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        out = (self.size - 1 + 2 * (self.taps // 2) - self.taps + 1) // self.stride + 1
        return {
            "x": (self.N, self.C, self.size, self.size),
            "w": (self.K, self.C // self.groups, self.taps, self.taps),
            "y": (self.N, self.K, out, out),
        }


LAYERS = (
    Layer(2, 64, 56, 64, 3),
    Layer(1, 256, 14, 32, 3),
    Layer(32, 8, 32, 8, 3),
    Layer(1, 3, 96, 16, 3),
    Layer(2, 24, 28, 24, 2),
    Layer(2, 24, 28, 24, 5),
    Layer(1, 16, 40, 16, 7),
    Layer(1, 16, 40, 16, 11),
    Layer(1, 3, 112, 32, 7, stride=2),
    Layer(8, 1, 28, 32, 5),
    Layer(2, 32, 28, 32, 1),
    Layer(4, 32, 28, 32, 3, groups=32),
    Layer(1, 16, 56, 16, 7, groups=16),
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


def operands(layer: Layer, direction: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    """The two operands of a pass in float32, the same in every run."""
    rng = np.random.default_rng(1)
    first, second = {"forward": "xw", "backward_input": "yw", "backward_weight": "xy"}[direction]
    make, shapes = DATA[data], layer.shapes
    return (
        make(rng, shapes[first], True).astype(np.float32),
        make(rng, shapes[second], False).astype(np.float32),
    )


def run(layer: Layer, direction: str, first, second, algorithm: str) -> np.ndarray:
    """One pass of a layer, in the dtype of the operands."""
    shapes, arguments = layer.shapes, layer.arguments
    if direction == "forward":
        return fc.conv2d(first, second, None, *arguments, algorithm=algorithm)
    if direction == "backward_input":
        return fc.grad.conv2d_input(shapes["x"], second, first, *arguments, algorithm=algorithm)
    return fc.grad.conv2d_weight(first, shapes["w"], second, *arguments, algorithm=algorithm)


def bounds(layer: Layer, direction: str) -> dict[str, float]:
    """Algorithm → the error bound that it states, if it may run the layer."""
    rows = fc.explain(
        layer.shapes["x"], layer.shapes["w"], *layer.arguments, direction=direction
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
    for direction in PASSES:
        for layer in LAYERS:
            allowed = bounds(layer, direction)
            for data in DATA:
                first, second = operands(layer, direction, data)
                doubled = first.astype(np.float64), second.astype(np.float64)
                exact = run(layer, direction, *doubled, "reference")
                for name in set(algorithms) & set(allowed):
                    found = error(run(layer, direction, first, second, name), exact)
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
        for direction in PASSES:
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
