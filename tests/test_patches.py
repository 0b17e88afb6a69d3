"""Depthwise weight gradients in place: patches of outputs, and runs of taps that share loads."""

from __future__ import annotations

from collections import Counter
from itertools import product

import cases
import numpy as np
import pytest
from harness import Trial, assert_close, fenced

from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.machine import ISAS, Machine, machine
from fastconv.plans.correlation import unfolded
from fastconv.plans.depthwise.patches import LANE_TERMS, Patches, _runs, tap_tile
from fastconv.plans.depthwise.weight import DepthwiseWeight
from fastconv.simd.taps import TapTile
from fastconv.simd.vector import lanes

# (H, W), (R, S), stride, padding, dilation
SHAPES = [
    ((9, 20), (3, 3), 1, 1, 1),
    ((7, 3), (3, 3), 1, 1, 1),
    ((9, 20), (7, 7), 1, 3, 1),
    ((9, 21), (3, 3), 2, 1, 1),
    ((12, 23), (3, 5), 1, (2, 4), 2),
    ((12, 23), (4, 4), 3, 2, 2),
    ((5, 40), (1, 17), 1, (0, 8), 1),
    ((9, 20), (3, 3), 1, 2, 1),
    ((20, 41), (3, 3), 2, 1, 1),
    ((23, 50), (3, 3), (2, 3), 1, 1),
    ((7, 7), (5, 5), 1, 2, 1),
    ((6, 6), (5, 5), 1, 0, 1),
    ((4, 14), (3, 9), 1, (1, 4), 1),
    ((5, 6), (3, 11), 1, (1, 8), 1),
    ((3, 600), (1, 3), 1, (0, 1), 1),
    ((3, 10), (1, 31), 1, (0, 15), 1),
]
# A row, or what a run meets of it, is too short.
IMPOSSIBLE = [((3, 10), (1, 31), 1, (0, 15), 1)]
IDS = ["-".join(map(str, shape)).replace(" ", "") for shape in SHAPES]


def _problem(size, taps, stride, padding, dilation, channels=32):
    x, w = (2, channels, *size), (channels, 1, *taps)
    arguments = (stride, padding, dilation, channels)
    return described(x, w, *arguments, "backward_weight", "float32", "nhwc")


def _met(p, tile):
    """The columns and taps that meet in a row of a patch."""
    steps = p.columns + tile.taps - 1 if tile.slides else None  # else no step is left out
    for (j, column), (place, t) in product(
        enumerate(range(p.column, p.column + p.columns)), enumerate(p.taps)
    ):
        if steps is None or p.before <= j + place % tile.taps < steps - p.after:
            yield column, t


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
@pytest.mark.parametrize("rows", [1, 3, 100])
def test_every_output_meets_every_tap_inside_once(shape, rows):
    c = unfolded(_problem(*shape))
    window, steps = (c.rows.window, c.columns.window), (c.columns.advance, c.columns.spread)
    tile = tap_tile(*window, *steps, False, outputs=c.columns.outputs)
    patches = Patches(c, rows, 1, tile, exact=True)
    assert patches.possible == (shape not in IMPOSSIBLE)
    if not patches.possible:
        return
    met = Counter()
    for block, (first, last) in enumerate(patches.blocks):
        for p in patches.patches[first:last]:
            for i in range(block * rows + p.row, block * rows + p.row + p.rows):
                met.update((i, j, t) for j, t in _met(p, tile))
    inside = Counter()
    for i, j, r, s in np.ndindex(
        c.rows.outputs, c.columns.outputs, *(c.rows.window, c.columns.window)
    ):
        h = c.rows.first + i * c.rows.advance + r * c.rows.spread
        w = c.columns.first + j * c.columns.advance + s * c.columns.spread
        if 0 <= h < c.rows.inputs and 0 <= w < c.columns.inputs:
            inside[i, j, r * c.columns.window + s] += 1
    assert Counter({key: n for key, n in met.items() if key[2] >= 0}) == inside


@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_runs_read_the_image_only(shape):
    plan = DepthwiseWeight(_problem(*shape), 1)
    if not plan.in_place:
        pytest.skip("planes are padded")
    c, tile = plan.c.columns, plan.patches.tile
    for p in plan.patches.patches:
        for _, _, start in p.runs:
            low = c.first + p.column * c.advance + start * c.spread
            high = low + (p.columns - 1) * c.advance + (tile.taps - 1) * c.spread
            assert low + p.before >= 0 and high - p.after < c.inputs
            assert 0 <= max(p.before, p.after) < tile.taps
            assert p.columns >= tile.taps - 1 or not tile.slides


@pytest.mark.parametrize("length", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("low", "high"), [(0, 3), (0, 8), (1, 9), (2, 3), (0, 1)])
def test_runs_take_every_tap_once(low, high, length):
    taken = []
    for start, first, last in _runs(low, high, length):
        assert start <= first < last <= start + length
        taken += range(first, last)
    assert taken == list(range(low, high))


@pytest.mark.parametrize("window", [(3, 3), (5, 5), (7, 7), (31, 31), (1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("advance", [1, 2])
def test_tiles_fit_the_registers_and_the_window(window, advance):
    tile = tap_tile(*window, advance, 1, False)
    assert tile.runs * tile.taps + tile.outputs + 1 <= machine().isa.registers
    assert tile.runs <= window[0] * window[1] and tile.taps <= window[1]
    assert (tile.taps == 1) == (tile.outputs == 1)
    assert tile.slides == (advance == 1 and tile.taps > 1)
    assert tap_tile(*window, advance, 1, True).taps == 1


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("width", [181, 196, 241, 257, 273, 511, 64261, 65281, 65537])
@pytest.mark.parametrize(("taps", "most"), [(3, (4, 16)), (7, None), (7, (9, 14))])
def test_no_piece_of_a_row_is_shorter_than_its_ends(width, taps, most, exact):
    c = unfolded(_problem((1, width), (1, taps), 1, (0, taps // 2), 1))
    patches = Patches(c, 1, 1, tap_tile(1, taps, 1, 1, False), exact, most)
    assert patches.possible
    columns = [(p.column, p.columns) for p in patches.patches if p.runs[0][2] == 0]
    assert sum(n for _, n in columns) == width and max(n for _, n in columns) <= LANE_TERMS
    assert min(p.columns for p in patches.patches) >= patches.tile.taps - 1


def test_a_long_row_on_planes():
    """Its channels do not fill a vector."""
    some = lanes(4) - 1
    case = cases.Case("long-row", 1, some, 1, 65537, some, 1, 3, padding=(0, 1), groups=some)
    trial = Trial(case, "backward_weight", "float32", "nhwc")
    assert not DepthwiseWeight(trial.problem, 1).in_place
    assert_close(
        trial.run("depthwise", *trial.operands()), trial.expected, trial.bound("depthwise")
    )


@pytest.mark.parametrize("outputs", [1, 2, 3, 10])
def test_a_tile_slides_only_over_rows_as_long_as_its_ends(outputs):
    tile = tap_tile(5, 9, 1, 1, False, outputs=outputs)
    assert tile.taps - 1 <= outputs


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_ends_of_rows_multiply_nothing_that_is_outside(value):
    """An element at the border meets the taps that reach it, and no others."""
    case = cases.Case("ends", 1, 32, 6, 9, 32, 3, 3, 1, 1, groups=32)
    trial = Trial(case, "backward_weight", "float32", "nhwc")
    assert DepthwiseWeight(trial.problem, 1).in_place
    x, dy = trial.operands()
    x[:, :, :, 0] = value
    dw = trial.run("depthwise", x, dy)
    assert not np.isfinite(dw[..., :2]).any() and np.isfinite(dw[..., 2]).all()


@pytest.mark.parametrize(
    ("pitch", "lines"),
    [
        (32, 768),
        (64, 768),
        (192, 768),
        (272, 768),
        (128, 384),
        (1536, 96),
        (2048, 24),
        (4096, 12),
        (8192, 12),
    ],
)
def test_lines_far_apart_compete_for_the_first_level_cache(pitch, lines):
    """Of 48 KiB, twelve lines for each place in a page."""
    assert Machine("", ISAS[0], 48 << 10, 2 << 20, 32 << 20).lines_apart(pitch) == lines


@pytest.mark.parametrize(("pitch", "lines"), [(64, 8192), (2048, 256), (4096, 128), (65536, 8)])
def test_and_for_the_second(pitch, lines):
    assert Machine("", ISAS[0], 48 << 10, 512 << 10, 32 << 20).far_lines_apart(pitch) == lines


def test_rows_that_leave_the_first_level_cache_are_copied_to_planes():
    """Where pixels are a page apart; not where they are next to one another."""
    near, far = (
        DepthwiseWeight(_problem((14, 14), (9, 9), 1, 4, 1, channels=channels), 1)
        for channels in (lanes(4), 1024)
    )
    assert near.in_place and not far.in_place


def test_a_vector_of_x_serves_the_taps_that_meet_it():
    assert TapTile(1, 3, 2).shared(2) == {
        0: [(0, 0)],
        1: [(0, 1), (1, 0)],
        2: [(1, 1), (2, 0)],
        3: [(2, 1)],
    }
    assert TapTile(1, 3, 2, advance=2).shared(2) == {
        0: [(0, 0)], 1: [(1, 0)], 2: [(0, 1), (2, 0)], 3: [(1, 1)], 4: [(2, 1)]
    }  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=IDS)
def test_gradients(shape, dtype):
    size, taps, stride, padding, dilation = shape
    case = cases.Case(f"patches-{shape}", 3, 32, *size, 32, *taps, stride, padding, dilation, 32)
    trial = Trial(case, "backward_weight", dtype, "nhwc")
    assert_close(
        trial.run("depthwise", *trial.operands()), trial.expected, trial.bound("depthwise")
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_few_taps_are_summed_for_all_channels_at_once(stride, dtype):
    problem = _problem((20, 41), (3, 3), stride, 1, 1, channels=48)._replace(dtype=dtype)
    assert DepthwiseWeight(problem, 2).at_once == 48 // lanes(problem.itemsize)
    case = cases.Case("at-once", 3, 48, 20, 41, 48, 3, 3, stride, 1, groups=48)
    trial = Trial(case, "backward_weight", dtype, "nhwc")
    x, dy = trial.operands()
    wide = fenced(np.concatenate([dy, dy], axis=1), dtype, "nhwc")
    for some in (dy, wide[:, 40:88], fenced(dy, dtype, "nchw")):
        some[...] = dy
        assert_close(trial.run("depthwise", x, some), trial.expected, trial.bound("depthwise"))


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
def test_copies_of_the_sums_are_few_and_small(threads):
    plan = DepthwiseWeight(_problem((56, 56), (3, 3), 1, 1, 1, channels=96), threads)
    assert plan.in_place and plan.parts == 1
    assert min(threads, 5) <= plan.copies <= 4 * threads
    tiny = DepthwiseWeight(_problem((7, 7), (7, 7), 1, 3, 1, channels=960), threads)
    assert tiny.copies == 1


@pytest.mark.parametrize("filters", [1, 2, 5, 7, 12, 16])
def test_filters_together_divide_all_filters(filters):
    for window in ((1, 1), (3, 3), (25, 1), (3, 9)):
        tile = tap_tile(*window, 1, 1, True, filters)
        assert filters % tile.filters == 0
        held = tile.filters * (tile.sums + 1) + 1
        assert held <= machine().isa.registers


def test_filters_of_a_small_window_are_summed_together():
    assert tap_tile(3, 3, 1, 1, True, 12).filters > 1


@pytest.mark.parametrize("dy_order", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("channels", "filters", "groups"), [(1, 5, 1), (1, 12, 1), (6, 8, 2), (8, 12, 4), (5, 10, 5)]
)
def test_filters_of_a_group_on_planes(channels, filters, groups, dtype, dy_order):
    """Also where dy is not on planes, and is copied for all filters of a tile."""
    case = cases.Case(
        f"together-{channels}-{filters}", 3, channels, 9, 37, filters, 3, 3, (1, 2), 1, 1, groups
    )
    trial = Trial(case, "backward_weight", dtype)
    reason = ALGORITHMS["depthwise"].refuses(trial.problem)
    if reason is not None:  # short vectors are filled by fewer filters
        pytest.skip(reason)
    x, dy = trial.operands()
    _, dy = Trial(case, "backward_weight", dtype, dy_order).operands()
    assert_close(trial.run("depthwise", x, dy), trial.expected, trial.bound("depthwise"))
