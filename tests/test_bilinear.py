"""The bilinear algorithms: their compiled maps, every tiling they offer, and how they divide work.

Scratch starts as NaN: a kernel that reads more than it wrote has results that are not finite.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools

import cases
import numpy as np
import oracle
import pytest
from cases import Case
from harness import DIRECTIONS, DTYPES, Trial, assert_close

import fastconv as fc
from fastconv.conv import _bilinear, _product
from fastconv.conv.fft import Fft
from fastconv.conv.registry import ALGORITHMS
from fastconv.conv.winograd import Winograd
from fastconv.core.address import address
from fastconv.core.machine import machine
from fastconv.plans.bilinear import filters
from fastconv.plans.bilinear.grid import TileGrid
from fastconv.simd.copying import LINE
from fastconv.simd.vector import lanes
from fastconv.transforms.maps import gather, spread, spread_taps, vectors_abreast
from fastconv.transforms.program import apply
from fastconv.transforms.tile_map import (
    FOURIER,
    GRADIENT,
    INPUT,
    OUTPUT,
    WEIGHT,
    WEIGHT_GRADIENT,
    Tiling,
    tile_map,
)

MAPS = {
    "input": INPUT,
    "weight": WEIGHT,
    "output": OUTPUT,
    "gradient": GRADIENT,
    "weight-gradient": WEIGHT_GRADIENT,
}
BILINEAR = ("winograd", "winograd2", "winograd4", "winograd6", "fft")

directions = pytest.mark.parametrize("direction", DIRECTIONS)


pytestmark = pytest.mark.usefixtures("no_second_try")

# Maps -----------------------------------------------------------------------------------------

TILINGS = (
    Tiling(2, 3, 2, 3), Tiling(4, 3, 4, 3), Tiling(6, 3, 6, 3), Tiling(4, 5, 4, 5),
    Tiling(2, 7, 2, 7), Tiling(6, 5, 6, 5), Tiling(4, 3, 2, 5), Tiling(1, 1, 6, 3),
    Tiling(5, 2, 1, 1), Tiling(6, 3, 6, 3, FOURIER), Tiling(8, 5, 10, 3, FOURIER),
    Tiling(1, 12, 12, 1, FOURIER), Tiling(14, 11, 20, 5, FOURIER),
)  # fmt: skip
# One of each kind; those below are compiled too, in float32.
COMPILED = (TILINGS[2], TILINGS[6], TILINGS[7], TILINGS[9])


def _component_matrix(which, tiling):
    """The map in NumPy: ``[component, row of the tile, column of the tile]``, gathering or not."""
    t = tile_map(which, tiling)
    lines = [(rows.program, rows.lines) for rows in t.horizontal for _ in range(rows.count)]
    if which in (OUTPUT, WEIGHT_GRADIENT):
        middle, ones = [], np.eye(tiling.components)
        for program, n in lines:
            line, ones = apply(program, ones[: program.inputs]), ones[program.inputs :]
            middle += [line[i::n] for i in range(n)]
        middle = np.array(middle)
        matrix = apply(t.vertical, middle.reshape(len(middle), -1))
    else:
        tiles = np.eye(t.rows * t.columns)
        middle = apply(t.vertical, tiles.reshape(t.rows, -1)).reshape(-1, t.columns, len(tiles))
        components = []
        for program, n in lines:
            line, middle = middle[:n], middle[n:]
            components.append(apply(program, line.swapaxes(0, 1).reshape(-1, len(tiles))))
        matrix = np.concatenate(components).T
    return matrix.reshape(t.rows, t.columns, -1).transpose(2, 0, 1)


def _correlated(x, w, m_rows, m_columns):
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape)[:m_rows, :m_columns]
    return np.einsum("ijrs,rs->ij", windows, w)


@pytest.mark.parametrize("tiling", TILINGS, ids=str)
def test_maps_make_a_correlation_and_its_adjoint(tiling):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(tiling.rows, tiling.columns))
    w = rng.normal(size=(tiling.r_rows, tiling.r_columns))
    dy = rng.normal(size=(tiling.m_rows, tiling.m_columns))
    maps = {name: _component_matrix(which, tiling) for name, which in MAPS.items()}

    def spreading(name, tile):
        return np.einsum("eij,ij->e", maps[name], tile)

    def gathering(name, components):
        return np.einsum("eij,e->ij", maps[name], components)

    y = gathering("output", spreading("input", x) * spreading("weight", w))
    np.testing.assert_allclose(y, _correlated(x, w, *dy.shape), atol=1e-12)
    dw = gathering("weight-gradient", spreading("input", x) * spreading("gradient", dy))
    np.testing.assert_allclose(dw, _correlated(x, dy, *w.shape), atol=1e-12)


def _compiled(make, arity, itemsize, which, tiling):
    function = make(itemsize, *which, tiling)
    # The first two words are numba's: where to return a value, and an exception.
    compiled = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_int64] * (2 + arity))(function.address)
    unused = np.zeros(1, np.int64)
    hidden = [address(unused)] * 2
    return lambda *words: compiled(*hidden, *words), (function, unused)  # which have to stay


def _memory(fences, shape, dtype):
    """Between fences, on a cache line, NaN until it is written."""
    return fences.output(shape, dtype, "nchw")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("which", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("tiling", COMPILED, ids=str)
def test_compiled_maps_are_their_matrices(tiling, which, dtype, fences):
    """Three tiles that overlap or not, in memory with gaps that nobody may write."""
    itemsize = np.dtype(dtype).itemsize
    n, count = lanes(itemsize), 3
    t, matrix = tile_map(which, tiling), _component_matrix(which, tiling)
    rng = np.random.default_rng(5)
    temp = _memory(fences, (tiling.components, n), dtype)
    room = (count, tiling.components + 1, n)
    limit = 60 * matrix.size**0.5 * np.finfo(dtype).eps * np.abs(matrix).max()
    if which in (OUTPUT, WEIGHT_GRADIENT):
        components = _memory(fences, room, dtype)
        components[:, :-1] = rng.normal(size=(count, tiling.components, n))
        tiles = _memory(fences, (t.rows, count, t.columns + 1, n), dtype)
        bias = _memory(fences, (count, n), dtype)
        bias[:] = rng.normal(size=bias.shape)
        flag = np.zeros(1, np.int64)
        run, _alive = _compiled(gather, 13, itemsize, [which], tiling)
        at = (address(components), *components.strides[:2], address(tiles), tiles.strides[1])
        steps = (tiles.strides[0], tiles.strides[2], address(temp), address(bias), bias.strides[0])
        exact = np.einsum("eij,tel->itjl", matrix, components[:, :-1].astype(float))
        exact += bias[:, None]
        for relu in (0, 1):
            tiles[...] = np.nan
            run(count, *at, *steps, relu, address(flag))
            expected = np.maximum(exact, 0) if relu else exact
            np.testing.assert_allclose(tiles[:, :, :-1], expected, rtol=0, atol=limit)
            assert np.isnan(tiles[:, :, -1]).all(), "written beside the tiles"
            assert flag[0] == 0
        for value in (np.nan, np.inf):
            flag[0] = 0
            components[1, tiling.components // 2, n - 1] = value
            run(count, *at, *steps, 1, address(flag))
            assert flag[0] == 1
        return
    apart = max(1, t.columns - 1)  # so that tiles overlap, as windows do
    tiles = _memory(fences, (t.rows, count * apart + 1, n), dtype)
    tiles[...] = rng.normal(size=tiles.shape)
    components = _memory(fences, room, dtype)
    rows, columns = tiles.strides[:2]
    words = (
        count, address(tiles), apart * columns, rows, columns,
        address(components), *components.strides[:2], address(temp),
    )  # fmt: skip
    if which == WEIGHT:
        run, _alive = _compiled(spread_taps, 9, itemsize, [], tiling)
        parts = [()]
    else:
        run, _alive = _compiled(spread, 13, itemsize, [which], tiling)
        whole = (0, t.rows, 0, t.columns)
        parts = [whole, (1, t.rows, 0, 1), (0, t.rows - 1, t.columns - 1, t.columns), (0, 0, 0, 0)]
    for part in parts:
        run(*words, *part)
        for i in range(count):
            tile = tiles[:, i * apart : i * apart + t.columns].astype(float)
            top, bottom, left, right = part or (0, t.rows, 0, t.columns)
            there = np.zeros_like(tile)
            there[top:bottom, left:right] = tile[top:bottom, left:right]
            expected = np.einsum("eij,ijl->el", matrix, there)
            np.testing.assert_allclose(components[i, :-1], expected, rtol=0, atol=limit)
    assert np.isnan(components[:, -1]).all(), "written beside the components"
    if which != WEIGHT:
        tiles[...] = np.nan
        nowhere = (count, 0, *words[2:])  # where nothing can be read at all
        for where, part in ((words, (0, t.rows, t.columns, t.columns)), (nowhere, (0, 0, 0, 0))):
            components[:, :-1] = np.nan
            run(*where, *part)
            assert (components[:, :-1] == 0).all(), "read what is not there"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("tiling", COMPILED, ids=str)
def test_streamed_components_fill_cache_lines(tiling, dtype, fences):
    """Two lines of every component, the tiles of a line side by side, and a gap behind."""
    itemsize = np.dtype(dtype).itemsize
    n, count = lanes(itemsize), 2 * vectors_abreast(lanes(itemsize) * itemsize)
    matrix = _component_matrix(WEIGHT, tiling)
    rng = np.random.default_rng(7)
    tiles = _memory(fences, (tiling.r_rows, tiling.r_columns, count, n), dtype)
    tiles[...] = rng.normal(size=tiles.shape)
    components = _memory(fences, (tiling.components, 2 * count, n), dtype)
    temp = _memory(fences, (vectors_abreast(n * itemsize) * tiling.components, n), dtype)
    run, _alive = _compiled(functools.partial(spread_taps, streaming=True), 9, itemsize, [], tiling)
    rows, columns, tile, _ = tiles.strides
    component, step, _ = components.strides
    run(
        count, address(tiles), tile, rows, columns, address(components), step, component,
        address(temp),
    )  # fmt: skip
    limit = 60 * matrix.size**0.5 * np.finfo(dtype).eps * np.abs(matrix).max()
    expected = np.einsum("eij,ijtl->etl", matrix, tiles.astype(float))
    np.testing.assert_allclose(components[:, :count], expected, rtol=0, atol=limit)
    assert np.isnan(components[:, count:]).all(), "written beside the components"


# Tilings --------------------------------------------------------------------------------------

# A stride gives phases, a dilation lattices; the images are larger than one tile of any tiling.
FORCED = [("winograd", tiling) for r in (2, 3, 5) for tiling in Winograd().tilings(r, r)]
FORCED += [("winograd", tiling) for tiling in Winograd(2).tilings(9, 7)]
FORCED += [("winograd6", tiling) for tiling in Winograd(6).tilings(5, 3)]
FORCED += [("fft", tiling) for tiling in Fft().tilings(3, 5)]


@pytest.fixture
def tiling(request, monkeypatch, planned_anew):
    """Every bilinear algorithm takes this tiling."""

    def only(algorithm, problem):
        return TileGrid(_bilinear._correlation(problem), request.param[1])

    monkeypatch.setattr(_bilinear, "_best_grid", only)
    return request.param


@pytest.mark.parametrize("tiling", FORCED, ids=str, indirect=True)
def test_every_tiling_in_every_pass(tiling):
    algorithm, t = tiling
    size = (min(t.m_rows, 14) + t.r_rows + 2, t.m_columns + t.r_columns + 3)
    case = Case(f"tiling-{t.rows}", 1, 5, *size, 19, t.r_rows, t.r_columns, padding=1)
    for direction in DIRECTIONS:
        trial = Trial(case, direction)
        problem = trial.problem
        result = np.full(trial.expected.shape, np.nan, np.float32)
        bound = ALGORITHMS[algorithm].cost(problem, 1).error
        ALGORITHMS[algorithm].plan(problem, 1)(*trial.operands(), result, None, False)
        assert_close(result, trial.expected, bound)


# Work -----------------------------------------------------------------------------------------

LARGE = (
    Case("large-segments", 2, 5, 50, 150, 33, 3, 3, padding=1),
    Case("large-lattices", 2, 17, 41, 67, 40, 3, 3, padding=3, dilation=(3, 2)),
    Case("large-phases", 2, 7, 61, 83, 40, 5, 5, stride=(2, 3), padding=2),
    Case("large-groups", 1, 21, 37, 53, 99, 3, 3, padding=1, groups=3),
    Case("large-stride-beyond-window", 1, 6, 70, 90, 36, 3, 2, stride=(2, 3)),
    Case("large-vectors", 2, 16, 50, 61, 24, 3, 3, padding=1),
    Case("large-vectors-phases", 2, 8, 61, 83, 16, 5, 5, stride=(2, 3), padding=2),
    Case("large-vectors-lattices", 1, 32, 41, 67, 40, 3, 3, padding=3, dilation=(3, 2)),
    Case("large-depth", 1, 300, 13, 17, 40, 3, 3, padding=1),
)


@pytest.mark.parametrize("algorithm", ["winograd", "winograd2", "fft"])
@pytest.mark.parametrize(("dtype", "order"), [("float32", "nchw"), ("float64", "nhwc")])
@directions
@pytest.mark.parametrize("case", LARGE, ids=lambda case: case.name)
def test_many_tasks_repeat_bit_by_bit(case, direction, dtype, order, algorithm):
    """More stretches than threads, more threads than stretches; the same sum on as many threads."""
    trial = Trial(case, direction, dtype, order)
    operands = trial.operands()
    for workers in (1, 2):
        with fc.options(num_threads=workers):
            results = [trial.run(algorithm, *operands) for _ in range(3)]
        assert_close(results[0], trial.expected, trial.bound(algorithm))
        assert len({result.tobytes() for result in results}) == 1


@pytest.mark.parametrize("size", [(96, 96), (60, 130), (33, 45)], ids=str)
@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_tasks_that_store_planes_take_whole_rows_of_tiles(direction, size):
    """Or all tiles; so no two workers write to the same cache lines."""
    trial = Trial(Case(f"planes-{size}", 2, 32, *size, 32, 3, 3, padding=1), direction)
    ((_, (part,)),) = _product.parts_of(ALGORITHMS["winograd"], trial.problem, 2)
    assert part.share.tiles % part.grid.shape[1] == 0 or part.share.tiles >= part.grid.tiles
    assert_close(trial.run("winograd", *trial.operands()), trial.expected, trial.bound("winograd"))


@pytest.mark.parametrize("tiling", [Tiling(6, 3, 6, 3), Tiling(4, 3, 4, 3), Tiling(5, 3, 5, 3)])
def test_stretches_of_planes_are_whole_rows_or_whole_cache_lines(tiling):
    for columns in (30, 300, 3000):
        case = Case(f"columns-{columns}", 1, 32, 12, columns, 32, 3, 3, padding=1)
        trial = Trial(case, "forward")
        grid = TileGrid(_bilinear._correlation(trial.problem), tiling)
        tiles = grid.output_segment(64, 1)
        assert tiles == grid.shape[1] or tiles * tiling.m_columns % 16 == 0


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
@pytest.mark.parametrize(("rows", "thinness"), [(1, 3), (2, 1.5), (24, 1)])
def test_images_thinner_than_a_window_may_have_larger_errors(rows, thinness, direction):
    """Of the results, which are so much smaller."""
    tiling, winograd = Tiling(4, 3, 4, 3), ALGORITHMS["winograd"]
    problem = Trial(Case("thin", 2, 64, rows, 24, 64, 3, 3, padding=1), direction).problem
    grid = TileGrid(_bilinear._correlation(problem), tiling)
    terms, rounding = 6 + 64**0.5, 2.0**-23
    expected = 3 * (winograd.growth(tiling) * thinness) ** 0.5 * terms * rounding
    assert _bilinear._error(winograd, problem, grid) == pytest.approx(expected)


@directions
@pytest.mark.parametrize("algorithm", BILINEAR)
def test_a_plan_for_more_threads_than_tasks(algorithm, direction):
    """Plans are made for 64 threads, whatever this machine has; workers run one after another."""
    trial = Trial(cases.BY_NAME["medium-3x3"], direction)
    plan = ALGORITHMS[algorithm].plan(trial.problem, 64)
    result = np.full(trial.expected.shape, np.nan, np.float32)
    plan(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, ALGORITHMS[algorithm].cost(trial.problem, 64).error)


@pytest.mark.parametrize("filters_per_group", [32, 41])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ["winograd", "fft"])
@pytest.mark.usefixtures("planned_anew")
def test_filters_that_outgrow_the_caches(algorithm, dtype, filters_per_group, monkeypatch):
    """Their components go past the caches, if they fill whole cache lines."""
    monkeypatch.setattr(filters, "machine", lambda: dataclasses.replace(machine(), l3=0))
    case = Case("far", 2, 66, 24, 25, 2 * filters_per_group, 3, 3, padding=1, groups=2)
    trial = Trial(case, "forward", dtype)
    ((_, (part,)),) = _product.parts_of(ALGORITHMS[algorithm], trial.problem, 2)
    assert not part.share.maps
    # Where vectors are short, those of a tile may leave a part of a cache line.
    assert part.filters.streamed or part.width * np.dtype(dtype).itemsize % LINE > 0
    assert_close(trial.run(algorithm, *trial.operands()), trial.expected, trial.bound(algorithm))


@directions
@pytest.mark.parametrize("algorithm", BILINEAR)
@pytest.mark.usefixtures("planned_anew")
def test_pieces_where_the_workspace_is_exceeded(algorithm, direction, monkeypatch):
    monkeypatch.setattr(_product, "WORKSPACE", 1 << 18)
    case = Case("pieces", 1, 66, 12, 13, 98, 3, 3, padding=1)
    trial = Trial(case, direction)
    assert len(_product.parts_of(ALGORITHMS[algorithm], trial.problem, 1)) > 1
    result = np.full(trial.expected.shape, np.nan, np.float32)
    ALGORITHMS[algorithm].plan(trial.problem, 1)(*trial.operands(), result, None, False)
    assert_close(result, trial.expected, trial.bound(algorithm))


@pytest.mark.usefixtures("planned_anew")
def test_pieces_have_the_bias_of_their_outputs(monkeypatch):
    monkeypatch.setattr(_product, "WORKSPACE", 1 << 18)
    case = Case("pieces", 1, 66, 12, 13, 98, 3, 3, padding=1)
    trial = Trial(case, "backward_input")
    algorithm = ALGORITHMS["winograd"]
    assert len(_product.parts_of(algorithm, trial.problem, 1)) > 1
    bias = np.linspace(-40, 40, case.C, dtype=np.float32)
    result = np.full(case.x_shape, np.nan, np.float32)
    algorithm.plan(trial.problem, 1)(*trial.operands(), result, bias, False)
    expected = oracle.transposed(*trial.operands(), bias, 1, 1, 0, 1, 1)
    assert_close(result, expected, trial.bound("winograd"))


@pytest.mark.parametrize("algorithm", [*BILINEAR, "auto"])
def test_empty_batches(algorithm):
    w = np.ones((7, 5, 3, 3), np.float32)
    x, dy = np.zeros((0, 5, 8, 9), np.float32), np.zeros((0, 7, 6, 7), np.float32)
    assert fc.conv2d(x, w, algorithm=algorithm).shape == dy.shape
    assert fc.grad.conv2d_input(x.shape, w, dy, algorithm=algorithm).shape == x.shape
    dw = fc.grad.conv2d_weight(x, w.shape, dy, algorithm=algorithm)
    np.testing.assert_array_equal(dw, np.zeros_like(w))
