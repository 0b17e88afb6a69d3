"""1×1 weight gradients whose vectors run over the channels of x rather than over filters."""

from __future__ import annotations

from dataclasses import replace

import cases
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close

from fastconv.conv.arguments import described
from fastconv.core.machine import machine
from fastconv.core.threads import num_threads
from fastconv.plans.blocked import weight
from fastconv.plans.blocked.direct_weight import DirectWeight, SwappedWeight, direct_weight
from fastconv.simd.vector import lanes

wide = pytest.mark.skipif(lanes(4) < 8, reason="short vectors are full enough as it is")


def _plan(channels, filters, taps=(1, 1), stride=1, padding=0, groups=1):
    x, w = (2, channels, 20, 20), (filters, channels // groups, *taps)
    problem = described(x, w, stride, padding, 1, groups, "backward_weight", "float32", "nhwc")
    return direct_weight(problem, 2)


@wide
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("filters", [1, 2, 3])
def test_few_filters_change_places_with_many_channels(filters, groups):
    channels = 4 * lanes(4)
    plan = _plan(channels * groups, filters * groups, groups=groups)
    assert isinstance(plan, SwappedWeight)
    assert plan.c.channels == filters and plan.c.filters == channels
    assert plan.mr == filters
    assert plan.flops == 2 * 2 * 20 * 20 * channels * filters * groups  # nothing filled up


@wide
def test_a_sum_that_waits_for_itself_is_faster_than_empty_lanes():
    x, w = (8, lanes(4), 128, 128), (1, lanes(4), 1, 1)
    problem = described(x, w, 1, 0, 1, 1, "backward_weight", "float32", "nhwc")
    plan = direct_weight(problem, 2)
    assert isinstance(plan, SwappedWeight) and not plan.straight
    assert (plan.mr, plan.nv) == (1, 1)


@wide
@pytest.mark.parametrize("channels", [2 * lanes(4), 4 * lanes(4)])
def test_the_narrower_pixels_are_in_the_lanes_if_none_are_packed(channels, monkeypatch):
    large = replace(machine(), l1=1 << 20)
    monkeypatch.setattr(weight, "machine", lambda: large)
    filters = 6 * lanes(4)
    for plan in (_plan(channels, filters), _plan(filters, channels)):
        assert all(plan.in_place) and plan.c.filters == channels


@wide
@pytest.mark.parametrize(
    "plan",
    [
        lambda: _plan(64, 64),
        lambda: _plan(2, 64),
        lambda: _plan(64, 2, (3, 3), padding=1),
        lambda: _plan(64, 2, stride=2),
        lambda: _plan(64, 2, padding=1),
    ],
    ids=["square", "few-channels", "3x3", "stride", "padding"],
)
def test_others_keep_their_places(plan):
    assert type(plan()) is DirectWeight


@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(67, 130, 1), (96, 130, 1), (130, 20, 1), (288, 60, 3)]
)
@pytest.mark.parametrize("images", [1, 5])
def test_sums_that_go_to_dw_at_once(channels, filters, groups, images):
    """One copy of them, in one block of pixels or several; not all tiles are whole."""
    name = f"straight-{channels}-{filters}-{groups}-{images}"
    case = cases.Case(name, images, channels, 9, 11, filters, 1, 1, groups=groups)
    trial = Trial(case, "backward_weight", "float32", "nhwc")
    plan = direct_weight(trial.problem, 1)
    assert isinstance(plan, SwappedWeight) and plan.straight
    with num_threads(1):
        assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("channels", "filters", "groups"),
    [(64, 2, 1), (67, 1, 1), (144, 24, 1), (40, 3, 1), (240, 60, 3), (134, 2, 2)],
)
def test_gradients(channels, filters, groups, dtype, order, algorithm):
    name = f"swapped-{channels}-{filters}-{groups}"
    case = cases.Case(name, 3, channels, 9, 11, filters, 1, 1, groups=groups)
    trial = Trial(case, "backward_weight", dtype, order)
    assert_close(trial.run(algorithm, *trial.operands()), trial.expected, trial.bound(algorithm))
