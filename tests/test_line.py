"""Where ``direct`` reads the pixels of a line for all taps at once, and by which tile."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.machine import machine
from fastconv.gemm.tiling import LineTile, line_tile
from fastconv.plans.correlation import unfolded
from fastconv.plans.lines.line import LineCorrelation, groups_together
from fastconv.simd.vector import lanes

VECTOR = lanes(4)


def _part(x, w, *arguments, order="nhwc"):
    problem = described(x, w, *arguments, "forward", "float32", order)
    (part,) = Direct()._build(problem, 2)
    return part


@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((2, 3, 32, 32), (16, 3, 3, 3), (1, 1, 1, 1)),
        pytest.param(
            *[(2, VECTOR, 32, 32), (2 * VECTOR, VECTOR, 3, 3), (1, 1, 1, 1)],
            marks=pytest.mark.skipif(VECTOR < 8, reason="so short sums score less"),
        ),
        ((2, 3, 65, 65), (64, 3, 7, 7), (2, 3, 1, 1)),
        ((2, 8, 32, 40), (32, 4, 3, 3), (1, 2, 2, 2)),
    ],
    ids=["stem", "vector", "stride", "dilated-groups"],
)
def test_few_channels_are_read_by_lines(x, w, arguments):
    part = _part(x, w, *arguments)
    assert isinstance(part, LineCorrelation)
    assert not part.planes and part.mr <= part.c.columns.outputs


@pytest.mark.parametrize("columns", [5, 8, 12, 24])
@pytest.mark.parametrize("stride", [1, (2, 1)], ids=str)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_several_short_lines_of_planes(dtype, direction, stride, columns):
    case = cases.Case(f"short-lines-{columns}", 3, 1, 11, columns, 2 * VECTOR + 3, 3, 3, stride, 1)
    trial = Trial(case, direction, dtype, "nchw")
    assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))


@pytest.mark.skipif(machine().isa.registers < 32, reason="so short lines score less")
def test_short_lines_of_planes_are_stored_in_whole_vectors():
    shape = (64, 1, 8, VECTOR // 2)
    part = _part(shape, (VECTOR, 1, 3, 3), 1, 1, 1, 1, order="nchw")
    assert isinstance(part, LineCorrelation)
    assert part.lines * part.c.columns.outputs % VECTOR == 0


def test_a_task_takes_several_groups_of_channels_last_pixels():
    """As many as stand in neighbouring cache lines, if threads have enough to do."""
    w = (VECTOR * 8, VECTOR, 3, 3)
    part = _part((4, VECTOR * 8, 32, 32), w, 1, 1, 1, 8)
    assert part.task_g == min(8, 256 // (VECTOR * 4)) and part.tasks_g == 8 // part.task_g


@pytest.mark.skipif(machine().isa.registers < 32, reason="rows of whole vectors fill the tiles")
def test_lines_too_short_for_planar_vectors_go_to_planes():
    width = VECTOR - 1
    part = _part((2, 3, 9, width), (16, 3, 3, 3), 1, 1, 1, 1, order="nchw")
    assert isinstance(part, LineCorrelation) and part.planes


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((2, 64, 32, 32), (64, 64, 3, 3)),
        ((2, 3, 32, 32), (16, 3, 1, 1)),
        ((1, 32, 3, 1_000_000), (32, 32, 3, 3)),
    ],
    ids=["many-channels", "one-tap", "lines-beyond-the-cache"],
)
def test_others_are_not(x, w):
    assert not isinstance(_part(x, w, 1, 1, 1, 1), LineCorrelation)


@pytest.mark.parametrize("taps", [2, 3, 7, 11])
@pytest.mark.parametrize(("advance", "spread"), [(1, 1), (2, 1), (1, 2)])
def test_tiles_fit_the_registers(taps, advance, spread):
    registers = machine().isa.registers
    for columns in (5, 28, 112):
        tile = line_tile(columns, 3 * VECTOR, taps, advance, spread, VECTOR)
        assert isinstance(tile, LineTile) and 0 < tile.score < 1
        assert tile.held in (1, taps) and tile.mr <= columns
        assert (tile.mr + tile.held) * tile.nv + 1 <= registers


@pytest.mark.parametrize(("taps", "advance", "held"), [(3, 1, 3), (3, 3, 1), (3, 4, 1), (60, 1, 1)])
def test_weights_are_held_where_windows_share_pixels_and_registers_suffice(taps, advance, held):
    assert line_tile(28, VECTOR, taps, advance, 1, VECTOR).held == held


ONE_TAP_AT_A_TIME = (
    cases.Case("patches", 2, 3, 16, 24, 3 * VECTOR, 4, 4, 4),
    cases.Case("apart", 1, 2, 17, 50, 2 * VECTOR, 3, 3, (2, 5), 1),
    cases.Case("many-taps", 1, 3, 9, 30, 2 * VECTOR, 2, 25, 1, (0, 12)),
    cases.Case("patches-of-groups", 2, 2 * VECTOR, 9, 12, 2 * VECTOR, 2, 2, 2, 0, 1, 8),
)


@pytest.mark.skipif(VECTOR < 8, reason="shorter vectors may go to other plans")
@pytest.mark.parametrize("case", ONE_TAP_AT_A_TIME, ids=lambda case: case.name)
def test_these_take_one_tap_at_a_time(case):
    (part,) = Direct()._build(Trial(case, "forward", "float32", "nhwc").problem, 2)
    assert isinstance(part, LineCorrelation) and part.held == 1


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ONE_TAP_AT_A_TIME, ids=lambda case: case.name)
def test_results_of_one_tap_at_a_time(case, dtype, direction, order):
    trial = Trial(case, direction, dtype, order)
    assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))


@pytest.mark.skipif(VECTOR < 16, reason="other plans are faster")
def test_windows_of_planes_share_rows():
    """Where they are in the first cache, a task has a row or two of such an image."""
    shape, w = (4, 3, 224, 224), (4 * VECTOR, 3, 7, 7)
    planes, pixels = (_part(shape, w, 4, 3, 1, 1, order=order) for order in ("nchw", "nhwc"))
    assert planes.planes and not pixels.planes and planes.rows > pixels.rows


@pytest.mark.parametrize("width", [240, machine().l2 // 24])
def test_results_on_their_way_to_planes_stay_near(width):
    """Else their room would grow with the line."""
    part = _part((1, 1, 9, 4 * width), (4 * VECTOR, 1, 4, 4), 4, 0, 1, 1, order="nchw")
    assert isinstance(part, LineCorrelation) == (width == 240)
    assert part.nbytes < 4 * machine().l2


def test_images_of_a_pixel_are_no_lines():
    assert not isinstance(_part((64, 16, 5, 5), (120, 16, 5, 5), 1, 0, 1, 1), LineCorrelation)


TOGETHER = (
    cases.Case("together-4", 2, 32, 9, 11, 32, 3, 3, 1, 1, 1, 8),
    cases.Case("together-2-of-3", 2, 48, 9, 8, 32, 3, 3, 1, 1, 1, 16),
    cases.Case("together-8", 1, 48, 7, 7, 128, 3, 3, 2, 1, 1, 16),
    cases.Case("together-wide", 3, 32, 12, 10, 64, 3, 5, 1, 2, 1, 16),
    cases.Case("together-dilated", 1, 64, 9, 9, 64, 3, 3, 1, 2, 2, 8),
    cases.Case("together-6-of-5", 2, 50, 9, 11, 60, 3, 3, 1, 1, 1, 10),
    cases.Case("together-3", 2, 48, 8, 13, 48, 3, 3, 1, 1, 1, 16),
    cases.Case("together-7-of-3", 1, 6, 10, 10, 14, 3, 5, 2, 1, 1, 2),
)


def test_windows_of_groups_together_stay_in_the_cache_too():
    shape, w = (1, VECTOR, 3, machine().l2 // 50), (VECTOR, 1, 3, 3)
    assert not isinstance(_part(shape, w, 1, 1, 1, VECTOR), LineCorrelation)


@pytest.mark.skipif(VECTOR < 8, reason="short vectors are filled by one group")
def test_groups_of_few_filters_share_a_vector():
    shape, w = (2, 8 * VECTOR, 30, 30), (8 * VECTOR, VECTOR // 2, 3, 3)
    part = _part(shape, w, 1, 1, 1, 16)
    assert isinstance(part, LineCorrelation) and part.together == 2
    assert part.c.filters == VECTOR and part.c.groups == 8
    assert not isinstance(_part(shape, w, 1, 1, 1, 16, order="nchw"), LineCorrelation)


@pytest.mark.skipif(VECTOR != 16, reason="the table is one of vectors of 16")
@pytest.mark.parametrize(
    ("groups", "filters", "together"),
    [
        *[(8, 8, 2), (7, 8, 1), (4, 16, 1), (2, 32, 1), (16, 1, 16)],
        *[(9, 4, 3), (10, 6, 2), (16, 3, 4), (5, 3, 5), (7, 3, 1), (3, 13, 1)],
    ],
)
def test_groups_fill_most_of_a_vector_together(groups, filters, together):
    case = cases.Case("filled", 1, 4 * groups, 9, 9, groups * filters, 3, 3, groups=groups)
    assert groups_together(unfolded(Trial(case, "forward").problem), 4) == together


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: case.name)
def test_results_of_groups_together(case, direction, dtype, order):
    trial = Trial(case, direction, dtype, order)
    assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))


@pytest.mark.skipif(VECTOR != 16, reason="the cases are made for vectors of 16")
@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: case.name)
def test_they_have_groups_together(case):
    (part,) = Direct()._build(Trial(case, "forward", order="nhwc").problem, 2)
    assert isinstance(part, LineCorrelation) and part.together > 1


@pytest.mark.parametrize("case", TOGETHER, ids=lambda case: case.name)
def test_groups_together_add_their_own_biases(case):
    x, w = Trial(case, "forward", order="nhwc").operands()
    bias = np.linspace(-9, 9, case.K, dtype=np.float32)
    plain = fc.conv2d(x, w, None, *case.arguments, algorithm="direct")
    given = fc.conv2d(x, w, bias, *case.arguments, algorithm="direct", activation="relu")
    np.testing.assert_allclose(given, np.maximum(plain + bias[:, None, None], 0), atol=1e-5)


STAYING = cases.Case("staying-groups", 2, 512, 14, 14, 512, 3, 3, 1, 1, groups=32)


@pytest.mark.skipif(machine().l2 > 2 << 20, reason="so large a cache has room for all filters")
@pytest.mark.skipif(machine().isa.registers < 32, reason="lines of two vectors score less")
def test_workers_stay_with_groups_of_many_filters():
    (part,) = Direct()._build(Trial(STAYING, "forward", "float32", "nhwc").problem, 2)
    assert isinstance(part, LineCorrelation) and part.turn == part.c.N * part.tasks_i
    (part,) = Direct()._build(Trial(TOGETHER[0], "forward", "float32", "nhwc").problem, 2)
    assert part.turn == 1


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_results_where_workers_stay(direction, order):
    trial = Trial(STAYING, direction, "float32", order)
    assert_close(trial.run("direct", *trial.operands()), trial.expected, trial.bound("direct"))
