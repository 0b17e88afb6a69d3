"""A benchmark by algorithm: a row for each point of its axis, a column for each algorithm."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fastconv.conv.compare import PEERS

from .asv_results import Benchmark, Outcome, Run, Stored

_ALGORITHM = "algorithm"  # the name of the parameter
_AUTO = "auto"  # not an algorithm but a choice among them
_MORE_IS_BETTER = ("GFLOP/s", "% of peak")
TIME = "seconds"  # asv's unit of timings

Quartiles = tuple[float | None, float | None]


class Table(NamedTuple):
    """One benchmark of one run; a value is None where it failed, and NaN where it was skipped."""

    benchmark: str
    unit: str
    axis: str  # what a row is a value of
    points: tuple[str, ...]
    algorithms: tuple[str, ...]
    values: dict[tuple[str, str], float | None]  # by point and algorithm
    quartiles: dict[tuple[str, str], Quartiles]  # first and third, of timings

    def ran(self, point: str) -> dict[str, float]:
        """Algorithm → value, of those that have one."""
        row = {name: self.values[point, name] for name in self.algorithms}
        return {n: v for n, v in row.items() if v is not None and not math.isnan(v)}

    def best(self, point: str) -> str | None:
        """The best algorithm or peer; "auto" is none, as it runs one of them."""
        return self._best({n: v for n, v in self.ran(point).items() if n != _AUTO})

    def ratios(self, point: str, peer: str) -> dict[str, float]:
        """A peer's time over that of "auto", and over that of the fastest algorithm."""
        ran = self.ran(point)
        if peer not in ran:
            return {}
        own = self._best({n: v for n, v in ran.items() if n != _AUTO and n not in PEERS})
        rivals = {_AUTO: ran.get(_AUTO), "fastest": None if own is None else ran[own]}
        return {name: ran[peer] / taken for name, taken in rivals.items() if taken}

    def _best(self, values: dict[str, float]) -> str | None:
        choose: Callable = max if self.unit in _MORE_IS_BETTER else min
        return choose(values, key=values.__getitem__) if values else None


def tables(stored: Stored, run: Run) -> Iterator[Table]:
    """A table for each benchmark that has algorithms.

    Like asv, leave out results of another version of a benchmark: they measured something else.
    """
    for name, outcome in sorted(run.outcomes.items()):
        benchmark = stored.benchmarks.get(name)
        if benchmark is None or benchmark.version != outcome.version:
            continue
        if _ALGORITHM in benchmark.param_names:
            yield _table(benchmark, outcome)


def _table(benchmark: Benchmark, outcome: Outcome) -> Table:
    column = benchmark.param_names.index(_ALGORITHM)
    others = [name for name in benchmark.param_names if name != _ALGORITHM]
    cells = []
    for params in itertools.product(*outcome.params):
        point = [_plain(value) for value in params]
        algorithm = point.pop(column)
        cells.append((", ".join(point), algorithm))
    return Table(
        benchmark.name,
        benchmark.unit,
        ", ".join(others),
        tuple(dict.fromkeys(point for point, _ in cells)),
        tuple(dict.fromkeys(algorithm for _, algorithm in cells)),
        dict(zip(cells, outcome.values, strict=True)),
        dict(zip(cells, outcome.quartiles, strict=True)),
    )


def _plain(value: str) -> str:
    """A parameter without the quotes that Python writes around a string."""
    try:
        return str(ast.literal_eval(value))
    except (ValueError, SyntaxError):
        return value
