"""The table: every algorithm × pass × named shape × memory order × dtype against the oracle."""

from __future__ import annotations

import itertools
import re

import cases
import numpy as np
import pytest
from harness import DIRECTIONS, DTYPES, FORCED, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv import selector
from fastconv.conv.options import Request
from fastconv.core import checks, threads

# The cases for the names that force a tile, and for depthwise transforms, each compiled anew.
FORCED_CASES = ("channels-17-3", "kernel", "stride-2-3x3", "medium-3x3", "medium-stride-2",
                "medium-dilated", "medium-groups")  # fmt: skip
SPECTRAL_CASES = ("depthwise-3x3", "depthwise-31x31", "depthwise-same-4x4", "depthwise-7x7-dilated",
                  "image-depthwise", "medium-depthwise-7x7")  # fmt: skip

# Small planes reach these through the packing that direct and winograd test, and planes of float64
# are read as those of float32: one case of a kind is enough.
SAME_PACKING = ("im2col", "fft", "strassen", "reference")
PLANES = ("channels-3-17", "planar-3x3", "kernel-1x1", "stride-2-3x3", "dilation-2",
          "groups-2-of-3", "depthwise-3x3", "halves-3x3", "medium-3x3", "medium-1x1",
          "medium-stride-2", "medium-depthwise-3x3")  # fmt: skip


def trials(table, *dtypes_and_orders):
    """What an algorithm computes in a way of its own: case, algorithm, dtype, memory order."""
    some = []
    for case, (dtype, order) in itertools.product(table, dtypes_and_orders):
        for algorithm in fc.algorithms():
            if algorithm in FORCED and not case.name.startswith(FORCED_CASES):
                continue
            spectral = algorithm == "fft" and case.groups == case.C > 1
            if spectral and not case.name.startswith(SPECTRAL_CASES):
                continue
            alike = dtype == "float64" or (algorithm in SAME_PACKING and case in cases.SMALL)
            if order == "nchw" and alike and case.name not in PLANES:
                continue
            name = f"{case.name}-{algorithm}-{dtype}-{order}"
            some.append(pytest.param(case, algorithm, dtype, order, id=name))
    return pytest.mark.parametrize(("case", "algorithm", "dtype", "order"), some)


directions = pytest.mark.parametrize("direction", DIRECTIONS)
pytestmark = pytest.mark.usefixtures("no_second_try")


def _check(algorithm, trial):
    """A refusal with its reason; or a right result on one thread and on all of them."""
    first, second = trial.operands()
    reason = trial.refusal(algorithm)
    if reason is not None:
        with pytest.raises(ValueError, match=re.escape(reason)):
            trial.run(algorithm, first, second)
        return
    before = first.copy(), second.copy()
    with threads.num_threads(1):
        alone = trial.run(algorithm, first, second)
    result = trial.run(algorithm, first, second)
    again = trial.run(algorithm, first, second)
    assert result.dtype == trial.dtype
    bound = trial.bound(algorithm)
    for y in (alone, result):
        assert_close(y, trial.expected, bound)
    assert result.tobytes() == again.tobytes(), "two runs differ"
    np.testing.assert_array_equal(first, before[0], "an input was modified")
    np.testing.assert_array_equal(second, before[1], "an input was modified")
    order = "nchw"
    if trial.direction != "backward_weight":
        read = checks.memory_format(first)
        order = checks.order_of_result(first, read, result.shape[1])
    dense = result if order == "nchw" else result.transpose(0, 2, 3, 1)
    assert dense.flags.c_contiguous, f"strides {result.strides} are not {order}"


@directions
@trials(cases.SMALL, ("float32", "nchw"), ("float64", "nchw"), ("float32", "nhwc"))
def test_small(case, direction, algorithm, dtype, order):
    _check(algorithm, Trial(case, direction, dtype, order))


@directions
@trials(cases.MEDIUM, *itertools.product(DTYPES, FORMATS))
def test_medium(case, direction, algorithm, dtype, order):
    _check(algorithm, Trial(case, direction, dtype, order))


@directions
@pytest.mark.parametrize("case", cases.SMALL + cases.MEDIUM, ids=lambda case: case.name)
def test_auto_takes_a_fast_algorithm(case, direction):
    trial = Trial(case, direction)
    result = trial.run("auto", *trial.operands())
    chosen = selector.choose(trial.problem, Request(), fc.get_num_threads()).algorithm
    assert chosen != "reference"
    assert_close(result, trial.expected, trial.bound(chosen))
