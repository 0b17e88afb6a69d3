"""Straight-line programs: the form in which every linear map of a tile reaches the kernels.

A program is a list of operations ``a·x ± y`` on values computed before, so that each of them is
one vector instruction, and a map is as fast as its list is short.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ZERO = -1


class Op(NamedTuple):
    """One instruction: ``a·x + b·y`` with b = ±1, or ``a·x`` alone with y = -1 and b = 0.

    x and y are indices of values: the inputs come first, then the results of earlier operations.
    A sum or a difference has a = 1; everything else with two operands is a fused multiply-add.
    """

    a: float
    x: int
    b: int
    y: int


class Program(NamedTuple):
    """A linear map of ``inputs`` values to ``len(results)`` values.

    ``results`` holds the index of the value that is each output, or -1 where it is always zero.
    """

    inputs: int
    ops: tuple[Op, ...]
    results: tuple[int, ...]


class Count(NamedTuple):
    """The instructions of a program, by kind."""

    additions: int
    fmas: int
    scalings: int

    @property
    def total(self) -> int:
        return sum(self)


def count(program: Program) -> Count:
    scalings = sum(op.y < 0 for op in program.ops)
    additions = sum(op.y >= 0 and op.a == 1 for op in program.ops)
    return Count(additions, len(program.ops) - additions - scalings, scalings)


def apply(program: Program, values: np.ndarray) -> np.ndarray:
    """Run the program on ``values``, whose first axis holds the inputs, in their own dtype.

    Raises ``ValueError`` when the first axis has another length.
    """
    if values.ndim < 1 or len(values) != program.inputs:
        raise ValueError(f"values must hold {program.inputs} inputs, got shape {values.shape}")
    known = list(values)
    for a, x, b, y in program.ops:
        product = values.dtype.type(a) * known[x]
        known.append(product if y < 0 else product + known[y] if b > 0 else product - known[y])
    outputs = np.zeros((len(program.results), *values.shape[1:]), values.dtype)
    for row, index in enumerate(program.results):
        if index != ZERO:
            outputs[row] = known[index]
    return outputs
