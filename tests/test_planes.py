"""1×1 filters on planes: they are read where they are, by tiles of which the last may overlap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracle
import pytest
from cases import Case
from harness import DTYPES, Trial, assert_close, assert_fused

import fastconv as fc
from fastconv.conv._product import parts_of
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.machine import machine
from fastconv.plans.pointwise import planes
from fastconv.plans.pointwise.planes import PlanesCorrelation

DIRECTIONS = ("forward", "backward_input")
CASES = (
    Case("planes-last", 3, 20, 7, 9, 45, 1, 1),
    Case("planes-late", 8, 200, 7, 7, 330, 1, 1),
    Case("planes-few", 5, 3, 9, 9, 37, 1, 1),
    Case("planes-groups", 2, 26, 12, 12, 38, 1, 1, groups=2),
    Case("planes-strided", 2, 40, 17, 15, 24, 1, 1, 2),
    Case("planes-over", 1, 70, 7, 7, 45, 1, 1),
    Case("planes-over-several", 2, 72, 5, 5, 90, 1, 1, groups=2),
    Case("planes-over-strided", 1, 40, 13, 13, 40, 1, 1, 2),
)
OVER = CASES[-3:]


def _plan(trial):
    ((_, (plan, *_)),) = parts_of(ALGORITHMS["direct"], trial.problem, 2)
    assert isinstance(plan, PlanesCorrelation)
    return plan


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, direction, dtype, threads, no_second_try):
    trial = Trial(case, direction, dtype, "nchw")
    if direction == "forward" or (case.stride == 1 and case not in OVER):
        _plan(trial)
    with fc.options(num_threads=threads):
        result = trial.run("direct", *trial.operands())
    assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "direct", "nchw")


@pytest.mark.parametrize("case", OVER, ids=lambda case: case.name)
def test_pixels_left_over_by_whole_vectors(case):
    plan = _plan(Trial(case, "forward", "float32", "nchw"))
    over = plan.c.pixels % plan.vector
    assert plan.spans.over == over > 0 and plan.spans.pixels == plan.c.pixels - over
    assert plan.spans_of_all.over == 0 and plan.spans_of_all.pixels == plan.c.pixels
    gradient = Trial(case._replace(stride=1), "backward_input", "float32", "nchw")
    plans = [p for _, parts in parts_of(ALGORITHMS["direct"], gradient.problem, 2) for p in parts]
    # Filters stand side by side there.
    assert not any(p.spans.over for p in plans if isinstance(p, PlanesCorrelation))


def test_none_are_left_over_where_that_gains_little():
    large = Case("planes-many", 4, 70, 31, 31, 90, 1, 1)
    assert _plan(Trial(large, "forward", "float32", "nchw")).spans.over == 0


def test_filters_of_a_tile_find_places_in_the_cache():
    wide = Case("planes-pages", 1, 1024, 28, 28, 256, 1, 1)
    places = machine().lines_apart(4096)
    assert _plan(Trial(wide, "forward", "float32", "nchw")).mr <= places


def test_several_workers_share_a_span():
    plan = _plan(Trial(CASES[1], "forward"))
    assert plan.workers == 2 and plan.spans.splits > 1


def test_nothing_is_packed_where_filters_or_channels_stand_side_by_side():
    filters = _plan(Trial(CASES[0], "forward")).filters
    assert filters.readable((80, 4, 4, 4)) and filters.readable((4, 80, 4, 4))
    assert not filters.readable((160, 8, 8, 8))
    few = Case("one-filter", 3, 20, 16, 16, 1, 1, 1)
    assert not _plan(Trial(few, "forward")).filters.readable((80, 4, 4, 4))


@pytest.mark.parametrize(
    ("size", "pitch", "there"),
    [
        (33, 1024 * 4, False),  # room for 8 lines so far apart
        (33, 1040 * 4, True),  # for 512
        (16, 1024 * 4, True),  # few pixels
        (16, 4096 * 4, False),  # which miss the second cache, too
    ],
)
def test_filters_that_compete_for_places_are_packed(size, pitch, there, monkeypatch):
    host = replace(machine(), l1=32 << 10, l2=512 << 10)
    monkeypatch.setattr(planes, "machine", lambda: host)
    case = Case(f"planes-compete-{size}", 1, 64, size, size, 100, 1, 1)
    trial = Trial(case, "backward_input", "float32", "nchw")
    dy, w = trial.operands()
    rows = np.full((100, pitch // 4), np.nan, np.float32)
    part = rows[:, :64, None, None]
    part[...] = w
    assert _plan(trial).filters.readable(part.strides) == there
    assert _plan(trial).filters.readable(w.swapaxes(0, 1).copy().swapaxes(0, 1).strides)
    assert_close(trial.run("direct", dy, part), trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_filters_that_are_part_of_an_array(direction, no_second_try):
    """Every other filter, or every other channel, and either the other way round in memory."""
    trial = Trial(CASES[1], direction, "float32", "nchw")
    first, w = trial.operands()
    readable = _plan(trial).filters.readable
    for down, across, there in ((2, 1, True), (1, 2, False), (-1, 1, True)):
        whole = np.full((abs(down) * w.shape[0], across * w.shape[1], 1, 1), np.nan, np.float32)
        turned = np.full((across * w.shape[1], abs(down) * w.shape[0], 1, 1), np.nan, np.float32)
        for part in (whole[::down, ::across], turned.swapaxes(0, 1)[::down, ::across]):
            part[...] = w
            assert_close(trial.run("direct", first, part), trial.expected, trial.bound("direct"))
        assert readable(whole[::down, ::across].strides) == there


@pytest.mark.parametrize("case", OVER, ids=lambda case: case.name)
def test_pixels_left_over_and_filters_in_any_order(case, no_second_try):
    trial = Trial(case, "forward", "float32", "nchw")
    x, w = trial.operands()
    turned = np.empty(w.shape[::-1], np.float32).T
    apart = np.full((2 * w.shape[0], *w.shape[1:]), np.nan, np.float32)[::2]
    for other in (turned, apart, np.empty(w.shape, np.float32)[::-1, ::-1]):
        other[...] = w
        assert_close(trial.run("direct", x, other), trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("case", [CASES[0], *OVER], ids=lambda case: case.name)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_equal_filters_may_be_one(direction, case, no_second_try):
    """Strides of zero."""
    trial = Trial(case, direction, "float32", "nchw")
    first, w = trial.operands()
    one = np.broadcast_to(w[:1], w.shape)
    expected = trial.oracle(first, one)
    assert_close(trial.run("direct", first, one), expected, trial.bound("direct"))


@pytest.mark.parametrize("groups", [1, 2])
def test_the_bias_of_a_transposed_convolution(groups):
    case = Case("planes-decoder", 3, 46, 7, 7, 30, 1, 1, groups=groups)
    trial = Trial(case, "backward_input", "float32", "nchw")
    y, w = trial.operands()
    bias = np.linspace(-2, 2, case.C, dtype=np.float32)
    x = fc.conv_transpose2d(y, w, bias, groups=groups, algorithm="direct")
    assert_close(x, oracle.transposed(y, w, bias, 1, 0, 0, groups, 1), trial.bound("direct"))


def test_a_layer_keeps_no_filters_that_are_read_where_they_are():
    layer = fc.nn.Conv2d(20, 45, 1).eval()
    x = fc.Tensor(np.ones((3, 20, 7, 9), np.float32))
    with fc.no_grad(), fc.options(algorithm="direct"):
        before = layer(x).numpy().copy()
        layer.weight.data *= 2
        layer.bias.data *= 2
        after = layer(x).numpy()
    np.testing.assert_allclose(after, 2 * before, rtol=1e-6)
    assert layer._filters.nbytes == 0
