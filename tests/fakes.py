"""Algorithms that take as long as they are told, on a clock of their own."""

from __future__ import annotations

import contextlib

import numpy as np

import fastconv as fc
from fastconv.conv.algorithm import Algorithm, Cost, Work
from fastconv.conv.calibration import _CALL, KINDS, NOMINAL
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import ConvProblem

MS = 1e-3
PROBLEM = ConvProblem(2, 4, 6, 5, 8, 3, 3)
X, W = np.ones((2, 4, 6, 5), np.float32), np.ones((8, 4, 3, 3), np.float32)


@contextlib.contextmanager
def only(*algorithms):
    """A registry of these alone; afterwards it is as before, its order too."""
    before = dict(ALGORITHMS)
    ALGORITHMS.clear()
    ALGORITHMS.update({algorithm.name: algorithm for algorithm in algorithms})
    try:
        yield algorithms
    finally:
        ALGORITHMS.clear()
        ALGORITHMS.update(before)


class Clock:
    """Stands still but for what algorithms spend."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Fake(Algorithm):
    """Predicted to take ``predicted`` seconds on the nominal host, and taking ``actual``.

    Every run fills the result with ``value``; ``runs`` counts them.  The first run takes
    ``compiling`` seconds more.
    """

    def __init__(self, name, clock, predicted, actual=None, value=0.0, **properties):
        self.name = name
        self.clock = clock
        self.predicted = predicted
        self.actual = predicted if actual is None else actual
        self.value = value
        self.reason = properties.pop("reason", None)
        self.error = properties.pop("error", 1e-6)
        self.workspace = properties.pop("workspace", 1000)
        self.compiling = properties.pop("compiling", 0.0)
        self.fallback = properties.pop("fallback", False)
        self.forces = properties.pop("forces", None)
        self.exact = properties.pop("exact", True)
        assert not properties
        self.runs = 0

    def refuses(self, problem):
        return self.reason

    def cost(self, problem, threads):
        flops = (self.predicted - _CALL) * NOMINAL.peak * KINDS["product"].efficiency
        return Cost((Work("product", int(flops), 1),), self.workspace, self.error)

    def plan(self, problem, threads):
        def run(first, second, out, bias, relu):
            self.clock.now += self.actual + (0 if self.runs else self.compiling)
            self.runs += 1
            out.fill(self.value)

        return run


def call(**keywords):
    """The value that the fake which ran has written."""
    values = np.unique(fc.conv2d(X, W, **keywords))
    assert len(values) == 1
    return values[0]


def runs(fakes):
    return [fake.runs for fake in fakes]
