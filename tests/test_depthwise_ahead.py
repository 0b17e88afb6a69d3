"""What strips and patches of ``depthwise`` prefetch: what the next one of them reads and writes."""

from __future__ import annotations

import ctypes
import dataclasses

import cases
import numpy as np
import pytest
from harness import Trial, assert_close

from fastconv.conv import depthwise, selector
from fastconv.conv.arguments import described
from fastconv.core.machine import machine
from fastconv.plans.depthwise import correlation, weight
from fastconv.plans.depthwise.correlation import DepthwiseSum
from fastconv.plans.depthwise.weight import DepthwiseWeight
from fastconv.simd.taps import GROUP, PATCH, STRIP_WORDS
from fastconv.simd.vector import lanes

SINGLY = ("dilated", "overlapping")  # of whose weight gradient one unit is summed after the other
CASES = (
    cases.Case("plain", 2, 48, 19, 40, 48, 3, 3, padding=1, groups=48),
    cases.Case("strided", 2, 48, 19, 40, 48, 3, 3, 2, 1, groups=48),
    cases.Case("overlapping", 1, 37, 9, 40, 37, 5, 3, padding=(2, 1), groups=37),
    cases.Case("dilated", 1, 32, 12, 40, 32, 3, 3, padding=2, dilation=2, groups=32),
)


def _problem(direction, N, size=56, stride=1):
    x, w = (N, 96, size, size), (96, 1, 3, 3)
    return described(x, w, stride, 1, 1, 96, direction, "float32", "nhwc")


@pytest.fixture
def no_cache(monkeypatch):
    """A machine without a second-level cache: all data comes from far away."""
    here = dataclasses.replace(machine(), l2=0)
    for module in (correlation, weight):
        monkeypatch.setattr(module, "machine", lambda: here)
    depthwise._planned.cache_clear()
    selector.forget()
    yield
    depthwise._planned.cache_clear()
    selector.forget()


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.usefixtures("no_cache")
def test_results_do_not_depend_on_it(case, direction):
    trial = Trial(case, direction, "float32", "nhwc")
    plan = depthwise._planned(trial.problem, 1)
    fetching = direction != "backward_weight" or case.name not in SINGLY
    assert plan.fetches == fetching
    result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("direction", ["forward", "backward_weight"])
def test_it_is_done_where_memory_takes_a_while(direction):
    kind = DepthwiseWeight if direction == "backward_weight" else DepthwiseSum
    image = 2 * 96 * 56 * 56 * 4  # bytes, with its results
    many = 2 * 8 * machine().l2 // image + 2
    far, near = (depthwise._planned(_problem(direction, *size), 2) for size in ((many,), (1, 17)))
    assert isinstance(far, kind) and far.fetches
    assert isinstance(near, kind) and not near.fetches


def _words(address, count):
    return np.ctypeslib.as_array(
        ctypes.cast(int(address), ctypes.POINTER(ctypes.c_int64)), (count,)
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_the_last_strip_of_a_group_stands_there_once_more(stride):
    plan = depthwise._planned(_problem("forward", 2, stride=stride), 1)
    strides = (1 << 20, 4, 56 * 384, 384)
    records, kept = plan._tables(strides, strides, True)
    assert len(kept) > 0
    for record in records:
        count = record[GROUP.index("n_strips")]
        strips = _words(record[GROUP.index("strips")], (count + 1) * STRIP_WORDS)
        strips = strips.reshape(-1, STRIP_WORDS)
        assert (strips[-1] == strips[-2]).all()
        assert len(np.unique(strips[:-1], axis=0)) == count


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [14, 56, 57])
def test_patches_say_how_much_further_the_next_one_is(size, stride):
    """In a block the next one; behind its last, what is first in the block of rows below."""
    plan = DepthwiseWeight(_problem("backward_weight", 8, size, stride), 1)
    assert plan.in_place and plan.at_once > 1
    outputs = plan.c.columns.outputs
    x_strides, dy_strides = ((1 << 24, 4, n * 384, 384) for n in (size, outputs))
    records, _ = plan._tables(x_strides, dy_strides, True)
    pitches = (x_strides[2] * stride, dy_strides[2])
    for name, pitch in zip("xy", pitches, strict=True):
        first, further = (records[:, PATCH.index(f"{name}_{word}")] for word in ("first", "next"))
        for low, high in plan.patches.blocks:
            after = [*first[low + 1 : high], first[low] + plan.rows * pitch]
            assert (first[low:high] + further[low:high] == after).all()


BEYOND = (
    cases.Case("rows-of-padding", 1, 16, 32, 32, 16, 3, 3, padding=6, groups=16),
    cases.Case("strided-padding", 1, 16, 32, 32, 16, 3, 3, 2, 6, groups=16),
    cases.Case("pixels-in-padding", 2, 16, 33, 33, 16, 1, 1, padding=4, groups=16),
)


@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("case", BEYOND, ids=lambda case: case.name)
def test_rows_that_meet_padding_alone(case, direction):
    """Their blocks have no patches, of which there would be a next one."""
    trial = Trial(case, direction, "float32", "nhwc")
    if direction == "backward_weight" and case.stride == 1 and lanes(4) == 16:
        plan = DepthwiseWeight(trial.problem, 1)
        assert plan.in_place and (np.diff(plan.patches.blocks) == 0).any()
    result = trial.run("depthwise", *trial.operands())
    assert_close(result, trial.expected, trial.bound("depthwise"))
