"""Channels-last pixels of a few channels, which ``direct`` makes planes of."""

from __future__ import annotations

import functools
import itertools
from unittest import mock

import cases
import numpy as np
import pytest
from harness import DIRECTIONS, DTYPES, FORMATS, Trial, assert_close, assert_fused

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.address import address
from fastconv.core.jit import call, kernel, record
from fastconv.core.machine import machine
from fastconv.core.stage import Stage
from fastconv.plans.lines import planar_weight
from fastconv.plans.lines.planar import PlanarCorrelation
from fastconv.plans.lines.planar_weight import PlanarWeight
from fastconv.simd.interleaving import joiner, separator
from fastconv.simd.vector import lanes

ROW = lanes(4)
pytestmark = pytest.mark.usefixtures("no_second_try")

CASES = (
    cases.Case("three", 2, 3, 9, 2 * ROW + 3, 3, 3, 3, padding=1),
    cases.Case("to-one", 1, 4, 7, ROW, 1, 5, 5, padding=2),
    cases.Case("from-one", 3, 1, 8, ROW + 1, 5, 3, 3, padding=1),
    cases.Case("to-eight", 2, 5, 6, 3 * ROW - 1, 8, 3, 3, padding=1),
    cases.Case("from-twelve", 1, 12, 5, ROW + 7, 2, 3, 3),
    cases.Case("from-many", 2, 2 * ROW + 5, 7, 2 * ROW + 3, max(1, ROW // 8), 3, 3, padding=1),
    cases.Case("one-tap", 3, 8, 4, ROW + 2, 5, 1, 1),
    cases.Case("strided", 2, 3, 13, 2 * ROW + 5, 6, 3, 3, stride=2, padding=1),
    cases.Case("strides", 1, 2, 14, 3 * ROW, 3, 4, 5, stride=(3, 2), padding=2),
    cases.Case("dilated", 2, 6, 11, ROW + 9, 2, 3, 3, padding=(2, 3), dilation=(2, 3)),
    cases.Case("images", 19, 2, 3, ROW, 2, 2, 3, padding="same"),
)

# Of groups, for weight gradients alone.
GROUPS = (
    cases.Case("threes", 3, 9, 11, 2 * ROW + 3, 9, 3, 3, padding=1, groups=3),
    cases.Case("fours", 1, 8, 7, ROW, 8, 3, 3, padding=1, groups=2),
    cases.Case("two-to-five", 2, 8, 6, ROW + 1, 20, 5, 3, padding=2, groups=4),
    cases.Case("five-to-one", 5, 20, 5, ROW + 2, 4, 3, 3, groups=4),
    cases.Case("multiplied", 2, 5, 9, 3 * ROW - 1, 15, 3, 3, padding=1, groups=5),
    cases.Case("strided-threes", 2, 6, 13, 2 * ROW + 5, 6, 3, 3, stride=2, padding=1, groups=2),
    cases.Case("dilated-twos", 3, 4, 9, ROW + 9, 6, 3, 3, padding=2, dilation=(2, 3), groups=2),
    cases.Case("points", 2, 12, 4, ROW + 3, 6, 1, 1, groups=3),
    cases.Case("one-row", 7, 6, 1, 4 * ROW, 6, 1, 3, padding=(0, 1), groups=2),
)


def _plans(trial: Trial) -> list:
    return Direct()._build(trial.problem, 2)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_they_are_planes_soon(case, direction):
    if direction == "backward_weight" and ROW < 16:
        pytest.skip("short vectors of filters are full enough, and then need no planes")
    plans = _plans(Trial(case, direction, order="nhwc"))
    planar = [isinstance(plan, (PlanarCorrelation, PlanarWeight)) for plan in plans]
    if direction == "backward_input" and (case.stride != 1 or case.C > 8):
        assert not any(planar)  # parities, or many results
    else:
        assert planar == [True]


@pytest.mark.parametrize(
    "case",
    [
        cases.Case("short-rows", 2, 3, 20, ROW - 1, 3, 3, 3, padding=1),
        cases.Case("short-input", 1, 3, 9, ROW - 2, 3, 3, 5, padding=(1, 4)),
        cases.Case("many-channels", 1, 49, 9, 2 * ROW, 3, 3, 3, padding=1),
        cases.Case("many-to-more", 1, 13, 9, 2 * ROW, ROW // 3 + 1, 3, 3, padding=1),
        cases.Case("many-strided", 2, 13, 9, 3 * ROW, 1, 3, 3, stride=2, padding=1),
        cases.Case(
            "many-far", 1, 48, 2, machine().l2 // 4 // (2 * 4 * 48 * 4) + 1, 1, 3, 3, padding=1
        ),
        cases.Case("many-filters", 1, 3, 9, 2 * ROW, 9, 3, 3, padding=1),
        cases.Case("many-of-one-tap", 1, 9, 9, 2 * ROW, 3, 1, 1),
        cases.Case("not-all-read", 2, 3, 9, 2 * ROW + 1, 4, 1, 1, stride=2),
        cases.Case("groups-of-many", 1, 18, 9, 2 * ROW, 6, 3, 3, padding=1, groups=2),
        cases.Case("groups-to-many", 1, 6, 9, 2 * ROW, 18, 3, 3, padding=1, groups=2),
        cases.Case("short-groups", 1, 6, 9, ROW - 1, 6, 3, 3, padding=1, groups=2),
        cases.Case("groups-not-all-read", 2, 6, 9, 2 * ROW + 1, 6, 1, 1, stride=2, groups=2),
        cases.Case(
            "far-groups",
            1,
            machine().l2 // (4 * ROW * 4) // 2,
            3,
            2 * ROW,
            machine().l2 // (4 * ROW * 4) // 2,
            3,
            3,
            padding=1,
            groups=machine().l2 // (4 * ROW * 4) // 4,
        ),
    ],
    ids=lambda case: case.name,
)
@pytest.mark.parametrize("direction", ["forward", "backward_weight"])
def test_others_are_not(case, direction):
    (plan,) = _plans(Trial(case, direction, order="nhwc"))
    assert not isinstance(plan, (PlanarCorrelation, PlanarWeight))


@pytest.mark.skipif(ROW < 16, reason="short vectors of filters are full enough")
@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case.name)
def test_groups_are_planes_soon_for_weights(case):
    for direction in DIRECTIONS:
        plans = _plans(Trial(case, direction, order="nhwc"))
        planar = [isinstance(plan, (PlanarCorrelation, PlanarWeight)) for plan in plans]
        assert any(planar) == (direction == "backward_weight")


def _framed(array: np.ndarray, order: str) -> np.ndarray:
    """The same in this memory order, amid elements that no result may depend on."""
    n, c, h, w = array.shape
    axes = (0, 1, 2, 3) if order == "nchw" else (0, 2, 3, 1)
    frame = np.full([(n, c + 2, h + 1, w + ROW)[axis] for axis in axes], np.nan, array.dtype)
    inside = frame.transpose(np.argsort(axes))[:, 1:-1, 1:, ROW // 2 : -(ROW // 2)]
    inside[...] = array
    return inside


@pytest.mark.parametrize("framed", [False, True], ids=["whole", "framed"])
@pytest.mark.parametrize("orders", [*itertools.product(FORMATS, FORMATS)], ids="-".join)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case.name)
def test_weight_gradients_of_groups(case, dtype, threads, orders, framed):
    """By every block, also those that a plan would not choose, and by all threads."""
    trial = Trial(case, "backward_weight", dtype)
    operands = [
        _framed(a, order) if framed else _in_order(a, order)
        for a, order in zip(trial.operands(), orders, strict=True)
    ]
    problem = trial.problem._replace(x_format=orders[0], y_format=orders[1])
    with mock.patch.object(planar_weight, "workers_for", lambda *_: threads):
        chosen = PlanarWeight(problem, threads)
        assert chosen.workers == threads or chosen.blocks < threads
        for cut in chosen._cuts():
            shape = chosen._shape()._replace(cut=cut)
            with mock.patch.object(PlanarWeight, "_shape", lambda self, shape=shape: shape):
                plan = PlanarWeight(problem, threads)
            dw = np.full(case.w_shape, np.nan, dtype)
            plan.run(*operands, dw)
            assert_close(dw, trial.expected, trial.bound("direct"))


def _in_order(array: np.ndarray, order: str) -> np.ndarray:
    if order == "nchw":
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("groups", [1, 2])
def test_rows_of_less_than_a_vector_stay_as_they_are(groups):
    """What stands beside them in memory is not theirs, even if padding makes long rows of them."""
    case = cases.Case(
        "padded", 2, 4, 6, ROW // 2 + 1, 4, 3, 3, padding=(1, ROW // 2), groups=groups
    )
    trial = Trial(case, "backward_weight", order="nhwc")
    assert not any(isinstance(plan, PlanarWeight) for plan in _plans(trial))
    x, dy = trial.operands()
    result = trial.run("direct", _framed(x, "nhwc"), dy)
    assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, direction, dtype, threads):
    trial = Trial(case, direction, dtype, "nhwc")
    with fc.options(num_threads=threads):
        result = trial.run("direct", *trial.operands())
    assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("x_order", ["nchw", "nhwc"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_weight_gradient_of_both_orders(case, x_order):
    """One operand on planes, the other channels-last."""
    trial = Trial(case, "backward_weight")
    orders = (x_order, "nhwc" if x_order == "nchw" else "nchw")
    operands = map(_in_order, trial.operands(), orders)
    assert_close(trial.run("direct", *operands), trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("channels", "filters"), [(8, 8), (4, 16), (16, 4), (24, 6)])
def test_pixels_of_which_half_are_others(channels, filters, direction, dtype):
    """``strassen`` multiplies halves of channels-last pixels."""
    case = cases.Case("halves", 4, channels, 7, 2 * ROW + 1, filters, 3, 3, padding=1)
    trial = Trial(case, direction, dtype, "nhwc")
    result = trial.run("strassen", *trial.operands())
    assert_close(result, trial.expected, trial.bound("strassen"))


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("taps", "stride"), [(1, 32), (1, 3), (3, 3), (5, 1), (31, 1)])
def test_what_tasks_hold_stays_in_the_cache(taps, stride, direction, order):
    problem = described(
        (32, 8, 2048, 2048), (8, 8, taps, taps), stride, 0, 1, 1, direction, "float32", order
    )
    for plan in Direct()._build(problem, 2):
        if isinstance(plan, (PlanarCorrelation, PlanarWeight)):
            assert plan.worker_bytes <= 2 * machine().l2
    assert Direct().refuses(problem) is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "direct", "nhwc")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planes", [*range(2, 17), 31, 49])
def test_pixels_become_planes_and_planes_pixels(planes, dtype):
    itemsize = np.dtype(dtype).itemsize
    for count in (lanes(itemsize), lanes(itemsize) + 1, 50):
        pixels = np.random.default_rng(planes).standard_normal((count, planes)).astype(dtype)
        apart = np.full((planes, count + 3), np.nan, dtype)
        plane, pixel = apart.strides[0], pixels.strides[0]
        for dense in (True, False):
            apart[:] = np.nan
            _turning().run(
                function=separator(itemsize, planes, dense).address, target=address(apart),
                step=plane, source=address(pixels), other=pixel, count=count,
            )  # fmt: skip
            np.testing.assert_array_equal(apart[:, :count], pixels.T)
            assert np.isnan(apart[:, count:]).all()
        for dense in (True, False):
            joined = np.full_like(pixels, np.nan)
            _turning().run(
                function=joiner(itemsize, planes, dense).address, target=address(joined),
                step=pixel, source=address(apart), other=plane, count=count,
            )  # fmt: skip
            np.testing.assert_array_equal(joined, pixels)


@functools.cache
def _turning():
    @kernel(record("function target step source other count"))
    def turning(worker, a):
        call(a.function, a.target, a.step, a.source, a.other, a.count)

    return Stage(turning, 1)
