"""``bf16x3``: what its products lose, where it refuses, and the shapes of its tiles and blocks."""

from __future__ import annotations

import numpy as np
import pytest
from cases import Case
from harness import DIRECTIONS, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv import bf16x3
from fastconv.conv.direct import Direct
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.machine import matrix_unit
from fastconv.core.problem import ConvProblem

unit = pytest.mark.skipif(not matrix_unit(), reason="no matrix unit for bfloat16")


@pytest.fixture
def alone(monkeypatch):
    """Fails where a result would be left to ``direct``."""

    class Nobody(Direct):
        def plan(self, *_):
            raise AssertionError("left to direct")

    monkeypatch.setattr(bf16x3, "Direct", Nobody)


def _product(x, w):
    """Products of pairs of numbers, each the sum of one term."""
    return np.array([
        fc.conv2d(a.reshape(1, 1, 1, 1), b.reshape(1, 1, 1, 1), algorithm="bf16x3").item()
        for a, b in zip(x, w, strict=True)
    ])  # fmt: skip


def test_no_plan_without_the_unit(monkeypatch):
    """It would end the process."""
    monkeypatch.setattr(bf16x3, "matrix_unit", lambda: False)
    with pytest.raises(ValueError, match="no matrix unit"):
        ALGORITHMS["bf16x3"].plan(ConvProblem(1, 4, 5, 5, 4, 3, 3), 1)


@unit
def test_products_of_bfloat16_are_exact(alone):
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(200).astype(np.float32).view(np.uint32) for _ in range(2))
    x, w = ((values & 0xFFFF0000).view(np.float32) for values in (x, w))
    assert np.array_equal(_product(x, w), x * w)


@unit
def test_products_lose_less_than_they_may(alone):
    rng = np.random.default_rng(1)
    x, w = (rng.uniform(1, 2, 400).astype(np.float32) for _ in range(2))
    x[:2], w[:2] = 1 + 2**-8 - 2**-23, 1 + 2**-8 - 2**-23  # halves as far off as they can be
    exact = x.astype(np.float64) * w
    errors = np.abs(_product(x, w) / exact - 1)
    assert 2**-19 < errors.max() <= bf16x3._PRODUCT_ERROR


CASES = [
    Case("one-channel", 2, 1, 9, 11, 20, 3, 3, padding=1),
    Case("4-channels", 1, 4, 12, 13, 16, 7, 7, stride=2, padding=3),
    Case("5-channels", 1, 5, 12, 40, 17, 3, 5, stride=(1, 3), padding=(1, 2)),
    Case("16-channels", 2, 16, 10, 10, 48, 3, 3, padding=1),
    Case("17-channels", 2, 17, 10, 9, 33, 3, 3, padding=1),
    Case("48-filters", 2, 48, 9, 9, 48, 3, 3, padding=1),
    Case("several-sums", 1, 150, 6, 7, 40, 3, 3, padding=1),
    Case("several-images", 7, 40, 5, 5, 40, 3, 3, padding=1),
    Case("blocks-of-rows", 2, 32, 60, 40, 32, 3, 3, padding=1),
    Case("fewer-rows-in-the-last-block", 1, 10, 133, 133, 80, 5, 2, 1, 2, 3, 2),
    Case("more-slots-than-steps", 1, 6, 14, 56, 6, 7, 7, padding=1),
    Case("blocks-of-columns", 1, 40, 3, 3000, 16, 3, 3, padding=1),
    Case("dilated-few-channels", 1, 8, 14, 14, 16, 3, 3, padding=2, dilation=2),
    Case("stride-3", 1, 33, 20, 21, 32, 4, 4, stride=3),
    Case("stride-2-1x1", 2, 64, 15, 14, 32, 1, 1, stride=2),
    Case("1x1-in-place", 2, 64, 9, 13, 128, 1, 1),
    Case("1x1-to-fewer", 3, 128, 8, 8, 32, 1, 1),
    Case("1x1-padded", 1, 32, 8, 8, 32, 1, 1, padding=1),
    Case("groups", 2, 80, 8, 8, 48, 3, 3, padding=1, groups=2),
    Case("1x7", 2, 32, 9, 17, 32, 1, 7, padding=(0, 3)),
    Case("many-taps", 1, 16, 24, 24, 16, 9, 9, padding=4),
]


@unit
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_shapes_of_tiles(case, direction, order, threads, alone):
    trial = Trial(case, direction, order=order)
    with fc.options(num_threads=threads):
        result = trial.run("bf16x3", *trial.operands())
        assert_close(result, trial.expected, trial.bound("bf16x3"))


@unit
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("scale", [1e-22, 1e-30, 3e-38, 1e17])
def test_tiny_and_huge_operands(direction, scale):
    """Where halves would be lost, or overflow, the result is direct's."""
    trial = Trial(Case("scaled", 2, 16, 8, 8, 16, 3, 3, padding=1), direction)
    first, second = trial.operands()
    first = (first * np.float32(scale)).astype(np.float32)
    expected = trial.oracle(first, second)
    result = trial.run("bf16x3", first, second)
    assert_close(result / scale, expected / scale, trial.bound("bf16x3"))


@unit
def test_numbers_that_round_to_infinity():
    x = np.full((1, 1, 2, 2), 3.4e38, np.float32)
    y = fc.conv2d(x, np.float32([[[[0.5]]]]), algorithm="bf16x3")
    assert np.array_equal(y, x / 2)


@unit
def test_zeros():
    y = fc.conv2d(np.zeros((1, 16, 8, 8), np.float32), np.ones((16, 16, 3, 3), np.float32),
                  np.arange(16, dtype=np.float32), algorithm="bf16x3")  # fmt: skip
    assert np.array_equal(y, np.broadcast_to(np.arange(16)[:, None, None], (1, 16, 6, 6)))


def test_it_refuses_float64():
    with pytest.raises(ValueError, match="it computes float32 alone"):
        fc.conv2d(np.zeros((1, 1, 3, 3)), np.zeros((1, 1, 3, 3)), algorithm="bf16x3")


def test_it_refuses_without_the_unit(monkeypatch):
    monkeypatch.setattr(bf16x3, "matrix_unit", lambda: False)
    problem = Trial(CASES[0], "forward").problem
    assert "no matrix unit" in ALGORITHMS["bf16x3"].refuses(problem)


@unit
def test_it_is_not_strict():
    x, w = np.ones((2, 32, 8, 8), np.float32), np.ones((32, 32, 3, 3), np.float32)
    with pytest.raises(ValueError, match="rounds products further than the dtype"):
        fc.conv2d(x, w, algorithm="bf16x3", accuracy="strict")
    with fc.options(accuracy="strict"):
        assert fc.explain(x.shape, w.shape).chosen != "bf16x3"


@unit
def test_each_part_of_a_gradient_keeps_its_digits():
    """A part whose results are all tiny is left to ``direct``, though those of others are not."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((32, 32, 2, 2)).astype(np.float32)
    w[:, :, 1] *= np.float32(1e-36)
    dy = rng.standard_normal((2, 32, 8, 8)).astype(np.float32)
    given = dict(stride=2, algorithm="bf16x3")
    dx = fc.grad.conv2d_input((2, 32, 16, 16), w, dy, **given)
    expected = fc.grad.conv2d_input((2, 32, 16, 16), w.astype(float), dy.astype(float), stride=2)
    assert_close(dx[:, :, 1::2], expected[:, :, 1::2], 1e-6)


@unit
def test_a_gradient_without_terms_is_not_left_to_another(alone):
    w, dy = np.ones((32, 32, 1, 1), np.float32), np.ones((1, 32, 2, 2), np.float32)
    dx = fc.grad.conv2d_input((1, 32, 1, 1), w, dy, stride=2, padding=1, algorithm="bf16x3")
    assert dx.shape == (1, 32, 1, 1) and not dx.any()
