"""Where the lanes of ``depthwise`` run over channels and pixels alike: few, side by side."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case
from harness import DIRECTIONS, DTYPES, Trial, assert_close, assert_fused

from fastconv.conv import depthwise
from fastconv.conv.arguments import described
from fastconv.core import workspace
from fastconv.core.machine import machine
from fastconv.plans.depthwise.flat import FlatLines, FlatSum
from fastconv.plans.depthwise.flat_weight import FlatWeight
from fastconv.simd.vector import lanes

VECTOR = lanes(4)


def _case(name, n, channels, *size, **arguments):
    h, w, r, s = size
    return Case(f"flat-{name}", n, channels, h, w, channels, r, s, groups=channels, **arguments)


CASES = (
    _case("two", 2, 2, 13, 17, 3, 3, padding=1),
    _case("three", 2, 3, 13, 17, 3, 3, padding=1),
    _case("as-few-as-fit", 2, VECTOR - 1, 9, 11, 3, 3, padding=1),
    _case("half", 3, VECTOR // 2, 12, 10, 5, 5, padding=2),
    _case("stride-of-rows", 2, 3, 14, 11, 3, 3, stride=(2, 1), padding=1),
    _case("dilation", 1, 3, 19, 23, 3, 3, padding=(2, 3), dilation=(2, 3)),
    _case("row-of-taps", 2, 3, 5, 21, 1, 5, padding=(0, 2)),
    _case("column-of-taps", 2, 3, 21, 5, 5, 1),
    _case("same", 2, 3, 10, 9, 4, 2, padding="same"),
    _case("single-pixel", 2, 3, 3, 3, 3, 3),
    _case("seven", 1, 2, 18, 20, 7, 7, padding=3),
    _case("rows-of-tasks", 2, 3, 150, 120, 3, 3, padding=1),
)
FITTING = [case for case in CASES if lanes(8) > case.K]  # in both dtypes


def _part(trial, threads=2):
    part = depthwise._planned(trial.problem, threads)
    return part


@pytest.mark.parametrize("case", FITTING, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_passes(dtype, direction, case):
    trial = Trial(case, direction, dtype, "nhwc")
    result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_they_are_flat(direction, case):
    """In single precision all are, but for what the registers do not hold the sums of."""
    trial = Trial(case, direction, "float32", "nhwc")
    part = _part(trial)
    if direction == "backward_weight":
        fits = machine().isa.registers - 6 >= case.R * case.S
        assert isinstance(part, FlatWeight) == fits
    elif direction == "forward" or "stride" not in case.name:
        assert isinstance(part, FlatSum)
    result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize(
    ("channels", "arguments"),
    [
        (VECTOR, {}),  # fill a vector
        (3, {"stride": (1, 2)}),
        (2, {"R": 9, "S": 9}),
    ],
    ids=["full", "strided", "many-taps"],
)
def test_others_are_not(channels, arguments):
    r, s = arguments.pop("R", 3), arguments.pop("S", 3)
    case = _case("other", 1, channels, 20, 20, r, s, **arguments)
    for direction in DIRECTIONS:
        assert not isinstance(_part(Trial(case, direction, "float32", "nhwc")), FlatLines)


@pytest.mark.parametrize("case", [CASES[1], CASES[2]], ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "depthwise", "nhwc")


def test_what_lies_between_lines_of_the_window_has_no_part():
    """The last vector of a line is not whole: in a window the line behind it follows at once."""
    case = _case("unread-rows", 2, 3, 11, 7, 1, 3, stride=(2, 1))
    for direction in ("forward", "backward_weight"):
        trial = Trial(case, direction, "float32", "nhwc")
        x, other = trial.operands()
        x[:, :, 1::2] = np.nan
        assert isinstance(_part(trial), FlatLines)
        assert_close(trial.run("depthwise", x, other), trial.expected, trial.bound("depthwise"))


def test_gradients_whose_pixels_are_apart():
    trial = Trial(CASES[1], "backward_weight", "float32", "nhwc")
    x, dy = trial.operands()
    n, k, p, q = dy.shape
    wide = workspace.empty((n, k + 2, p, q + 3), "float32", "nhwc")
    wide[:, 1 : k + 1, :, :q] = dy
    result = trial.run("depthwise", x, wide[:, 1 : k + 1, :, :q])
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("threads", [1, 16, 64])
def test_tasks_of_a_gradient_have_sums_of_their_own(threads):
    trial = Trial(CASES[-1], "backward_weight", "float32", "nhwc")
    part = _part(trial, threads)
    assert part.blocks >= part.tasks > part.workers
    results = np.full((2, *trial.expected.shape), np.nan, np.float32)
    for dw in results:
        part.run(*trial.operands(), dw)
        assert_close(dw, trial.expected, trial.bound("depthwise"))
    assert results[0].tobytes() == results[1].tobytes()


@pytest.mark.parametrize("strides", [(1, 1, 1, -1), (1, 1, -1, 1), (-1, -1, 1, 1)], ids=str)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_operands_in_any_order(direction, strides):
    case = CASES[1]
    trial = Trial(case, direction, "float32", "nhwc")
    turn = tuple(slice(None, None, step) for step in strides)
    first, second = trial.operands()
    first = np.ascontiguousarray(first[turn].transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)[turn]
    if direction == "backward_weight":
        second = np.ascontiguousarray(second.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    else:
        second = np.asfortranarray(second)
    assert_close(trial.run("depthwise", first, second), trial.expected, trial.bound("depthwise"))


def test_multipliers_are_not_flat():
    case = Case("flat-times-two", 1, 3, 12, 12, 6, 3, 3, groups=3)
    for direction in DIRECTIONS:
        assert not isinstance(_part(Trial(case, direction, "float32", "nhwc")), FlatLines)


def test_windows_of_long_lines_leave_the_cache():
    width = machine().l2
    case = _case("too-long", 1, 2, 1, width, 1, 3)
    assert not isinstance(_part(Trial(case, "forward", "float32", "nhwc")), FlatLines)


@pytest.mark.parametrize(
    ("x", "taps"),
    [
        ((4, 200, 210, 3), (3, 3)),
        ((40, 1, machine().l2 // (8 * VECTOR), VECTOR // 2), (1, 3)),  # as long as may be, or half
        ((20_000, 1, 3, 3), (1, 3)),
    ],
    ids=["image", "line", "pixels"],
)
def test_long_sums_of_equal_terms(x, taps):
    """No sum is long: neither a tile's nor a task's."""
    n, h, w, channels = x
    x = np.full(x, 1.3, np.float32).transpose(0, 3, 1, 2)
    shape = (channels, 1, *taps)
    dy = x[:, :, taps[0] - 1 :, taps[1] - 1 :].copy("K")
    problem = described(x.shape, shape, 1, 0, 1, channels, "backward_weight", "float32", "nhwc")
    part = depthwise._planned(problem, 1)
    assert isinstance(part, FlatWeight)
    dw = np.full(shape, np.nan, np.float32)
    part.run(x, dy, dw)
    exact = float(x[0, 0, 0, 0]) ** 2 * n * (h - taps[0] + 1) * (w - taps[1] + 1)
    assert np.abs(dw / exact - 1).max() < 1e-5
