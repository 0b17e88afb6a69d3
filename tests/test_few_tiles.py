"""Bilinear algorithms where tiles are few: filters are mapped, and mapped back, in the cache.

Tasks of a correlation map the filters that they alone need; weight gradients sum all tiles at once.
"""

from __future__ import annotations

import dataclasses

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Fences, Trial, assert_close

import fastconv as fc
from fastconv.conv._bilinear import _best_grid
from fastconv.conv._parts import plan_of_parts
from fastconv.conv._product import parts_of
from fastconv.conv.registry import ALGORITHMS
from fastconv.core import workspace
from fastconv.core.machine import machine
from fastconv.gemm import sharing
from fastconv.plans.bilinear import few_tiles_weight, shares
from fastconv.plans.bilinear.correlation import BilinearCorrelation
from fastconv.plans.bilinear.few_tiles_weight import FewTilesWeight
from fastconv.plans.bilinear.shares import Cutting
from fastconv.plans.kept_filters import KeptFilters

# Chunks of channels that are not whole; filters that end within a tile of lanes; groups.
CASES = (
    cases.Case("few-tiles", 1, 272, 7, 7, 272, 3, 3, padding=1),
    cases.Case("few-tiles-ragged", 3, 201, 6, 9, 305, 3, 3, padding=1),
    cases.Case("few-tiles-groups", 1, 400, 8, 8, 320, 3, 3, padding=1, groups=2),
    cases.Case("few-tiles-dilation", 1, 264, 9, 8, 260, 3, 3, padding=2, dilation=2),
    cases.Case("few-tiles-line", 1, 290, 3, 15, 280, 1, 5, padding=(0, 2)),
)
MACHINE = dataclasses.replace(machine(), l2=1 << 20, l3=32 << 20)
directions = pytest.mark.parametrize("direction", ["forward", "backward_input"])
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _part(case, direction, algorithm="winograd", threads=2):
    ((_, (part,)),) = parts_of(ALGORITHMS[algorithm], Trial(case, direction).problem, threads)
    return part


@directions
@each
def test_tasks_map_their_filters(case, direction):
    part = _part(case, direction)
    if machine().isa.registers < 32 and not part.share.maps:
        pytest.skip("smaller tiles of filters share the cache with more of them")
    assert part.share.maps and part.share.tiles >= part.grid.tiles
    assert part.tasks >= 2
    assert part.worker_bytes <= machine().l2


def test_short_vectors_move_sums_and_inputs_in_less_time(monkeypatch):
    """In multiply-adds, of which cores with such vectors make two at a time."""
    part, cycles = _part(CASES[0], "forward"), {}
    for nbytes in (32, 64):
        isa = dataclasses.replace(MACHINE.isa, vector_bytes=nbytes)
        monkeypatch.setattr(
            shares, "machine", lambda isa=isa: dataclasses.replace(MACHINE, isa=isa)
        )
        cutting = Cutting(part.grid, 8, 4, 6, 2, 0, False)
        share = shares.Share(part.grid.tiles, 4, 32, True)
        filters = cutting.components * 8 * shares._MAPPED + 8 * cutting._filter_map
        cycles[nbytes] = cutting._within(share, 8) - part.grid.depth * filters
    assert 0 < cycles[32] == pytest.approx(shares._SHORT_MOVES * cycles[64])


def test_tasks_share_what_is_spread_of_the_input():
    """Where there are more of them than workers, if the last cache holds it."""
    part = _part(cases.Case("", 8, 512, 7, 7, 512, 3, 3, padding=1), "forward")
    if not part.share.maps or part.tasks <= part.workers:
        pytest.skip("this cache has room for more, or for less")
    assert part.share.shared and part.v_bytes == 0
    own = part.filters.nbytes + part.workers * part.worker_bytes
    assert part.nbytes - own >= part.tiling.components * part.grid.tiles * part.c.channels * 4


@each
def test_sums_go_straight_to_dw(case):
    part = _part(case, "backward_weight")
    assert isinstance(part, FewTilesWeight)
    multiplied = part.v_chunk + part.joined * part.m_unit + part.u_bytes
    assert multiplied <= machine().l2 * 3 // 4


@each
def test_a_chunk_serves_two_tiles_of_filters(case, monkeypatch):
    """Rather in three quarters of the cache than one tile in half of it."""
    part = _part(case, "backward_weight")
    needed = part.v_chunk + 2 * part.m_unit + part.u_bytes
    small = dataclasses.replace(machine(), l2=needed * 4 // 3 + 64)
    monkeypatch.setattr(few_tiles_weight, "machine", lambda: small)
    problem = Trial(case, "backward_weight").problem
    assert FewTilesWeight(problem, part.tiling, 2).joined == 2


@pytest.mark.parametrize("threads", [2, 4, 16])
@each
def test_every_worker_has_sums_to_do(case, threads):
    part = _part(case, "backward_weight", threads=threads)
    assert part.workers > 1
    assert part.workers <= case.groups * part.strips * part.cuts
    assert part.strips * part.joined >= part.tiles_k and part.cuts <= part.n_chunks


@pytest.mark.parametrize(
    "case",
    [
        cases.Case("many-tiles", 16, 64, 40, 40, 64, 3, 3, padding=1),
        cases.Case("strided", 1, 260, 15, 15, 260, 3, 3, 2, 1),
    ],
    ids=lambda case: case.name,
)
def test_others_have_them_mapped(case):
    assert not _part(case, "forward").share.maps
    assert not isinstance(_part(case, "backward_weight"), FewTilesWeight)


@pytest.mark.usefixtures("no_second_try")
@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ["winograd", "winograd2", "fft"])
@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@each
def test_results(case, direction, algorithm, dtype, order):
    trial = Trial(case, direction, dtype, order)
    for threads in (1, 2):
        with fc.options(num_threads=threads):
            result = trial.run(algorithm, *trial.operands())
        assert_close(result, trial.expected, trial.bound(algorithm))


def test_last_cache_holds_both_operands(monkeypatch):
    """Else the sums of a stretch of tiles go through memory, as those of many tiles do."""
    case = CASES[0]
    part = _part(case, "backward_weight")
    small = dataclasses.replace(machine(), l3=part.v_bytes + part.m_bytes)
    monkeypatch.setattr(sharing, "machine", lambda: small)
    trial = Trial(case, "backward_weight")
    part = few_tiles_weight.bilinear_weight(trial.problem, part.tiling, 2)
    assert not isinstance(part, FewTilesWeight)


@pytest.mark.usefixtures("no_second_try")
@directions
@pytest.mark.parametrize("threads", [1, 2, 64])
@pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.name)
def test_shared_input(case, threads, direction, fences, monkeypatch):
    """Whether it pays or not: chunks that are not whole, groups, fewer chunks than workers."""
    within = Cutting.mapped_within

    def shared(cutting, threads):
        for share in within(cutting, threads):
            if share.shared and cutting.run_channels % share.chunk > 0:
                yield share

    monkeypatch.setattr(shares, "machine", lambda: MACHINE)  # room for all cases
    monkeypatch.setattr(Cutting, "mapped_within", shared)
    for other in ("mapped_before", "rows_mapped_before"):
        monkeypatch.setattr(Cutting, other, lambda *_: ())
    trial = Trial(case, direction)
    grid = _best_grid(ALGORITHMS["winograd"], trial.problem)
    part = BilinearCorrelation(grid.c, 4, "nchw", grid.tiling, threads)
    own = part.filters.nbytes + part.workers * part.worker_bytes
    assert part.nbytes - own == part.cutting.shared_bytes(part.share) > 0
    result = fences.output(trial.expected.shape, np.float32, "nchw")
    plan_of_parts(trial.problem, [part], threads)(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, trial.bound("winograd"))


@pytest.mark.usefixtures("no_second_try")
@pytest.mark.parametrize("direction", ["forward", "backward_input", "backward_weight"])
@pytest.mark.parametrize("threads", [1, 3, 64])
def test_plans_for_other_numbers_of_threads(threads, direction):
    """Workers run one after another."""
    trial = Trial(CASES[1], direction)
    result = np.full(trial.expected.shape, np.nan, np.float32)
    ALGORITHMS["winograd"].plan(trial.problem, threads)(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, ALGORITHMS["winograd"].cost(trial.problem, threads).error)


@each
def test_kept_filters_and_bias(case):
    """A layer that keeps its filters has them mapped for all tasks, in chunks of the same size."""
    x, w = Trial(case, "forward").operands()
    bias = np.linspace(-30, 30, case.K, dtype=np.float32)
    layer = fc.nn.Conv2d(
        case.C, case.K, case.w_shape[2:], padding=case.padding, dilation=case.dilation,
        groups=case.groups,
    )  # fmt: skip
    layer.weight.data[...], layer.bias.data[...] = w, bias
    given = fc.conv2d(x, w, bias, *case.arguments, algorithm="winograd")
    plain = fc.conv2d(x, w, None, *case.arguments, algorithm="winograd")
    np.testing.assert_allclose(given, plain + bias[:, None, None], rtol=1e-4, atol=1e-4)
    with fc.no_grad(), fc.options(algorithm="winograd"):
        for _ in range(2):
            np.testing.assert_array_equal(layer(fc.Tensor(x)).numpy(), given)


def test_weights_beside_those_that_are_kept(monkeypatch):
    """One plan that runs twice in a block: the second weights are left to the tasks again."""
    workspace.release()  # so that scratch is taken anew, between fences
    fences = Fences()
    monkeypatch.setattr(workspace, "np", fences)
    kept = KeptFilters()
    case = CASES[0]
    trials = [Trial(case, "forward"), Trial(case._replace(name="others"), "forward")]
    with kept.reused():
        for trial in trials:
            result = trial.run("winograd", *trial.operands())
            assert_close(result, trial.expected, trial.bound("winograd"))
            fences.assert_hold()


@directions
def test_not_finite(direction):
    """The values of a tile are mixed: a second try tells who must not see an infinity."""
    trial = Trial(CASES[0], direction)
    first, second = trial.operands()
    first[0, 3, 2, 2] = np.inf
    expected = trial.run("direct", first, second)
    np.testing.assert_array_equal(
        np.isfinite(trial.run("winograd", first, second)), np.isfinite(expected)
    )
