"""1×1 filters on channels-last pixels, a product of matrices as they stand: groups, and strides."""

from __future__ import annotations

from types import SimpleNamespace

import cases
import numpy as np
import pytest
from harness import DTYPES, Trial, assert_close, fenced

import fastconv as fc
from fastconv.conv._product import parts_of
from fastconv.conv.direct import Direct
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.machine import machine
from fastconv.plans.pointwise import matrix
from fastconv.plans.pointwise.matrix import MatrixCorrelation
from fastconv.simd.microkernel import TERMS

SMALL = cases.Case("small-groups", 2, 48, 9, 10, 36, 1, 1, groups=3)
LARGE = cases.Case("large-groups", 2, 2048, 7, 7, 2048, 1, 1, groups=4)
groups = pytest.mark.parametrize("case", [SMALL, LARGE], ids=lambda case: case.name)


def _part(case, dtype="float32") -> MatrixCorrelation:
    problem = Trial(case, "forward", dtype, "nhwc").problem
    (c,) = (part.c for part in Direct()._build(problem, 2))
    return MatrixCorrelation(c, problem.itemsize, 2)


@pytest.mark.skipif(machine().l2 != 2 << 20, reason="the cases are of a cache of 2 MiB")
def test_groups_are_taken_together_while_the_cache_has_room_for_their_filters():
    assert _part(SMALL).splits == 1
    assert _part(LARGE._replace(N=32)).splits == LARGE.groups
    assert _part(LARGE).splits == 2 * LARGE.groups  # where pixels are few


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize("dtype", DTYPES)
@groups
def test_results(case, dtype, direction):
    trial = Trial(case, direction, dtype, "nhwc")
    assert_close(trial.run("im2col", *trial.operands()), trial.expected, trial.bound("im2col"))


@pytest.mark.usefixtures("planned_anew")
@pytest.mark.parametrize(("l2", "most"), [(1, 1), (1 << 16, 16), (1 << 30, 24)])
@pytest.mark.parametrize("channels", [1, 6, TERMS + 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bundles_of_tiles(channels, dtype, l2, most, monkeypatch):
    """As many as the cache has room for; a line has several, and pixels that are no whole tile."""
    monkeypatch.setattr(matrix, "machine", lambda: SimpleNamespace(l2=l2))
    case = cases.Case("bundles", 2, channels, 13, 41, 77, 1, 1)
    trial = Trial(case, "forward", dtype, "nhwc")
    problem = trial.problem._replace(x_format="nhwc", y_format="nhwc")
    bias = np.linspace(-1, 1, case.K).astype(dtype)
    y = fenced(np.full(case.y_shape, np.nan), dtype, "nhwc")
    ALGORITHMS["direct"].plan(problem, 2)(*trial.operands(), y, bias, True)
    ((_, (part,)),) = parts_of(ALGORITHMS["direct"], problem, 2)
    bundle = part._bundle()
    assert bundle == 1 if l2 == 1 or channels > TERMS else 1 < bundle <= most
    expected = np.maximum(trial.expected + bias[:, None, None], 0)
    assert_close(y, expected, trial.bound("direct"))


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "winograd", "bf16x3"])
@pytest.mark.parametrize("filter_size", [1, 3])
def test_one_plan_runs_arrays_of_different_strides(algorithm, filter_size):
    """What strides say is settled for those strides alone."""
    case = cases.Case(
        "strides", 2, 32, 8, 9, 40, filter_size, filter_size, padding=filter_size // 2
    )
    trial = Trial(case, "forward", "float32", "nhwc")
    if trial.refusal(algorithm):
        pytest.skip(trial.refusal(algorithm))
    plan = ALGORITHMS[algorithm].plan(trial.problem, 2)
    x, w = trial.operands()
    wide = np.zeros((2, 9, 12, 40), np.float32)[:, 1:, 2:-1, 3:-5]
    wide[...] = x.transpose(0, 2, 3, 1)
    turned = np.ascontiguousarray(w[::-1])[::-1]
    for source in (x, wide.transpose(0, 3, 1, 2), x):
        for filters in (w, turned, w):
            y = np.full((2, 8, 9, 40), np.nan, np.float32).transpose(0, 3, 1, 2)
            plan(source, filters, y, None, False)
            assert_close(y, trial.expected, trial.bound(algorithm))


@pytest.mark.parametrize("algorithm", ["direct", "im2col", "auto"])
@pytest.mark.parametrize("filters", [2, 64], ids=["sums along channels", "matrix"])
def test_a_single_column_with_a_stride_that_means_nothing(filters, algorithm):
    """NumPy calls such a view contiguous, whatever the stride of the column."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 9, 2, 64), np.float32)[:, :, :1].transpose(0, 3, 1, 2)
    apart = rng.standard_normal((3, 9, 1, 64), np.float32)[:, :, ::2].transpose(0, 3, 1, 2)
    w = rng.standard_normal((filters, 64, 1, 1), np.float32)
    for source in (x, apart):
        y = fc.conv2d(source, w, algorithm=algorithm)
        assert_close(y, np.einsum("nchw,kc->nkhw", source.astype(float), w[..., 0, 0]), 1e-5)
        back = w.swapaxes(0, 1)
        dx = fc.grad.conv2d_input((3, filters, 9, 1), back, source, algorithm=algorithm)
        assert_close(dx, np.einsum("nkhw,kc->nchw", source.astype(float), back[..., 0, 0]), 1e-5)
