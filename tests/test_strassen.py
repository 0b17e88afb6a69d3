"""Strassen's algorithm beyond the tables: its parts, its count, its errors, what it refuses."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import oracle
import pytest
from cases import Case
from harness import DIRECTIONS, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv import strassen
from fastconv.conv.algorithm import summation_error
from fastconv.conv.registry import ALGORITHMS

directions = pytest.mark.parametrize("direction", DIRECTIONS)
orders = pytest.mark.parametrize("order", FORMATS)

BATCH = Case("halves-batch-10", 10, 12, 9, 8, 20, 3, 3, padding=1)
DEEP = Case("halves-deep", 2, 256, 6, 7, 192, 3, 3, padding=1)


@pytest.fixture
def little_scratch(monkeypatch):
    """Room for four images of ``BATCH`` at a time."""

    def limit(nbytes):
        strassen._parts.cache_clear()
        monkeypatch.setattr(strassen, "WORKSPACE", nbytes)

    yield limit
    strassen._parts.cache_clear()


def _images(trial, threads):
    return [part.images for part in strassen._parts(trial.problem, threads)]


@pytest.mark.parametrize(("room", "images"), [(10, [10]), (4, [4, 4, 2]), (2, [2] * 5)])
@orders
@directions
def test_images_in_parts(direction, order, room, images, little_scratch):
    """Parts of a batch: the filters' sums are kept, weight gradients add up."""
    trial = Trial(BATCH, direction, order=order)
    some = strassen.Products(trial.problem._replace(N=room), 1, later=room < BATCH.N)
    little_scratch(some.workspace)
    with fc.options(num_threads=1):
        assert _images(trial, 1) == images
        for _ in range(2):
            result = trial.run("strassen", *trial.operands())
            assert_close(result, trial.expected, trial.bound("strassen"))


@directions
def test_not_finite_in_a_later_part(direction, little_scratch):
    trial = Trial(BATCH, direction)
    little_scratch(strassen.Products(trial.problem._replace(N=2), 1, later=True).workspace)
    first, second = trial.operands()
    first[3, 0, 4, 4] = np.inf
    marks = np.zeros(first.shape), np.ones(second.shape)
    marks[0][3, 0, 4, 4] = 1
    touched = trial.oracle(*marks) > 0
    result = trial.run("strassen", first, second)
    np.testing.assert_array_equal(np.isfinite(result), ~touched)


@pytest.mark.usefixtures("no_second_try")
@orders
@directions
@pytest.mark.parametrize("channels", [4, 6])
def test_halves_that_are_multiplied_on_planes(direction, order, channels):
    """Their results are parts of arrays: of few channels, whose rows are further apart."""
    for case in (
        Case("planes", 2, channels, 32, 32, 32, 3, 3, padding=1),
        Case("planes-turned", 2, 16, 20, 32, channels, 3, 3, padding=1),
    ):
        trial = Trial(case, direction, order=order)
        result = trial.run("strassen", *trial.operands())
        assert_close(result, trial.expected, trial.bound("strassen"))


@directions
def test_seven_products_for_eight(direction):
    trial = Trial(Case("halves-whole", 4, 256, 14, 14, 256, 3, 3, padding=1), direction)
    executed = sum(work.flops for work in trial.cost("strassen").stages if work.kind == "product")
    direct = sum(work.flops for work in trial.cost("direct").stages if work.kind == "product")
    assert 7 / 8 * direct <= executed < 0.93 * direct  # pixels of half the batch fill fewer tiles


@pytest.mark.parametrize("mean", [0, 1, 30])
@directions
def test_error_is_bounded(direction, mean):
    """Sums that cancel, that do not, and whose differences of blocks lose digits."""
    trial = Trial(DEEP, direction)
    rng = np.random.default_rng(mean)
    operands = [rng.normal(mean, 1, a.shape).astype(np.float32) for a in trial.operands()]
    bound = trial.bound("strassen")
    assert bound == pytest.approx(summation_error(trial.problem, 4.5**0.5))
    assert_close(trial.run("strassen", *operands), trial.oracle(*operands), bound)


@orders
def test_large_bias_is_added_once(order):
    """It must not pass through differences, where it would drown the sums."""
    x, w = Trial(BATCH, "forward", order=order).operands()
    bias = np.where(np.arange(BATCH.K) % 3, 0, 2.0**40).astype(np.float32)
    y = fc.conv2d(x, w, bias, *BATCH.arguments, algorithm="strassen")
    expected = oracle.forward(x, w, None, *BATCH.arguments)
    small = y[:, bias == 0]
    assert (y[:, bias != 0] == 2.0**40).all()
    assert_close(small, expected[:, bias == 0], 1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (dict(N=1), "not N=1"),
        (dict(N=3, C=5), "not N=3 and C=5"),
        (dict(K=21), "not K=21"),
        (dict(groups=2), "groups"),
        (dict(H=2000, W=4000), "MiB of scratch"),
        (dict(C=2, x_format="nhwc"), "half of C=2"),
        (dict(K=2, y_format="nhwc"), "half of K=2"),
    ],
    ids=str,
)
@directions
def test_refusals(direction, change, reason):
    problem = Trial(BATCH, direction).problem._replace(**change)
    assert reason in ALGORITHMS["strassen"].refuses(problem)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
def test_shorter_vectors():
    """The named cases with AVX2."""
    names = [case.name for case in cases.SMALL + cases.MEDIUM if "halves" in case.name]
    assert len(names) > 3
    table = Path(__file__).with_name("test_conv.py")
    pytest_quietly = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*pytest_quietly, "-k", "halves and strassen and float32", str(table)],
        env={**os.environ, "NUMBA_CPU_NAME": "haswell"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize(("channels", "taps"), [(512, 3), (4096, 1)])
def test_it_may_run_at_the_default_accuracy(channels, taps):
    """Layers with long sums: others it does not win."""
    rows = fc.explain((2, channels, 14, 14), (512, channels, taps, taps), 1, taps // 2).rows
    (found,) = (row for row in rows if row.algorithm == "strassen")
    assert found.reason is None
