"""1×1 filters on planes: they are read where they are, by tiles of which the last may overlap."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from cases import Case
from harness import DTYPES, Trial, assert_close, assert_fused

import fastconv as fc
from fastconv.conv._product import parts_of
from fastconv.conv.registry import ALGORITHMS
from fastconv.plans.pointwise.planes import PlanesCorrelation

DIRECTIONS = ("forward", "backward_input")
CASES = (
    Case("planes-last", 3, 20, 7, 9, 45, 1, 1),
    Case("planes-late", 8, 70, 7, 7, 130, 1, 1),
    Case("planes-few", 5, 3, 9, 9, 37, 1, 1),
    Case("planes-groups", 2, 26, 12, 12, 38, 1, 1, groups=2),
    Case("planes-strided", 2, 40, 17, 15, 24, 1, 1, 2),
)


def _plan(trial):
    ((_, (plan, *_)),) = parts_of(ALGORITHMS["direct"], trial.problem, 2)
    assert isinstance(plan, PlanesCorrelation)
    return plan


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, direction, dtype, threads, no_second_try):
    trial = Trial(case, direction, dtype, "nchw")
    with fc.options(num_threads=threads):
        result = trial.run("direct", *trial.operands())
    assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bias_and_relu(case):
    assert_fused(case, "direct", "nchw")


def test_nothing_is_packed_where_filters_or_channels_stand_side_by_side():
    filters = _plan(Trial(CASES[0], "forward")).filters
    assert filters.readable((80, 4, 4, 4)) and filters.readable((4, 80, 4, 4))
    assert not filters.readable((160, 8, 8, 8))
    few = Case("one-filter", 3, 20, 16, 16, 1, 1, 1)
    assert not _plan(Trial(few, "forward")).filters.readable((80, 4, 4, 4))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_filters_that_are_part_of_an_array(direction, no_second_try):
    """Every other channel, every other filter, and both: only the last are packed."""
    trial = Trial(CASES[1], direction, "float32", "nchw")
    first, w = trial.operands()
    for down, across in ((2, 1), (1, 2), (2, 2)):
        whole = np.full((down * w.shape[0], across * w.shape[1], 1, 1), np.nan, np.float32)
        part = whole[::down, ::across]
        part[...] = w
        assert_close(trial.run("direct", first, part), trial.expected, trial.bound("direct"))


@pytest.mark.parametrize("groups", [1, 2])
def test_the_bias_of_a_transposed_convolution(groups):
    case = Case("planes-decoder", 3, 46, 7, 7, 30, 1, 1, groups=groups)
    trial = Trial(case, "backward_input", "float32", "nchw")
    y, w = trial.operands()
    bias = np.linspace(-2, 2, case.C, dtype=np.float32)
    x = fc.conv_transpose2d(y, w, bias, groups=groups, algorithm="direct")
    assert_close(x, oracle.transposed(y, w, bias, 1, 0, 0, groups, 1), trial.bound("direct"))


def test_a_layer_keeps_no_filters_that_are_read_where_they_are():
    layer = fc.nn.Conv2d(20, 45, 1).eval()
    x = fc.Tensor(np.ones((3, 20, 7, 9), np.float32))
    with fc.no_grad(), fc.options(algorithm="direct"):
        before = layer(x).numpy().copy()
        layer.weight.data *= 2
        layer.bias.data *= 2
        after = layer(x).numpy()
    np.testing.assert_allclose(after, 2 * before, rtol=1e-6)
    assert layer._filters.nbytes == 0
