"""Weight gradients of ``winograd`` along lines: of a few channels, whose sums stay in registers."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case
from gradients import check_gradients
from harness import DTYPES, FORMATS, Trial, assert_close
from line_cases import CASES, VECTOR

import fastconv as fc
import fastconv.nn.functional as F
from fastconv.conv import _bilinear, _product
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.conv.winograd import Winograd
from fastconv.core import workspace
from fastconv.core.machine import machine
from fastconv.plans.bilinear import line_grid
from fastconv.plans.bilinear.line_grid import LineGrid
from fastconv.plans.bilinear.line_weight import BilinearLineWeight

DIRECTION = "backward_weight"


def _planned(trial, workers=2) -> BilinearLineWeight:
    """The only plan of a case."""
    ((_, (part,)),) = _product.parts_of(ALGORITHMS["winograd"], trial.problem, workers)
    assert isinstance(part, BilinearLineWeight)
    return part


def _check(trial, workers=2) -> BilinearLineWeight:
    """Run a case by so many workers; its plan."""
    part = _planned(trial, workers)
    dw = workspace.empty(trial.expected.shape, trial.dtype, "nchw")
    part.run(*trial.operands(), dw)
    algorithm = ALGORITHMS["winograd"]
    assert_close(dw, trial.expected, algorithm.cost(trial.problem, workers).error)
    return part


TAPS = [(m, r) for r in (2, 3, 5, 7) for m in (2, 3, 4, 5, 6) if m + r - 1 <= 10]


@pytest.mark.parametrize(("lines", "r"), TAPS, indirect=["lines"])
@pytest.mark.parametrize("order", FORMATS)
def test_every_tile(order, lines, r):
    """The last tiles of a line have fewer outputs; the last vectors fewer filters."""
    case = Case(f"line-{lines}-{r}", 2, 3, 13, 29, VECTOR + 3, r, r, padding=1)
    part = _check(Trial(case, DIRECTION, "float32", order))
    assert part.tiling.m_columns == lines


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype, order, case, lines):
    trial = Trial(case, DIRECTION, dtype, order)
    _planned(trial)
    result = trial.run("winograd", *trial.operands())
    assert_close(result, trial.expected, trial.bound("winograd"))


@pytest.mark.parametrize("workers", [1, 3, 16, 64])
@pytest.mark.parametrize("case", [CASES[0], CASES[9], CASES[-1]], ids=lambda case: case.name)
def test_any_number_of_workers(case, workers, lines, monkeypatch):
    """However small: they have copies of the sums, or parts of one where blocks are few."""
    monkeypatch.setattr("fastconv.gemm.sharing._WORTH", 1)
    part = _check(Trial(case, DIRECTION, "float32", "nhwc"), workers)
    assert min(2, workers) <= part.workers <= workers


def test_workers_beyond_blocks_divide_units(lines, monkeypatch):
    monkeypatch.setattr("fastconv.gemm.sharing._WORTH", 1)
    case = Case("line-few-rows", 1, 4, 3, 40, 4 * VECTOR + 6, 3, 3, padding=1, groups=2)
    part = _check(Trial(case, DIRECTION, "float32", "nhwc"), 8)
    assert part.copies * part.tasks_i == 1 < part.workers <= part.units


@pytest.mark.parametrize("order", FORMATS)
def test_lines_of_a_call_and_blocks_are_ragged(order, lines, monkeypatch):
    """The last call of a block has fewer lines, the last block of an image fewer rows."""
    monkeypatch.setattr(line_grid, "near_lines", lambda *_: 4)
    part = _check(Trial(CASES[0], DIRECTION, "float32", order), 1)
    assert part.lines == 4 and part.rows % 4 > 0
    assert part.tasks_i > 1 and part.c.rows.outputs % part.rows > 0


def test_copies_repeat_bit_by_bit(lines):
    trial = Trial(CASES[0], DIRECTION, "float32", "nchw")
    operands = trial.operands()
    first = trial.run("winograd", *operands)
    for _ in range(5):
        np.testing.assert_array_equal(trial.run("winograd", *operands), first)


@pytest.mark.parametrize("order", FORMATS)
def test_operands_in_any_strides(order, lines):
    trial = Trial(CASES[1], DIRECTION, "float32", order)
    x, dy = trial.operands()
    turned = [np.ascontiguousarray(a[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1] for a in (x, dy)]
    assert_close(trial.run("winograd", *turned), trial.expected, trial.bound("winograd"))
    wide = np.full((*dy.shape[:3], dy.shape[3] + 3), np.nan, np.float32)[..., 1:-2]
    wide[...] = dy
    assert_close(trial.run("winograd", x, wide), trial.expected, trial.bound("winograd"))
    dw = workspace.empty(trial.expected.shape, "float32", "nchw")
    _planned(trial).run(x, wide, dw)
    assert_close(dw, trial.expected, trial.bound("winograd"))
    once = np.broadcast_to(dy[:1, :1, :1, :1], dy.shape)
    everywhere = trial.run("winograd", x, once.copy())
    np.testing.assert_array_equal(trial.run("winograd", x, once), everywhere)
    nothing = trial.run("winograd", x[:0], dy[:0])
    assert nothing.shape == trial.expected.shape and not nothing.any()


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_only_its_own_sums(value, which, order, lines):
    """The maps would spread it to other taps: ``direct`` computes all again."""
    trial = Trial(CASES[0], DIRECTION, "float32", order)
    operands = trial.operands()
    operands[which][1, 0, 0, 0] = value
    result = trial.run("winograd", *operands)
    np.testing.assert_array_equal(result, trial.run("direct", *operands))
    assert np.isnan(result).any() or np.isinf(result).any()


@pytest.mark.skipif(machine().isa.registers < 32, reason="fewer sums stay in registers")
@pytest.mark.parametrize(
    ("x", "w"), [((64, 1, 28, 28), (32, 1, 5, 5)), ((8, 3, 32, 32), (16, 3, 3, 3))]
)
def test_few_channels_are_summed_along_lines(x, w):
    problem = described(x, w, 1, w[-1] // 2, 1, 1, DIRECTION, "float32", "nhwc")
    (part,) = Winograd()._build(problem, 2)
    assert isinstance(part, BilinearLineWeight)


@pytest.mark.parametrize(
    "w",
    [
        (VECTOR, 1, 31, 31),  # rows of a window
        (512 * VECTOR, 2 * VECTOR, 3, 3),  # sums
    ],
)
def test_lines_refuse_more_sums_than_are_near(w):
    problem = described((2, w[1], 40, 40), w, 1, 1, 1, 1, DIRECTION, "float32", "nhwc")
    assert not any(isinstance(g, LineGrid) for g in _bilinear._grids(Winograd(), problem))


def test_the_tape(lines):
    rng = np.random.default_rng(5)
    x, w = rng.standard_normal((2, 2, 5, 9)), rng.standard_normal((VECTOR // 2 + 1, 2, 3, 3))
    with fc.options(algorithm="winograd"):
        check_gradients(lambda x, w: F.conv2d(x, w, padding=1), x, w)
