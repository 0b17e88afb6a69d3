"""Cutting a problem into pieces that run one after the other, to bound the workspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastconv.core.problem import OPERANDS, ConvProblem

_FEWEST = 32  # outputs of a piece; fewer would waste vector lanes


def _within(of: slice, first: int, last: int) -> slice:
    return slice(of.start + first, of.start + last)


class Piece(NamedTuple):
    """Some groups of a problem, or some outputs of one group."""

    problem: ConvProblem
    channels: slice  # of x
    filters: slice  # of y and w
    depth: slice  # of the channels of a filter

    def cut(self, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """The parts of the three operands of the pass that this piece works on."""
        everything = slice(None)
        parts = {
            "x": (everything, self.channels),
            "y": (everything, self.filters),
            "w": (self.filters, self.depth),
        }
        names = OPERANDS[self.problem.direction]
        return [array[parts[name]] for name, array in zip(names, arrays, strict=True)]

    def cut_bias(self, bias: np.ndarray | None) -> np.ndarray | None:
        outputs = self.channels if self.problem.direction == "backward_input" else self.filters
        return None if bias is None else bias[outputs]

    def halves(self) -> list[Piece]:
        """This piece in two, by groups or else by outputs; nothing if it is small."""
        p = self.problem
        if p.groups > 1:
            half = p.groups // 2
            return [self._groups(0, half), self._groups(half, p.groups)]
        outputs = p.C if p.direction == "backward_input" else p.K
        if outputs < 2 * _FEWEST:
            return []
        half = outputs // 2 // _FEWEST * _FEWEST
        return [self._outputs(0, half), self._outputs(half, outputs)]

    def _groups(self, first: int, last: int) -> Piece:
        p = self.problem
        channels, filters, groups = p.C // p.groups, p.K // p.groups, last - first
        return Piece(
            p._replace(C=groups * channels, K=groups * filters, groups=groups),
            _within(self.channels, first * channels, last * channels),
            _within(self.filters, first * filters, last * filters),
            self.depth,
        )

    def _outputs(self, first: int, last: int) -> Piece:
        p = self.problem
        if p.direction == "backward_input":
            return self._replace(
                problem=p._replace(C=last - first),
                channels=_within(self.channels, first, last),
                depth=_within(self.depth, first, last),
            )
        return self._replace(
            problem=p._replace(K=last - first), filters=_within(self.filters, first, last)
        )


def pieces(problem: ConvProblem, fits: Callable[[ConvProblem], bool]) -> list[Piece]:
    """``problem`` halved until every piece fits or is small."""
    depth = slice(0, problem.C // problem.groups)
    waiting = [Piece(problem, slice(0, problem.C), slice(0, problem.K), depth)]
    done = []
    while waiting:
        piece = waiting.pop()
        halves = [] if fits(piece.problem) else piece.halves()
        waiting += reversed(halves)
        if not halves:
            done.append(piece)
    return done
