"""The time of a kernel's phases: every algorithm notes where it goes, if asked."""

from __future__ import annotations

import threading
import time

import cases
import numpy as np
import pytest
from harness import DIRECTIONS, Trial

from fastconv.conv import measuring
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import profile
from fastconv.core.problem import FORMATS
from fastconv.simd.clock import seconds_by_phase

CASES = ("medium-3x3", "medium-depthwise-3x3", "medium-1x1")


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "reference"])
@pytest.mark.parametrize("case", CASES)
def test_phases_are_parts_of_a_run(case, algorithm, direction, order):
    trial = Trial(cases.BY_NAME[case], direction, "float32", order)
    if trial.refusal(algorithm) is not None:
        pytest.skip("refused")
    plan = ALGORITHMS[algorithm].plan(trial.problem, 1)
    operands = trial.operands()
    out = np.empty(trial.expected.shape, np.float32)
    run = lambda: plan(*operands, out, None, False)  # noqa: E731
    run()
    began = time.perf_counter()
    phases = seconds_by_phase(run, 1)
    taken = time.perf_counter() - began
    assert set(phases) <= set(profile.PHASES) and phases["multiply"] > 0
    # The clocks differ a little; what phases leave out is Python's share.
    assert sum(phases.values()) <= 1.2 * taken


def test_nothing_is_noted_unasked():
    ticks = np.zeros((1, profile.WORDS), np.int64)
    with profile.noted(ticks):
        pass
    trial = Trial(cases.BY_NAME["medium-3x3"], "forward")
    trial.run("direct", *trial.operands())
    assert not ticks.any()


def test_the_kernels_of_other_python_threads_note_nothing():
    """Which may have more workers than there is room for."""
    ticks = np.zeros((1, profile.WORDS), np.int64)
    trial = Trial(cases.BY_NAME["medium-3x3"], "forward")
    other = threading.Thread(target=trial.run, args=("direct", *trial.operands()))
    with profile.noted(ticks):
        other.start()
        other.join()
    assert not ticks.any()


def test_an_algorithm_without_kernels_has_no_phases():
    assert measuring._phases(lambda: None, 1) is None
