"""Writing a flow graph down: sums are added one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from .flow import Flow, to_program
from .program import ZERO, Program

Part = tuple[int, float] | None  # a value and its factor; None is zero


class Graph:
    """A flow graph that grows by sums; factors ±1 and lone terms cost nothing until the end."""

    def __init__(self, inputs: int):
        self.inputs = inputs
        self.sums: list[dict[int, float]] = []

    def add(self, *terms: tuple[float, Part]) -> Part:
        """Σ factor · part."""
        gathered: dict[int, float] = {}
        for factor, part in terms:
            if part is not None and factor:
                gathered[part[0]] = gathered.get(part[0], 0) + factor * part[1]
        gathered = {index: factor for index, factor in gathered.items() if factor}
        if len(gathered) < 2:
            return next(iter(gathered.items()), None)
        self.sums.append(gathered)
        return self.inputs + len(self.sums) - 1, 1

    def program(self, results: Iterable[Part]) -> Program:
        return to_program(Flow(self.inputs, self.sums, tuple(map(self._result, results))))

    def _result(self, part: Part) -> int:
        if part is None:
            return ZERO
        index, factor = part
        if factor == 1:
            return index
        self.sums.append({index: factor})
        return self.inputs + len(self.sums) - 1
