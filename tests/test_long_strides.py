"""Strides beyond the input, and through large ones: planning must not go through all of it."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS
from fastconv.gemm.tiling import even_split, even_splits
from fastconv.plans.correlation import parities
from fastconv.plans.depthwise.planes import Planes
from fastconv.plans.lines import planar

LONGEST = 2**31 - 1
DIRECT = ALGORITHMS["direct"]
FORWARD = ("forward", "float32", "nchw")


def _arrays(x_shape, w_shape, stride):
    random = np.random.default_rng(5)
    y_shape = oracle.output_size(x_shape, w_shape, stride, 1, 1)
    shapes = (x_shape, w_shape, (x_shape[0], w_shape[0], *y_shape))
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("algorithm", ["auto", *ALGORITHMS])
@pytest.mark.parametrize("stride", [10_000, LONGEST, (3, LONGEST)])
def test_a_stride_beyond_the_input(stride, algorithm):
    """It gives what any other gives that reaches no second output."""
    x, w, dy = _arrays((2, 4, 8, 8), (6, 4, 3, 3), stride)
    one = tuple(min(s, 8) for s in (stride if isinstance(stride, tuple) else (stride, stride)))
    reference = [
        fc.conv2d(x, w, None, one, 1, algorithm="reference"),
        fc.grad.conv2d_input(x.shape, w, dy, one, 1, algorithm="reference"),
        fc.grad.conv2d_weight(x, w.shape, dy, one, 1, algorithm="reference"),
    ]
    calls = [
        lambda: fc.conv2d(x, w, None, stride, 1, algorithm=algorithm),
        lambda: fc.grad.conv2d_input(x.shape, w, dy, stride, 1, algorithm=algorithm),
        lambda: fc.grad.conv2d_weight(x, w.shape, dy, stride, 1, algorithm=algorithm),
    ]
    for direction, call, expected in zip(DIRECTIONS, calls, reference, strict=True):
        problem = described(x.shape, w.shape, stride, 1, 1, 1, direction, "float32", "nchw")
        if algorithm == "auto" or ALGORITHMS[algorithm].refuses(problem) is None:
            np.testing.assert_allclose(call(), expected, atol=2e-4)


@pytest.mark.parametrize(("taps", "plain"), [((1, 3), (1, 8)), ((3, 1), (8, 1)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_dilation_of_one_tap_is_none(direction, taps, plain):
    """Filters along one axis are dilated along both where a single number is given."""
    x, w = (2, 3, 1, 40) if taps[0] == 1 else (2, 3, 40, 1), (4, 3, *taps)
    padding = tuple(8 * (n // 2) for n in taps)
    given, made = (
        described(x, w, 1, padding, dilation, 1, direction, "float32", "nchw")
        for dilation in (8, plain)
    )
    assert given == made and given.dilation == plain


def test_transposed():
    x, w = np.ones((1, 2, 1, 1), np.float32), np.ones((2, 3, 2, 2), np.float32)
    y = fc.conv_transpose2d(x, w, stride=1000, output_padding=999)
    assert y.shape == (1, 3, 1001, 1001)
    assert (y[..., :2, :2] == 2).all() and y.sum() == 2 * 3 * 4


def test_only_parities_that_a_tap_reaches_are_made():
    shapes = ((1, 1, 40_000, 40_000), (1, 1, 2, 3))
    problem = described(*shapes, 20_000, 0, 1, 1, "backward_input", "float32", "nchw")
    made = parities(problem)
    assert [(c.rows.start, c.columns.start) for c in made] == [
        (i, j) for i in range(2) for j in range(3)
    ]


@pytest.mark.parametrize("images, height", [(2**10, 61), (1, 2**20)])
def test_plans_do_not_go_through_all_rows(images, height, monkeypatch):
    """That of planes tried as many heights as there are rows, in all images."""
    tried = []

    def made(*arguments):
        tried.append(arguments[1])
        return Planes(*arguments)

    monkeypatch.setattr(planar, "Planes", made)
    problem = described((images, 4, height, 64), (67, 4, 3, 3), 1, 1, 1, 1, *FORWARD)
    (plan,) = DIRECT._build(problem, 2)
    assert isinstance(plan, planar.PlanarCorrelation)
    assert max(tried) <= height and len(tried) < 400


@pytest.mark.parametrize("extent", [1, 2, 7, 60, 61])
def test_shares_are_all_that_there_are(extent):
    for most in range(1, extent + 1):
        shares = {even_split(extent, some) for some in range(1, most + 1)}
        assert even_splits(extent, most) == sorted(shares)


def test_the_longest_dilation_of_a_single_tap():
    x, w = np.ones((1, 2, 3, 2), np.float32), np.ones((2, 2, 1, 1), np.float32)
    assert (fc.conv2d(x, w, dilation=LONGEST) == 2).all()
