"""``winograd`` along lines: for a few channels, its sums stay in registers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cases import Case
from harness import DTYPES, FORMATS, Trial, assert_close, assert_fused
from line_cases import CASES, VECTOR

import fastconv as fc
from fastconv.conv import _bilinear, _product
from fastconv.conv.algorithm import ACCURACIES
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.conv.winograd import Winograd
from fastconv.core import workspace
from fastconv.core.machine import machine
from fastconv.plans.bilinear import line, line_grid
from fastconv.plans.bilinear.correlation import BilinearCorrelation
from fastconv.plans.bilinear.grid import TileGrid
from fastconv.plans.bilinear.line import BilinearLine
from fastconv.plans.bilinear.line_grid import LineGrid


def _check(trial, workers=2):
    """Run a case; its only plan."""
    algorithm = ALGORITHMS["winograd"]
    ((_, (part,)),) = _product.parts_of(algorithm, trial.problem, workers)
    assert isinstance(part, BilinearLine)
    result = trial.run("winograd", *trial.operands())
    assert_close(result, trial.expected, algorithm.cost(trial.problem, 2).error)
    return part


TAPS = [(m, r) for r in (2, 3, 5, 7) for m in (2, 3, 4, 5, 6) if m + r - 1 <= 10]


@pytest.mark.parametrize(("lines", "r"), TAPS, indirect=["lines"])
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("order", FORMATS)
def test_every_tile(order, direction, lines, r):
    """The last tiles of a line have fewer outputs; the last vectors fewer filters."""
    size = (r + 3, 3 * lines + r + 1)
    few, many = 3, VECTOR + 3
    channels = (few, many) if direction == "forward" else (many, few)
    case = Case(f"line-{lines}-{r}", 2, channels[0], *size, channels[1], r, r, padding=1)
    part = _check(Trial(case, direction, "float32", order))
    assert part.tiling.m_columns == lines


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(dtype, order, case, lines):
    _check(Trial(case, "forward", dtype, order))


@pytest.mark.skipif(machine().isa.registers < 32, reason="no more than a tile stays in registers")
@pytest.mark.parametrize("lines", [4], indirect=True)
@pytest.mark.parametrize("order", FORMATS)
def test_register_tiles_of_a_line_need_not_be_equal(order, lines, monkeypatch):
    """Nor so many lines of a call; and the last tile of a line has an output too many.

    Where results go in planes is fetched, as if the cache did not hold them.
    """
    monkeypatch.setattr(line, "machine", lambda: SimpleNamespace(l2=0))
    part = _check(Trial(CASES[-2], "forward", "float32", order))
    assert part.register_tiles.wide > 0 and part.register_tiles.narrow > 0
    assert 1 < part.lines < part.rows and part.rows % part.lines > 0


@pytest.mark.parametrize("order", FORMATS)
def test_tasks_of_some_rows(order, lines):
    """Components of a wide image are too many for the cache: those of some rows are made."""
    with fc.options(num_threads=1):
        part = _check(Trial(CASES[-1], "forward", "float32", order), 1)
    near = line_grid.machine().l2 // 4
    assert part.grid.window_bytes(part.rows, 4) <= near < part.grid.window_bytes(40, 4)
    assert part.rows < 40 and part.tasks == part.tasks_i > 1


def test_one_worker_has_tasks_of_many_rows(lines):
    """Rows are shared by the workers that a call starts, not by all threads there are."""
    problem = described((1, 1, 9, 9), (VECTOR, 1, 3, 3), 1, 1, 1, 1, "forward", "float32", "nhwc")
    (part,) = Winograd()._build(problem, 16)
    assert part.workers == 1 and part.rows == 3


@pytest.mark.parametrize("case", [CASES[0], CASES[9]], ids=lambda case: case.name)
@pytest.mark.parametrize("order", FORMATS)
def test_bias_and_relu(order, case, lines):
    assert_fused(case, "winograd", order)


@pytest.mark.parametrize("order", FORMATS)
def test_results_whose_lines_are_apart(order, lines):
    trial = Trial(CASES[1], "forward", "float32", order)
    n, k, h, w = trial.expected.shape
    wide = workspace.empty((n, k, h, w + 3), "float32", order)
    out = wide[..., :w]
    ALGORITHMS["winograd"].plan(trial.problem, 2)(*trial.operands(), out, None, False)
    assert_close(out, trial.expected, ALGORITHMS["winograd"].cost(trial.problem, 2).error)
    assert np.isnan(wide[..., w:]).all()


def test_images_in_any_strides(lines):
    trial = Trial(CASES[1], "forward", "float32", "nhwc")
    x, w = trial.operands()
    with fc.options(algorithm="winograd"):
        expected = fc.conv2d(x, w, padding=1)
        turned = np.ascontiguousarray(x[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1]
        np.testing.assert_array_equal(fc.conv2d(turned, w, padding=1), expected)
        one = np.broadcast_to(x[:1], x.shape)
        np.testing.assert_array_equal(fc.conv2d(one, w, padding=1)[1], expected[0])
        assert fc.conv2d(x[:0], w, padding=1).shape == (0, *expected.shape[1:])


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_is_not_finite_reaches_only_its_own_sums(value, order, lines):
    """Where maps would spread it to neighbours, or overflow, ``direct`` computes all again.

    Wherever in a tile it is.
    """
    trial = Trial(CASES[0], "forward", "float32", order)
    for column in range(10, 20):
        x, w = trial.operands()
        x[1, 0, 9, column] = value
        result = trial.run("winograd", x, w)
        np.testing.assert_array_equal(result, trial.run("direct", x, w))
        assert not np.isfinite(result).all() or value == 3e38


def _part(x, w, *arguments, order="nhwc", direction="forward"):
    problem = described(x, w, *arguments, direction, "float32", order)
    (part,) = Winograd()._build(problem, 2)
    return part


@pytest.mark.skipif(machine().isa.registers < 32, reason="fewer sums stay in registers")
@pytest.mark.parametrize(
    ("x", "w", "direction"),
    [
        ((64, 1, 28, 28), (32, 1, 5, 5), "forward"),
        ((8, 3, 32, 32), (16, 3, 3, 3), "forward"),
        ((2, 64, 64, 64), (3, 64, 3, 3), "backward_input"),
    ],
)
def test_few_channels_are_summed_along_lines(x, w, direction):
    part = _part(x, w, 1, w[-1] // 2, 1, 1, direction=direction)
    assert isinstance(part, BilinearLine)


def test_many_channels_save_more_in_two_dimensions():
    part = _part((2, 8 * VECTOR, 32, 32), (64, 8 * VECTOR, 3, 3), 1, 1, 1, 1)
    assert isinstance(part, BilinearCorrelation)


@pytest.mark.parametrize(
    "arguments",
    [
        ((2, 3, 9, 40), (VECTOR, 3, 3, 3), 1, 2, (1, 2), 1),  # pixels of a sum apart
        ((2, 64 * VECTOR, 9, 40), (VECTOR, 64 * VECTOR, 3, 3), 1, 1, 1, 1),  # long sums
    ],
)
def test_lines_refuse_what_they_cannot_run(arguments):
    problem = described(*arguments, "forward", "float32", "nhwc")
    assert not any(isinstance(g, LineGrid) for g in _bilinear._grids(Winograd(), problem))


@pytest.mark.parametrize("order", FORMATS)
def test_lines_must_be_near(order):
    """Windows, or results on their way to planes, that leave the cache take longer."""

    def of(width):
        x, w = (1, 1, 5, width), (VECTOR, 1, 5, 5)
        problem = described(x, w, 1, 2, 1, 1, "forward", "float32", order)
        return any(isinstance(g, LineGrid) for g in _bilinear._grids(Winograd(), problem))

    assert of(1000) and not of(200_000)
    assert _part((1, 1, 5, 200_000), (VECTOR, 1, 5, 5), 1, 2, 1, 1, order=order)


@pytest.mark.parametrize("m", [2, 3, 4, 5, 6])
def test_a_forced_tile_is_kept(m):
    """Without force, tiles of an odd number of inputs are left out."""
    problem = described((2, 1, 28, 28), (32, 1, 3, 3), 1, 1, 1, 1, "forward", "float32", "nhwc")
    assert _bilinear._best_grid(Winograd(m), problem).tiling.m_columns == m
    grids = _bilinear._grids(Winograd(), problem)
    assert any(isinstance(g, LineGrid) and g.tiling.m_columns == m for g in grids) == (m % 2 == 0)


def test_errors_are_those_of_one_dimension():
    """Lines keep an accuracy that squares of that side do not."""
    algorithm = ALGORITHMS["winograd6"]
    problem = described((2, 8, 28, 28), (32, 8, 5, 5), 1, 2, 1, 1, "forward", "float32", "nhwc")
    limit = ACCURACIES["default"] * np.finfo("float32").eps
    bounds = {
        type(grid): _bilinear._error(algorithm, problem, grid)
        for grid in _bilinear._grids(algorithm, problem)
    }
    assert bounds[LineGrid] <= limit < bounds[TileGrid]


def test_layers_keep_mapped_filters(lines):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 3, 20, 20), np.float32)
    layer = fc.nn.Conv2d(3, VECTOR, 3, padding=1)
    layer.eval()
    with fc.options(algorithm="winograd"), fc.no_grad():
        first = layer(fc.Tensor(x)).numpy()
        assert layer._filters.nbytes > 0
        np.testing.assert_array_equal(layer(fc.Tensor(x)).numpy(), first)
        layer.weight.data[...] *= 2
        layer.bias.data[...] *= 2
        np.testing.assert_allclose(layer(fc.Tensor(x)).numpy(), 2 * first, rtol=1e-6)
