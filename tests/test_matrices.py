"""Filters as large as the image, and gradients of a single output."""

from __future__ import annotations

import itertools

import numpy as np
import oracle
import pytest
from cases import Case
from harness import DIRECTIONS, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv._product import parts_of
from fastconv.conv.registry import ALGORITHMS
from fastconv.plans.correlation import _apart, backward_input, executed, parities

COVERS = Case("covers", 9, 6, 4, 3, 10, 4, 3, groups=2)
ONE_COLUMN = Case("one-column", 9, 16, 6, 5, 17, 3, 5)
pytestmark = pytest.mark.usefixtures("no_second_try")


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_taps_are_channels(direction, algorithm):
    """The result may be any part of an array."""
    trial = Trial(COVERS, direction)
    ((piece, _),) = parts_of(ALGORITHMS[algorithm], trial.problem, 2)
    assert (piece.problem.C, piece.problem.H, piece.problem.S) == (6 * 4 * 3, 1, 1)
    plan = ALGORITHMS[algorithm].plan(trial.problem, 2)
    for step in (1, 2):
        whole = np.full((*trial.expected.shape[:-1], step * trial.expected.shape[-1]), np.nan, "f")
        plan(*trial.operands(), whole[..., ::step], None, False)
        assert_close(whole[..., ::step], trial.expected, trial.bound(algorithm))


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize(("batch", "steps"), [(9, 17 * 3), (7, 17 * 3 * 5)])
def test_inputs_meet_the_taps_that_have_a_part_in_them(batch, steps, order):
    """A column of outputs: every column of inputs meets one of taps, unless images are few."""
    problem = Trial(ONE_COLUMN._replace(N=batch), "backward_input", "float32", order).problem
    assert {c.steps for c in backward_input(problem, 16)} == {steps}


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        (Case("few", 2, 16, 8, 8, 16, 2, 2, 2), 4),
        (Case("many", 2, 16, 9, 9, 16, 3, 3, 3), 1),
        (Case("of-many-pixels", 9, 16, 30, 30, 16, 3, 3, 3), 9),
        (Case("most", 9, 16, 72, 81, 16, 8, 9, (8, 9)), 1),
        (Case("most-and-padded", 2, 16, 96, 96, 16, 24, 24, 24, 12), 1),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_parities_of_few_pixels_are_one_correlation(case, parts):
    assert len(backward_input(Trial(case, "backward_input").problem, 16)) == parts


@pytest.mark.parametrize(
    "case",
    [
        Case("far-apart", 2, 16, 50, 50, 16, 3, 3, 12),
        Case("far-and-padded", 2, 16, 50, 50, 16, 3, 3, 9, 1),
        Case("one-tap", 1, 64, 16, 16, 64, 1, 1, 3),
        Case("one-input", 16, 16, 1, 1, 16, 9, 9, 1, 4),
        Case("few-inputs", 16, 16, 3, 3, 16, 11, 11, 1, 4),
        Case("few-rows", 9, 3, 2, 40, 5, 7, 40, 1, (3, 0)),
    ],
    ids=lambda case: case.name,
)
def test_folding_takes_hardly_more_than_parities(case):
    """Of those that meet no taps in the padding, where there is a single output."""
    problem = Trial(case, "backward_input").problem
    found = executed(backward_input(problem, 16), 16)
    assert found <= 1.15 * executed(parities(_apart(problem)), 16)


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "fft", "depthwise"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_depthwise_filters_as_large_as_the_image(direction, algorithm):
    trial = Trial(Case("covers-depthwise", 2, 16, 8, 8, 16, 8, 8, groups=16), direction)
    result = trial.run(algorithm, *trial.operands())
    assert_close(result, trial.expected, trial.bound(algorithm))


@pytest.mark.parametrize(
    ("algorithm", "groups"),
    [*itertools.product(("direct", "im2col", "bf16x3"), (1, 2)), ("strassen", 1)],
)
def test_every_pixel_of_a_transposed_convolution_has_the_bias_of_its_channel(algorithm, groups):
    """From single pixels to images as large as filters: the first layer of many decoders."""
    case = Case("decoder", 4, 10, 3, 4, 16, 3, 4, groups=groups)
    trial = Trial(case, "backward_input")
    if trial.refusal(algorithm):
        pytest.skip(trial.refusal(algorithm))
    y, w = trial.operands()
    bias = np.linspace(-2, 2, case.C, dtype=np.float32)
    with fc.options(accuracy="fast"):
        x = fc.conv_transpose2d(y, w, bias, groups=groups, algorithm=algorithm)
    expected = oracle.transposed(y, w, bias, 1, 0, 0, groups, 1)
    assert_close(x, expected, trial.bound(algorithm))
