"""The harness must be able to fail: poison that shows, fences that break, errors that count."""

from __future__ import annotations

import types

import cases
import numpy as np
import pytest
from harness import FORMATS, Trial, assert_close, fenced
from numpy.lib.stride_tricks import as_strided

from fastconv.conv.algorithm import Cost
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import workspace

TRIAL = Trial(cases.BY_NAME["channels-3-17"], "forward")


def test_output_that_is_not_written(monkeypatch):
    idle = types.SimpleNamespace(name="idle", refuses=lambda problem: None)
    idle.cost = lambda problem, threads: Cost((), 0, 0.0)
    idle.plan = lambda problem, threads: lambda *arguments: None
    monkeypatch.setitem(ALGORITHMS, "idle", idle)
    result = TRIAL.run("idle", *TRIAL.operands())
    assert np.isnan(result).all()
    with pytest.raises(AssertionError, match="are NaN"):
        assert_close(result, TRIAL.expected, 1)


def test_scratch_is_poisoned_and_fenced(fences):
    with workspace.reserve(100) as memory:
        assert (memory == 0xFF).all()
        as_strided(memory, (1000,))[900] = 0
    with pytest.raises(AssertionError, match="outside of its memory"):
        fences.assert_hold()


def test_write_beyond_an_output(fences):
    result = fences.output((1, 1, 2, 3), "float32", "nchw")
    as_strided(result, (7,), (4,))[6] = 0
    with pytest.raises(AssertionError, match="outside of its memory"):
        fences.assert_hold()


@pytest.mark.parametrize("order", FORMATS)
def test_operands_lie_between_nans(order):
    inside = fenced(np.ones((1, 2, 3, 4)), order=order)
    memory = inside if order == "nchw" else inside.transpose(0, 2, 3, 1)
    around = as_strided(memory[0, 0, 0, :1], (24 + 2,), (4,))
    assert memory.flags.c_contiguous
    assert (around[:24] == 1).all() and np.isnan(around[24:]).all()


def test_error_beyond_the_bound():
    expected = np.array([1.0, -2.0])
    assert_close(expected + 1e-6, expected, 1e-6)
    with pytest.raises(AssertionError, match="exceeds"):
        assert_close(expected + 3e-6, expected, 1e-6)
