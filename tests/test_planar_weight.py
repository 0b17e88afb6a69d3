"""Where ``direct`` sums weight gradients along the rows of planes; blocks and tiles of them."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DTYPES, Trial, assert_close

import fastconv as fc
from fastconv.conv.algorithm import WORKSPACE, sum_error
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.machine import machine
from fastconv.gemm.tiling import dot_tiles
from fastconv.plans.lines.planar_weight import PlanarWeight
from fastconv.simd.vector import lanes

wide = pytest.mark.skipif(lanes(4) < 16, reason="about vectors of 16")


def _planar(x, w, *arguments, order="nchw"):
    problem = described(x, w, *arguments, "backward_weight", "float32", order)
    return isinstance(Direct().weight(problem, 2), PlanarWeight)


@wide
@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((64, 1, 28, 28), (32, 1, 5, 5), (1, 2, 1, 1)),
        ((2, 3, 224, 224), (64, 3, 3, 3), (1, 1, 1, 1)),
        ((64, 1, 8, 8), (16, 1, 3, 3), (1, 1, 1, 1)),
        ((16, 32, 64, 64), (3, 32, 3, 3), (1, 1, 1, 1)),
        ((8, 64, 56, 56), (64, 8, 3, 3), (1, 1, 1, 8)),
        ((8, 2, 128, 128), (64, 2, 1, 1), (1, 0, 1, 1)),
    ],
    ids=["one-channel", "image", "short-rows", "few-filters", "groups", "1x1"],
)
def test_planes_of_few_channels(x, w, arguments):
    assert _planar(x, w, *arguments)
    # So few filters, or groups of so few, that planes are made of channels-last pixels.
    soon = w[0] == 3 or x[1] > w[1]
    assert _planar(x, w, *arguments, order="nhwc") == soon


@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((2, 64, 32, 32), (64, 64, 3, 3), (1, 1, 1, 1)),
        ((64, 3, 32, 5), (16, 3, 3, 3), (1, 1, 1, 1)),
        ((2, 3, 224, 224), (64, 3, 7, 7), (2, 3, 1, 1)),
        ((1, 32, 1, 1_000_000), (3, 32, 1, 3), (1, 0, 1, 1)),
        ((4, 1, 28, 28), (32, 1, 1, 1), (1, 0, 1, 1)),
    ],
    ids=["many-channels", "rows-of-a-few", "many-taps", "rows-beyond-the-cache", "one-term"],
)
def test_others_are_not(x, w, arguments):
    if w[0] == 16 and lanes(4) < 16:
        pytest.skip("rows of five are long enough for short vectors")
    assert not _planar(x, w, *arguments)


@pytest.mark.parametrize(("filters", "taps"), [(1, 9), (3, 2), (8, 25), (64, 27), (2, 300)])
def test_tiles_fit_the_registers(filters, taps):
    tiles = dot_tiles(filters, taps)
    assert tiles
    for mr, nt, step in tiles:
        assert mr <= filters and nt <= taps
        assert mr * nt + min(mr, nt) + 1 <= machine().isa.registers
        assert step > mr * nt


CASES = (
    cases.Case("planar-dw-odd", 5, 1, 21, 20, 13, 5, 5, padding=2),
    cases.Case("planar-dw-strided", 3, 2, 41, 43, 9, 5, 3, (2, 2), (2, 1)),
    cases.Case("planar-dw-strided-down", 6, 1, 41, 20, 7, 3, 3, (2, 1), 1),
    cases.Case("planar-dw-dilated", 2, 3, 23, 37, 8, 3, 3, 1, (2, 3), (2, 3)),
    cases.Case("planar-dw-groups", 5, 6, 19, 33, 15, 3, 3, padding=1, groups=3),
    cases.Case("planar-dw-small", 37, 2, 9, 9, 4, 3, 3, padding=1),
    cases.Case("planar-dw-row", 3, 4, 1, 130, 5, 1, 7, padding=(0, 3)),
    cases.Case("planar-dw-column", 3, 2, 130, 16, 3, 7, 1, padding=(3, 0)),
    cases.Case("planar-dw-points", 4, 5, 17, 19, 6, 1, 1),
)


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_block_gives_the_gradient(case, dtype, threads, monkeypatch):
    """Also those that a plan would not choose; the last block and the last tile are not whole."""
    trial = Trial(case, "backward_weight", dtype, "nchw")
    x, dy = trial.operands()
    chosen = PlanarWeight(trial.problem, threads)
    tiles = {(mr, nt) for mr, nt, _ in dot_tiles(chosen.c.filters, chosen.c.steps)}
    some = sorted(tiles)[:: max(1, len(tiles) // 5)]
    for i, cut in enumerate(chosen._cuts()):
        mr, nt = some[i % len(some)]
        shape = chosen._shape()._replace(cut=cut, mr=mr, nt=nt)
        monkeypatch.setattr(PlanarWeight, "_shape", lambda self, shape=shape: shape)
        plan = PlanarWeight(trial.problem, threads)
        assert plan.cut == cut
        dw = np.full(case.w_shape, np.nan, dtype)
        plan.run(x, dy, dw)
        monkeypatch.undo()
        assert_close(dw, trial.expected, trial.bound("direct"))


@wide
def test_small_images_are_summed_together():
    def cut(images, size):
        x, w = (images, 1, size, size), (16, 1, 3, 3)
        return PlanarWeight(
            described(x, w, 1, 1, 1, 1, "backward_weight", "float32", "nchw"), 2
        ).cut

    assert cut(64, 8).images > 1 and cut(64, 8).flat
    assert cut(64, 64).images == 1
    assert cut(4, 224).rows < 224  # of x and dy as much as the first-level cache holds


@pytest.mark.parametrize("flat", [False, True])
def test_rows_of_a_wider_gradient(flat, monkeypatch):
    """Its columns follow one another, its rows do not."""
    trial = Trial(CASES[0], "backward_weight", "float32", "nchw")
    x, dy = trial.operands()
    wide = np.full((*dy.shape[:3], dy.shape[3] + 3), np.nan, np.float32)
    wide[..., : dy.shape[3]] = dy
    chosen = PlanarWeight(trial.problem, 1)
    cut = next(cut for cut in chosen._cuts() if cut.flat == flat and cut.rows > 1)
    shape = chosen._shape()._replace(cut=cut)
    monkeypatch.setattr(PlanarWeight, "_shape", lambda self: shape)
    dw = np.full(CASES[0].w_shape, np.nan, np.float32)
    PlanarWeight(trial.problem, 1).run(x, wide[..., : dy.shape[3]], dw)
    assert_close(dw, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize(
    ("height", "width", "images"), [(1024, 1000, 1), (3000, 64, 1), (16, 16, 4000)]
)
def test_the_longest_sums_of_equal_terms_keep_the_bound(height, width, images):
    x = np.full((images, 1, height, width), 1 / 3, np.float32)
    dy = np.full((images, 4, height - 2, width - 2), 1 / 3, np.float32)
    size = (4, 1, 3, 3)
    assert _planar(x.shape, size, 1, 0, 1, 1)
    exact = np.float64(x[0, 0, 0, 0]) * np.float64(dy[0, 0, 0, 0]) * dy[:, 0].size
    for threads in (1, 2):
        with fc.options(num_threads=threads):
            dw = fc.grad.conv2d_weight(x, size, dy, algorithm="direct")
        assert np.abs(dw - exact).max() / exact <= sum_error(dy[:, 0].size, "float32") / 4


@pytest.mark.parametrize("threads", [1, 64])
@pytest.mark.parametrize(
    ("x", "w", "padding"),
    [
        ((1, 1, 1 << 25, 16), (64, 1, 5, 5), 2),
        ((1 << 20, 1, 16, 16), (8, 1, 3, 3), 1),
        ((1, 1, 4, 4), (8, 1, 7, 7), (3, 1_000_000)),
        ((1, 1, 4, 4), (8, 1, 7, 7), (1_000_000, 8)),
        ((2, 4096, 16, 16), (4096, 1, 3, 3), 1),
    ],
)
def test_extreme_problems_have_few_cuts_and_little_scratch(x, w, padding, threads):
    problem = described(x, w, 1, padding, 1, x[1] // w[1], "backward_weight", "float32", "nchw")
    plan = Direct().weight(problem, threads)
    assert plan.nbytes <= threads * WORKSPACE
    if PlanarWeight.applies(problem):
        assert 1 <= len(list(PlanarWeight(problem, threads)._cuts())) <= 40


@pytest.mark.parametrize("step", [1, 2, -1])
def test_parts_of_arrays(step):
    """Gradients whose rows do not follow one another."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((6, 1, 40, 44), np.float32)[::step, :, ::step, ::step]
    dy = rng.standard_normal((6, 8, 40, 44), np.float32)[::step, :, ::step, ::step]
    size = (8, 1, 3, 3)
    results = [
        fc.grad.conv2d_weight(*operands, padding=1, algorithm="direct")
        for operands in ((x, size, dy), (x.copy(), size, dy.copy()))
    ]
    np.testing.assert_array_equal(*results)


def test_what_is_beyond_a_row_does_not_count():
    """A row's end is masked in both operands: 0 · Inf would be NaN."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 1, 20, 40), np.float32)
    dy = rng.standard_normal((2, 4, 20, 36), np.float32)
    x[:, :, :, 38:] = np.inf  # met by the last two columns of taps alone
    dw = fc.grad.conv2d_weight(x, (4, 1, 3, 5), dy, padding=(1, 0), algorithm="direct")
    assert np.isfinite(dw[..., :3]).all() and not np.isfinite(dw[..., 3:]).any()
