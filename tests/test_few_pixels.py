"""Where pixels are few: every task has all of them, and packs its own filters."""

from __future__ import annotations

import dataclasses

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.machine import machine
from fastconv.plans.blocked import correlation
from fastconv.plans.blocked.direct import DirectCorrelation
from fastconv.plans.correlation import unfolded
from fastconv.simd.vector import lanes

CASES = (
    cases.Case("few-pointwise", 1, 70, 7, 7, 260, 1, 1),
    cases.Case("few-batch", 3, 64, 7, 7, 256, 1, 1),
    cases.Case("few-window", 1, 40, 7, 9, 200, 3, 3, padding=1),
    cases.Case("few-chunks", 2, 300, 5, 5, 150, 3, 3, padding=1),
    cases.Case("few-stride", 1, 150, 9, 9, 130, 3, 3, 2, 1),
    cases.Case("few-groups", 2, 144, 6, 6, 160, 3, 3, padding=1, groups=2),
    cases.Case("few-dilation", 1, 64, 9, 9, 192, 3, 3, padding=2, dilation=2),
    cases.Case("few-vectors", 1, 40, 8, 8, 64, 3, 3, padding=1),
)


def _parts(case, direction="forward", order="nhwc", threads=2):
    problem = described(case.x_shape, case.w_shape, *case.arguments, direction, "float32", order)
    return Direct()._build(problem, threads)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_tasks_pack_their_filters(case):
    (part,) = _parts(case)
    assert isinstance(part, DirectCorrelation) and part.packs
    assert part.share[0] == case.N and part.tasks >= 2


@pytest.mark.parametrize("threads", [1, 2, 4, 64])
def test_every_thread_has_filters_of_its_own(threads):
    """Narrower tiles, if there are as many vectors of filters as threads."""
    case = cases.Case("few-filters", 1, 64, 8, 8, 4 * lanes(4), 3, 3, padding=1)
    (part,) = _parts(case, threads=threads)
    assert part.packs == (threads <= 4) and (part.tasks >= threads or threads > 4)


def test_the_filters_of_all_groups_count():
    """A tile may be as wide as those of a group, if there are as many groups as threads."""
    case = cases.Case("few-in-groups", 1, 64, 8, 8, 4 * lanes(4), 3, 3, padding=1, groups=2)
    c = unfolded(Trial(case, "forward", order="nhwc").problem)
    alone, shared, scarce = (DirectCorrelation(c, 4, "nhwc", "nhwc", n).nv for n in (1, 2, 4))
    assert alone == shared == 2 and scarce == 1


@pytest.mark.parametrize(
    "case",
    [
        cases.Case("many-pixels", 2, 64, 20, 20, 256, 1, 1),
        cases.Case("few-filters", 1, 64, 7, 7, 100, 1, 1),
    ],
    ids=lambda case: case.name,
)
def test_others_have_them_packed(case):
    (part,) = _parts(case)
    assert not isinstance(part, DirectCorrelation)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize(
    ("algorithm", "dtype"), [*(("direct", dtype) for dtype in DTYPES), ("bf16x3", "float32")]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, algorithm, direction, dtype, order):
    trial = Trial(case, direction, dtype, order)
    if trial.refusal(algorithm):
        pytest.skip(trial.refusal(algorithm))
    assert_close(trial.run(algorithm, *trial.operands()), trial.expected, trial.bound(algorithm))


@pytest.mark.parametrize("case", CASES[:4], ids=lambda case: case.name)
def test_bias_and_relu_belong_to_every_tile(case):
    x, w = Trial(case, "forward").operands()
    bias = np.linspace(-400, 40, case.K, dtype=np.float32)
    layer = fc.nn.Conv2d(case.C, case.K, case.w_shape[2:], padding=case.padding)
    layer.weight.data[...], layer.bias.data[...] = w, bias
    plain = fc.conv2d(x, w, None, *case.arguments, algorithm="direct")
    given = fc.conv2d(x, w, bias, *case.arguments, algorithm="direct")
    np.testing.assert_allclose(given, plain + bias[:, None, None], atol=1e-4)
    relu = fc.conv2d(x, w, bias, *case.arguments, algorithm="direct", activation="relu")
    np.testing.assert_array_equal(relu, np.maximum(given, 0))
    assert 0 < (relu == 0).mean() < 1
    with fc.no_grad(), fc.options(algorithm="direct"):
        for _ in range(2):  # packed for all tasks, and kept
            np.testing.assert_array_equal(layer(fc.Tensor(x)).numpy(), given)


@pytest.mark.parametrize(
    ("l2", "size", "images"),
    [
        (1 << 20, 28, 1),  # 196 pixels of 2 KiB in half of the cache
        (4 << 20, 28, 3),
        (1 << 20, 14, 4),  # 49 pixels, or twice as many, would leave too much of a tile empty
    ],
)
def test_pixels_that_all_filters_read_in_place_stay_in_the_cache(l2, size, images, monkeypatch):
    here = dataclasses.replace(machine(), l2=l2)
    monkeypatch.setattr(correlation, "machine", lambda: here)
    monkeypatch.setattr(DirectCorrelation, "_choose_tile", lambda self, threads: (6, 1))
    case = cases.Case("in-place", 16, 512, size, size, 1024, 1, 1, stride=2)
    c = unfolded(
        described(case.x_shape, case.w_shape, *case.arguments, "forward", "float32", "nhwc")
    )
    part = DirectCorrelation(c, 4, "nhwc", "nhwc", 2)
    assert part.in_place and part.share == (images, size // 2, size // 2)
