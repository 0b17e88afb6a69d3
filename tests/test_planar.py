"""Where ``direct`` sums planes of few channels with pixels in the lanes, and in which shape."""

from __future__ import annotations

import dataclasses

import cases
import numpy as np
import pytest
from harness import DTYPES, Trial, assert_close
from numpy.testing import assert_array_equal

import fastconv as fc
from fastconv.conv._product import parts_of
from fastconv.conv.algorithm import sum_error
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.core.machine import machine
from fastconv.gemm.tiling import planar_tiles
from fastconv.plans.lines import planar
from fastconv.plans.lines.planar import PlanarCorrelation
from fastconv.simd.vector import lanes

SHORT, VECTOR = planar._SHORT, lanes(4)


@pytest.fixture(autouse=True)
def on_every_host(monkeypatch, planned_anew):
    """Planes also where short vectors of filters are faster."""
    monkeypatch.setattr(planar, "_SHORT", 0)


def _parts(x, w, *arguments, direction="forward", order="nchw", dtype="float32"):
    problem = described(x, w, *arguments, direction, dtype, order)
    return Direct()._build(problem, 2)


def _planar(*arguments, **options):
    return [isinstance(part, PlanarCorrelation) for part in _parts(*arguments, **options)]


@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((2, 1, 28, 28), (32, 1, 5, 5), (1, 2, 1, 1)),
        ((2, 3, 60, 60), (64, 3, 7, 7), (2, 3, 1, 1)),
        ((2, 16, 32, 32), (16, 16, 3, 3), (1, 1, 1, 1)),
        ((2, 16, 32, 32), (16, 8, 3, 3), (1, 2, 2, 2)),
        ((2, 200, 32, 32), (3, 200, 3, 3), (1, 1, 1, 1)),
        ((2, 20, 64, 64), (2, 20, 5, 5), (3, 1, 1, 1)),
    ],
    ids=["one-channel", "stem", "16-channels", "dilated-groups", "many-to-few", "few-by-threes"],
)
def test_planes_of_few_channels(x, w, arguments):
    if w[1] > 100 and w[0] >= lanes(4) // 2:
        pytest.skip("short vectors are full enough with so few filters")
    assert _planar(x, w, *arguments) == [True]
    assert _planar(x, w, *arguments, order="nhwc") == [False]


@pytest.mark.parametrize(
    ("x", "w", "arguments"),
    [
        ((2, 64, 32, 32), (64, 64, 3, 3), (1, 1, 1, 1)),
        ((2, 3, 32, 2), (16, 3, 3, 3), (1, 1, 1, 1)),
        ((2, 3, 32, 32), (16, 3, 1, 1), (1, 0, 1, 1)),
        ((1, 32, 1, 1_000_000), (32, 32, 1, 3), (1, 0, 1, 1)),
        ((2, 3, 64, 64), (64, 3, 4, 4), (4, 0, 1, 1)),
        ((2, 3, 64, 64), (2, 3, 3, 3), (3, 0, 1, 1)),
    ],
    ids=[
        *("many-channels", "short-rows", "one-tap", "rows-beyond-the-cache", "patches"),
        "patches-to-few",
    ],
)
def test_others_are_not(x, w, arguments):
    assert _planar(x, w, *arguments) == [False]


@pytest.mark.parametrize("nbytes", [32, 64])
@pytest.mark.parametrize(
    ("channels", "filters", "stride", "faster"),
    [
        (3, 2 * VECTOR, 1, True),
        (3, VECTOR + 3, 1, False),
        (3, VECTOR + 3, 2, True),
        (1, VECTOR + 3, 2, False),
        (3, VECTOR - 1, 2, False),
    ],
)
def test_short_vectors_of_filters_are_faster(
    channels, filters, stride, faster, nbytes, monkeypatch
):
    """Where these fill them, or planes would be taken apart."""
    isa = dataclasses.replace(machine().isa, vector_bytes=nbytes)
    other = dataclasses.replace(machine(), isa=isa)
    monkeypatch.setattr(planar, "_SHORT", SHORT)
    monkeypatch.setattr(planar, "machine", lambda: other)
    shapes = (2, channels, 40, 40), (filters, channels, 3, 3)
    assert _planar(*shapes, stride, 1, 1, 1) == [not (nbytes == 32 and faster)]


def test_a_gradient_of_few_channels_is_not_folded():
    size, weight = (2, 3, 40, 40), (16, 3, 3, 3)
    assert _planar(size, weight, 1, 1, 1, 1, direction="backward_input") == [True]
    strided = _parts(size, weight, 2, 1, 1, 1, direction="backward_input")
    assert strided
    assert not any(isinstance(part, PlanarCorrelation) for part in strided)


@pytest.mark.parametrize("filters", [1, 3, 8, 13, 64])
@pytest.mark.parametrize("vectors", [1, 2, 9])
def test_tiles_fit_the_registers(filters, vectors):
    tiles = planar_tiles(filters, vectors)
    assert tiles
    for mr, nv, step in tiles:
        assert mr <= filters and nv <= vectors and mr * nv + nv + 1 <= machine().isa.registers
        assert step > mr * nv


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize(("height", "width"), [(5, 33), (32, 32), (7, 100), (13, 17)])
def test_the_vectors_of_a_task_cover_its_rows(height, width, itemsize):
    dtype = {4: "float32", 8: "float64"}[itemsize]
    (part,) = _parts((1, 3, height, width), (10, 3, 3, 3), 1, 1, 1, 1, dtype=dtype)
    vector = lanes(itemsize)
    pixels = part.targets[:, None] // itemsize + np.arange(vector)
    assert_array_equal(np.unique(pixels), np.arange(part.rows * width))
    assert len(part.places) >= part.nv
    assert part.tasks_i * part.rows >= height >= part.rows


@pytest.mark.parametrize(("channels", "filters"), [(56, 16), (64, 3), (225, 3)])
def test_the_longest_sums_of_equal_terms_keep_the_bound(channels, filters):
    if channels > 56 and filters >= lanes(4) // 2:
        pytest.skip("short vectors are full enough with so few filters")
    x = np.full((1, channels, 4, 20), 0.1, np.float32)
    w = np.full((filters, channels, 3, 3), 0.1, np.float32)
    assert _planar(x.shape, w.shape, 1, 0, 1, 1) == [True]
    exact = np.float64(x[0, 0, 0, 0]) * np.float64(w[0, 0, 0, 0]) * w[0].size
    error = np.abs(fc.conv2d(x, w, algorithm="direct") - exact).max() / exact
    assert error <= sum_error(w[0].size, "float32")


def test_results_do_not_depend_on_the_threads():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 65, 61, 47), np.float32)
    w = rng.standard_normal((5, 65, 3, 3), np.float32)
    results = set()
    for threads in (1, 2, 2, 2):
        with fc.options(num_threads=threads):
            results.add(fc.conv2d(x, w, padding=1, algorithm="direct").tobytes())
    assert len(results) == 1


FLAT = (
    cases.Case("odd-rows", 3, 1, 21, 20, 13, 5, 5, padding=2),
    cases.Case("strided", 2, 2, 41, 43, 9, 5, 3, (2, 2), (2, 1)),
    cases.Case("dilated-down", 2, 3, 23, 25, 8, 3, 3, 1, (2, 1), (2, 1)),
    cases.Case("groups", 2, 4, 19, 21, 12, 3, 3, padding=1, groups=2),
    cases.Case("long-sums", 1, 8, 7, 17, 6, 9, 7, padding=(4, 3)),
)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", FLAT, ids=lambda case: case.name)
def test_rows_of_flat_planes_follow_one_another(case, dtype, monkeypatch):
    """Vectors end anywhere in a row, the last of them a vector before the end of the task."""
    monkeypatch.setattr(PlanarCorrelation, "_forms", (True,))
    trial = Trial(case, "forward", dtype, "nchw")
    ((_, (part,)),) = parts_of(Direct(), trial.problem, 1)
    assert part.flat and part.nv <= len(part.places)
    places = part.places // part.itemsize
    assert places[-1] == part.rows * part.c.columns.outputs - lanes(part.itemsize)
    result = trial.run("direct", *trial.operands())
    assert_close(result, trial.expected, trial.bound("direct"))


@pytest.mark.skipif(lanes(4) < 16, reason="about vectors of 16")
def test_planes_are_flat_where_rows_do_not_fill_vectors_and_there_is_room():
    def flat(channels, width):
        (part,) = _parts((64, channels, width, width), (32, channels, 5, 5), 1, 2, 1, 1)
        return part.flat

    assert flat(1, 28) and flat(1, 20)
    assert not flat(1, 32)  # rows are whole vectors
    assert not flat(16, 28)  # a plane for each of five taps of 16 channels
