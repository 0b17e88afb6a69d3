"""How workers share out the sums of weight gradients, and that all of it is done, by whomever."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from cases import Case
from harness import Trial, assert_close

from fastconv.conv.registry import ALGORITHMS
from fastconv.core import threads
from fastconv.core.machine import matrix_unit
from fastconv.gemm import sharing
from fastconv.gemm.sharing import EVEN, cuts, share_out, spare_copies, total_weight
from fastconv.plans.bilinear import few_tiles_weight, line_weight
from fastconv.plans.bilinear import weight as bilinear_weight
from fastconv.plans.blocked import weight as blocked_weight
from fastconv.plans.blocked import weight_stages
from fastconv.plans.depthwise import weight as depthwise_weight
from fastconv.plans.lines import planar_weight
from fastconv.plans.split import weight as split_weight
from fastconv.plans.sum_tasks import sum_tasks, tiles_met

# Where plans of weight gradients ask for their tasks.
PLANS = (
    bilinear_weight, depthwise_weight, line_weight, planar_weight, split_weight, weight_stages,
)  # fmt: skip

CASES = {
    "direct": Case("many-pixels", 8, 3, 40, 48, 20, 3, 3, padding=1),
    "im2col": Case("many-pixels-strided", 8, 5, 80, 96, 20, 3, 3, stride=2, padding=1),
    "winograd": Case("many-tiles", 16, 20, 80, 64, 24, 3, 3, padding=1),
    "depthwise": Case("many-images", 48, 32, 24, 48, 32, 3, 3, padding=1, groups=32),
    "bf16x3": Case("many-blocks", 32, 20, 48, 48, 24, 3, 3, padding=1),
}


@pytest.mark.parametrize("workers", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("blocks", [1, 7, 43, 640, 10_007])
def test_cuts_leave_nothing_out_and_nobody_idle(workers, blocks):
    copies = spare_copies(workers, 64, blocks // EVEN, 10**9)
    ends = cuts(blocks, copies, workers)
    shares = np.diff(ends)
    assert ends[0] == 0 and ends[-1] == blocks and len(shares) == copies and shares.min() > 0
    if copies > workers:
        first = np.arange(workers) * copies // workers  # of each worker's stretch of tasks
        large, small = shares[first], np.delete(shares, first)
        per_weight = blocks / total_weight(copies, workers)
        assert large.min() > small.max() and np.ptp(large) <= 1 and np.ptp(small) <= 1
        assert abs(shares[-1] - per_weight) <= 1


def test_cuts_of_a_multiple_of_the_weight_are_even():
    for workers, copies in ((2, 3), (2, 8), (5, 11), (4, 4), (3, 1)):
        shares = np.diff(cuts(6 * total_weight(copies, workers), copies, workers))
        assert set(shares) <= {6, 18}


def test_copies_to_spare_are_for_several_workers_and_many_pixels():
    assert spare_copies(1, 9, 10**6, 10**9) == 1
    assert spare_copies(2, 9, 10**6, 2000) == spare_copies(2, 9, 10**6, 0) == 1
    assert spare_copies(2, 9, 10**6, 10**9) > 2
    assert spare_copies(2, 9, 3, 10**9) == 1


def test_copies_to_spare_are_fewer_where_few_can_add_them_up():
    assert spare_copies(64, 64, 10**6, 200_000) > 64
    assert spare_copies(64, 1, 10**6, 200_000) == 1


def test_copies_to_spare_are_as_many_as_there_are_blocks_to_weigh_them_out():
    for blocks in range(1, 100):
        copies = spare_copies(8, 8, blocks, 10**9)
        assert copies == 1 or total_weight(copies, 8) <= blocks
    assert 1 < spare_copies(8, 8, 40, 10**9) < spare_copies(8, 8, 100, 10**9)


@pytest.mark.parametrize(
    ("n_blocks", "tiles", "groups"), [(1, 1, 3), (2, 3, 2), (3, 1, 2), (1, 5, 2)]
)
def test_tiles_met(n_blocks, tiles, groups):
    units = n_blocks * tiles * groups
    for first, last in itertools.combinations(range(units + 1), 2):
        group = first // tiles // n_blocks
        met = {u % tiles for u in range(first, last) if u // tiles // n_blocks == group}
        low, high = tiles_met.py_func(first, last, n_blocks, tiles)
        assert met <= set(range(low, high)) <= set(range(tiles))
        if (last - 1) // tiles == first // tiles:
            assert met == set(range(low, high))


def test_large_sums_are_divided_into_parts():
    large = 64 << 20, 10**9
    assert share_out(1, 1000, 16, *large, 4) == (1, 1)
    assert share_out(2, 1000, 16, *large, 1) == (1, 2)
    assert share_out(2, 1000, 16, *large, 4) == (1, 8)
    assert share_out(2, 1000, 3, *large, 4) == (1, 2)
    copies, parts = share_out(8, 1000, 3, *large, 4)
    assert copies * parts <= 8 and parts <= 3 and copies > 1


def test_large_sums_that_many_pixels_add_to_are_copied(monkeypatch):
    monkeypatch.setattr(sharing, "machine", lambda: SimpleNamespace(l2=1 << 20, l3=40 << 20))
    size = 2 << 20
    assert share_out(2, 1000, 16, size, 10**9, 4) == (2, 1)
    assert share_out(2, 1, 16, size, 10**9, 4) == (1, 8), "one block"
    assert share_out(2, 1000, 16, size, 2000, 4) == (1, 8), "few pixels to each copy"
    assert share_out(2, 1000, 16, 10 << 20, 10**9, 4) == (1, 8), "bytes"
    assert share_out(16, 1000, 64, size, 5000, 4) == (4, 4), "workers with the same copy have parts"
    assert share_out(7, 1000, 64, size, 5000, 1) == (1, 7), "equal numbers of workers to a copy"
    assert share_out(16, 15, 64, 600 << 10, 10**9, 1) == (8, 2), "a block for each copy"
    assert share_out(4, 9, 64, size, 10**9, 1) == (1, 4), "copies of two and three blocks"


@pytest.mark.parametrize("turns", [2, 4])
@pytest.mark.parametrize("workers", [2, 3, 8, 64])
def test_more_parts_take_equal_workers_no_longer(workers, turns):
    for units in range(workers, 40 * workers):
        copies, parts = share_out(workers, 9, units, 64 << 20, 10**9, turns)
        tasks = [(part + 1) * units // parts - part * units // parts for part in range(parts)]
        done = [0] * workers
        for task in tasks:
            done[done.index(min(done))] += task
        assert copies == 1 and min(tasks) > 0 and max(done) <= -(-units // workers)


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("algorithm", CASES)
def test_results_do_not_depend_on_who_is_early(algorithm, order, monkeypatch):
    _assert_the_same_by_whomever(CASES[algorithm], algorithm, order, monkeypatch)


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "bf16x3"])
@pytest.mark.usefixtures("planned_anew")
def test_parts_of_large_sums_do_not_depend_on_who_is_early(algorithm, order, monkeypatch):
    monkeypatch.setattr(sharing, "machine", lambda: SimpleNamespace(l2=1, l3=1))
    case = Case("many-units", 3, 128, 12, 14, 256, 3, 3, padding=1)
    _assert_the_same_by_whomever(case, algorithm, order, monkeypatch)


def _assert_the_same_by_whomever(case, algorithm, order, monkeypatch):
    """One worker after the other: the first takes every task but those that others begin with."""
    if algorithm == "bf16x3" and not matrix_unit():
        pytest.skip("no matrix unit for bfloat16")
    shared = _noted(monkeypatch)
    trial = Trial(case, "backward_weight", "float32", order)
    plan = ALGORITHMS[algorithm].plan(trial.problem, 2)
    operands = trial.operands()
    results = []
    for launch in (threads.launch, threads.serially):
        monkeypatch.setattr(threads, "launch", launch)
        result = np.full(trial.expected.shape, np.nan, np.float32)
        plan(*operands, result, None, False)
        results.append(result)
    assert_close(results[0], trial.expected, trial.bound(algorithm))
    assert results[0].tobytes() == results[1].tobytes()
    assert shared
    assert all(workers == 2 < copies * parts for workers, copies, parts in shared), shared


@pytest.mark.usefixtures("planned_anew")
@pytest.mark.parametrize(("algorithm", "images"), [("direct", 1), ("im2col", 1), ("winograd", 2)])
def test_workers_with_parts_of_the_same_copy(algorithm, images, monkeypatch):
    """Sums too large for a cache, of pixels enough for two copies: two of four workers to each."""
    for module in (sharing, bilinear_weight, few_tiles_weight):
        monkeypatch.setattr(module, "machine", lambda: SimpleNamespace(l2=1, l3=1 << 30))
    shared = _noted(monkeypatch)
    case = Case("many-units-and-pixels", images, 64, 48, 44, 128, 3, 3, padding=1)
    trial = Trial(case, "backward_weight", "float32", "nhwc")
    result = np.full(trial.expected.shape, np.nan, np.float32)
    ALGORITHMS[algorithm].plan(trial.problem, 4)(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, trial.bound(algorithm))
    assert {(workers, copies) for workers, copies, _ in shared} == {(4, 2)}
    assert all(parts > 1 for _, _, parts in shared), shared


def _noted(monkeypatch) -> list[tuple[int, int, int]]:
    """Workers, copies and parts of all plans from now on."""
    shared = []

    def noted(workers, copies, parts, *rest):
        shared.append((workers, copies, parts))
        return sum_tasks(workers, copies, parts, *rest)

    for module in PLANS:
        monkeypatch.setattr(module, "sum_tasks", noted)
    return shared


@pytest.mark.parametrize("workers", [1, 2, 5, 64])
def test_plans_for_more_workers_than_threads(workers, monkeypatch):
    monkeypatch.setattr(blocked_weight, "workers_for", lambda flops, *most: min(most))
    trial = Trial(CASES["direct"], "backward_weight")
    result = np.full(trial.expected.shape, np.nan, np.float32)
    ALGORITHMS["direct"].plan(trial.problem, workers)(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, ALGORITHMS["direct"].cost(trial.problem, workers).error)
