"""Where ``direct``'s weight gradient slides along the rows, and by which tile."""

from __future__ import annotations

import pytest

from fastconv.conv.arguments import described
from fastconv.core.machine import machine
from fastconv.gemm.tiling import SlidingTile, sliding_tile
from fastconv.plans.blocked.direct_weight import DirectWeight
from fastconv.simd.sliding import sliding_turns
from fastconv.simd.taps import FEWEST_SUMS
from fastconv.simd.vector import lanes


def _plan(channels, filters, taps, stride=1, dilation=1, itemsize=4, images=2):
    x, w = (images, channels, 40, 40), (filters, channels, *taps)
    dtype = {4: "float32", 8: "float64"}[itemsize]
    problem = described(x, w, stride, 0, dilation, 1, "backward_weight", dtype, "nhwc")
    return DirectWeight(problem, 2)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("taps", [(3, 3), (5, 5), (1, 7), (3, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_few_channels_slide_in_tiles_that_the_registers_hold(channels, taps, itemsize):
    plan = _plan(channels, 24, taps, itemsize=itemsize)
    registers = machine().isa.registers
    waiting = registers == 16 and (channels, taps) == (1, (1, 7))  # 7 sums, no room for as many
    if waiting or taps[1] * channels + taps[1] + 1 > registers:
        assert plan.sliding == 0
        return
    assert plan.sliding == taps[1]
    assert plan.stretches in (1, taps[0])
    assert plan.mr == plan.stretches * taps[1] * channels == plan.joined * channels
    assert plan.mr * plan.nv + taps[1] * plan.nv < registers
    assert plan.products == (1 if plan.stretches > 1 else taps[0], 1)


@pytest.mark.parametrize(
    "arguments",
    [(64, 64, (3, 3)), (3, 16, (1, 1)), (3, 16, (3, 1)), (3, 16, (3, 3), 2), (3, 16, (3, 3), 1, 2)],
    ids=["many-channels", "one-tap", "one-column", "stride", "dilation"],
)
def test_others_do_not(arguments):
    assert _plan(*arguments).sliding == 0


def test_the_best_tile_has_all_tap_rows_if_they_fit():
    vector = lanes(4)
    wide = machine().isa.registers == 32
    assert sliding_tile(3, 3, 3, vector, vector).tap_rows == (3 if wide else 1)
    assert sliding_tile(3, 3, 1, 2 * vector, vector)[1:] == ((3, 2) if wide else (3, 1))
    assert sliding_tile(7, 7, 9, vector, vector) is None
    best = sliding_tile(5, 5, 1, vector, vector)
    assert isinstance(best, SlidingTile) and 0.5 < best.score < 1


@pytest.mark.parametrize(("sums", "taps"), [(1, 1), (3, 3), (5, 5), (9, 3), (12, 3), (25, 5)])
def test_few_sums_are_added_to_in_turns_if_they_fit(sums, taps):
    turns = sliding_turns(sums, 1, taps)
    assert turns == 1 or turns * sums + taps < machine().isa.registers
    assert turns == 2 or sums >= FEWEST_SUMS or 2 * sums + taps >= machine().isa.registers


def test_blocks_are_larger_where_there_are_many():
    """Windows of neighbouring rows share what is packed; but workers share out whole blocks."""
    rows = [_plan(1, 16, (3, 3), images=n).share[1] for n in (2, 16, 512)]
    assert rows == sorted(rows) and rows[0] <= 224 // 38 < rows[-1] <= 1024 // 38
    assert _plan(64, 64, (3, 3), images=512).share[1] <= 224 // 38
