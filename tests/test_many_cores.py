"""Plans for more cores than this machine may have: all of them are fed, and results are right."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DIRECTIONS, FORMATS, Trial, assert_close

from fastconv.comparison.layers import shipped
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import threads, workspace
from fastconv.gemm.sharing import leave_idle, pays, workers_for
from fastconv.plans.blocked.direct import DirectCorrelation, packs_filters_itself
from fastconv.plans.correlation import backward_input, unfolded
from fastconv.plans.depthwise.correlation import DepthwiseSum
from fastconv.plans.pixel_tasks import fed
from fastconv.plans.split.correlation import SplitCorrelation
from fastconv.simd.vector import lanes

CORES = 16
CASES = (
    cases.Case("one-image", 1, 128, 14, 14, 192, 3, 3, padding=1),
    cases.Case("one-image-pointwise", 1, 272, 14, 14, 256, 1, 1),
    cases.Case("few-channels", 8, 1, 28, 28, 32, 5, 5, padding=2),
    cases.Case("depthwise-strided", 4, 96, 28, 28, 96, 3, 3, 2, 1, groups=96),
    cases.Case("grouped", 2, 64, 14, 14, 64, 3, 3, padding=1, groups=4),
)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "algorithm", ["direct", "im2col", "winograd", "fft", "depthwise", "bf16x3"]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, algorithm, direction, order):
    trial = Trial(case, direction, "float32", order)
    if algorithm not in ALGORITHMS or trial.refusal(algorithm):
        pytest.skip("cannot run it")
    problem = trial.problem
    formats = {"forward": problem.y_format, "backward_input": problem.x_format}
    order = formats.get(direction, "nchw")
    result = workspace.empty(trial.expected.shape, "float32", order)
    result[...] = np.nan
    ALGORITHMS[algorithm].plan(problem, CORES)(*trial.operands(), result, None, False)
    bound = ALGORITHMS[algorithm].cost(problem, CORES).error
    assert_close(result, trial.expected, bound)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    ("layer", "algorithm"),
    [
        ("depthwise-3x3-s2", "depthwise"),
        ("lenet-conv1", "direct"),
        ("lenet-conv1", "winograd"),
        ("batch1-14x14", "direct"),
        ("batch1-14x14", "winograd"),
        ("batch1-1x1", "direct"),
        ("vgg16-conv5.2", "winograd"),
        ("grouped-3x3-g32", "direct"),
    ],
)
def test_layers_feed_all_cores(layer, algorithm, direction, monkeypatch):
    workers = []
    monkeypatch.setattr(threads, "launch", lambda kernel, pointer, n: workers.append(n))
    (problem,) = (one.problem for one in shipped() if one.name == layer)
    problem = problem._replace(direction=direction, x_format="nhwc", y_format="nhwc")
    shapes = dict(x=problem.x_shape, y=problem.y_shape, w=problem.w_shape)
    orders = dict(x="nhwc", y="nhwc", w="nchw")
    names = {"forward": "xwy", "backward_input": "ywx", "backward_weight": "xyw"}[direction]
    arrays = [workspace.empty(shapes[name], "float32", orders[name]) for name in names]
    arrays[-1].fill(0)
    ALGORITHMS[algorithm].plan(problem, CORES)(*arrays, None, False)
    assert 0.7 * CORES < max(workers) <= CORES


def test_workers_have_enough_to_do():
    assert workers_for(0, 100, CORES) == 1
    assert workers_for(10**9, 100, CORES) == CORES
    assert workers_for(10**9, 3, CORES) == 3
    assert workers_for(0, 100, CORES, 100 << 20) == CORES  # they wait for memory
    counts = [workers_for(flops, 100, CORES) for flops in range(0, 40_000_000, 500_000)]
    assert counts == sorted(counts) and set(counts) == set(range(1, CORES + 1))


@pytest.mark.parametrize("workers", [2, CORES])
def test_others_do_not_pay_where_they_wait_for_what_one_writes(workers):
    few, many = 3_000_000, 300_000_000
    assert pays(few, workers, 16 << 10) and not pays(few, workers, 1 << 20)
    assert pays(many, workers, 1 << 20)
    assert pays(many, workers, 1 << 40)  # which no cache holds


@pytest.mark.parametrize(
    ("algorithm", "case"),
    [
        ("direct", cases.Case("squeezed", 1, 512, 1, 1, 2048, 1, 1)),
        ("direct", cases.Case("tiny-image", 1, 64, 2, 2, 256, 3, 3, padding=1)),
        ("im2col", cases.Case("large-filters", 1, 512, 2, 2, 1024, 3, 3, padding=1)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_packing_is_work_too(algorithm, case):
    problem = Trial(case, "forward", order="nhwc").problem
    (part,) = ALGORITHMS[algorithm]._build(problem, 2)
    assert part.workers == 2


@pytest.mark.parametrize(("algorithm", "size"), [("direct", 6), ("winograd4", 12)])
@pytest.mark.parametrize(("images", "alone"), [(1, True), (640, False)])
def test_a_worker_that_is_alone_packs_the_filters_too(algorithm, size, images, alone):
    """They are so few, a vector, that tasks do not map their own."""
    case = cases.Case("small-image", images, 40, size, size, lanes(4), 3, 3, padding=1)
    (part,) = ALGORITHMS[algorithm]._build(Trial(case, "forward", order="nhwc").problem, 2)
    assert (part.workers == 1) == alone
    assert part.filters.threads == part.workers


@pytest.mark.parametrize(
    ("tasks", "idle"), [(1, True), (11, True), (12, False), (16, False), (17, True), (24, False)]
)
def test_what_leaves_workers_idle(tasks, idle):
    assert leave_idle(tasks, CORES) is idle


def test_blocks_are_cut_evenly_until_all_cores_are_fed():
    c = unfolded(Trial(cases.Case("batch", 8, 16, 12, 12, 16, 3, 3, padding=1), "forward").problem)

    def cut(*arguments, tile=1):
        return fed(c, *arguments, lambda n, i, j: -(-n * i * j // tile) * tile)

    assert cut(8, 12, 12, 16, CORES) == (8, 12)  # tiles of filters are enough
    assert cut(8, 12, 12, 1, 2) == (4, 12)
    assert cut(8, 12, 12, 1, 8) == (1, 12)
    assert cut(8, 12, 12, 1, 4 * CORES) == (1, 2)
    assert cut(8, 12, 12, 1, 4 * CORES, tile=36) == (1, 3)  # less would fill no register tile
    assert cut(1, 1, 12, 1, 1000) == (1, 1)  # as small as blocks get


@pytest.mark.parametrize("cores", [2, 8, CORES])
def test_little_work_is_not_cut_for_workers_that_do_not_start(cores):
    """Blocks of less than a register tile take as long as a whole one."""
    problem = Trial(cases.Case("little", 1, 64, 7, 7, 16, 1, 1), "forward", order="nhwc").problem
    part = SplitCorrelation(unfolded(problem), 4, "nhwc", "nhwc", cores)
    assert part.workers == part.tasks == 1


@pytest.mark.parametrize(("cores", "filters"), [(3, 256), (4, 320), (8, 640), (CORES, 1280)])
def test_tasks_pack_filters_where_tiles_are_enough(cores, filters):
    case = cases.Case("few-pixels", 1, 256, 14, 14, filters, 1, 1)
    c = unfolded(Trial(case, "forward", order="nhwc").problem)
    assert packs_filters_itself(c, "nhwc", cores)
    assert DirectCorrelation(c, 4, "nhwc", "nhwc", cores).packs


def test_an_input_that_parities_share_is_read_once():
    case = cases.Case("parities", 1, 96, 28, 28, 96, 3, 3, stride=3, padding=1, groups=96)
    problem = Trial(case, "backward_input", order="nhwc").problem
    parts = backward_input(problem, None)
    plan = DepthwiseSum(parts, 4, "nhwc", CORES)
    assert len(parts) > 1 and plan.workers <= workers_for(0, CORES, CORES, problem.nbytes)
