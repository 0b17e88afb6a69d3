"""Pooling: every kind of window in both memory orders, forward and backward, against the oracle."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pooling_oracle as oracle
import pytest
from harness import DTYPES, FORMATS, fenced
from hypothesis import given
from hypothesis import strategies as st
from pooling_cases import BOTH, CASES, DILATED, Case

import fastconv as fc
from fastconv.core import threads
from fastconv.ops import _arrays
from fastconv.ops.avg_pooling import avg_pool2d_backward
from fastconv.ops.max_pooling import max_pool2d_backward, max_pool2d_forward


@pytest.fixture(autouse=True)
def poisoned(monkeypatch, fences):
    """Results start as NaN and lie between fences."""
    monkeypatch.setattr(_arrays, "np", fences)


def assert_order(array, order):
    """Contiguous in that memory order."""
    assert (array if order == "nchw" else array.transpose(0, 2, 3, 1)).flags.c_contiguous


def assert_close(result, expected):
    limit = 32 * np.finfo(result.dtype).eps * np.abs(expected).max(initial=0)
    np.testing.assert_allclose(result, expected, rtol=0, atol=limit)


def check_maxima(case, dtype, order):
    x = case.input(dtype, order)
    y, indices = fc.max_pool2d(x, *case.window, return_indices=True)
    expected, where = oracle.max_pool(x, *case.window)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, where)
    np.testing.assert_array_equal(fc.max_pool2d(x, *case.window), expected)
    assert y.dtype == dtype
    assert indices.dtype == np.int64
    assert_order(y, order)
    assert_order(indices, order)


def check_gradient_of_maxima(case, dtype, order):
    y, indices = oracle.max_pool(case.input(), *case.window)
    dy = case.gradient(y.shape, dtype, order)
    dx = max_pool2d_backward(dy, indices, case.shape)
    # Exact, as few multiples of 1/4 are added up.
    np.testing.assert_array_equal(dx, oracle.max_pool_backward(dy, indices, case.shape))
    assert dx.dtype == dtype
    assert_order(dx, order)


def check_averages(case, dtype, order, *divisor):
    x = case.input(dtype, order)
    y = fc.avg_pool2d(x, *case.undilated, *divisor)
    assert_close(y, oracle.avg_pool(x, *case.undilated, *divisor))
    assert y.dtype == dtype
    assert_order(y, order)


def check_gradient_of_averages(case, dtype, order, *divisor):
    y = oracle.avg_pool(case.input(), *case.undilated, *divisor)
    dy = case.gradient(y.shape, dtype, order)
    dx = avg_pool2d_backward(dy, case.shape, *case.undilated, *divisor)
    assert_close(dx, oracle.avg_pool_backward(dy, case.shape, *case.undilated, *divisor))
    assert dx.dtype == dtype
    assert_order(dx, order)


DTYPE = pytest.mark.parametrize("dtype", DTYPES)
ORDER = pytest.mark.parametrize("order", FORMATS)
DIVISOR = pytest.mark.parametrize(
    "divisor", [(True,), (False,), (True, 5), (False, -3)], ids=["all", "inside", "5", "-3"]
)


def table(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@table(CASES + DILATED)
@DTYPE
@ORDER
def test_maxima(case, dtype, order):
    check_maxima(case, dtype, order)


@table(CASES + DILATED)
@DTYPE
@ORDER
def test_gradient_of_maxima(case, dtype, order):
    check_gradient_of_maxima(case, dtype, order)


@table(CASES)
@DIVISOR
@DTYPE
@ORDER
def test_averages(case, divisor, dtype, order):
    check_averages(case, dtype, order, *divisor)


@table(CASES)
@DIVISOR
@DTYPE
@ORDER
def test_gradient_of_averages(case, divisor, dtype, order):
    check_gradient_of_averages(case, dtype, order, *divisor)


@st.composite
def axes(draw):
    """One axis: its size, and the window along it."""
    taps, stride = draw(st.integers(1, 6)), draw(st.sampled_from([1, 1, 2, 2, 3, 4]))
    padding, dilation = draw(st.integers(0, taps // 2)), draw(st.sampled_from([1, 1, 2, 3]))
    least = max(1, dilation * (taps - 1) + 1 - 2 * padding)
    return draw(st.integers(least, least + 24)), taps, stride, padding, dilation


@st.composite
def poolings(draw):
    (h, *rows), (w, *columns) = draw(axes()), draw(axes())
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 8, 17, 40])), h, w)
    window = zip(rows, columns, strict=True)
    return Case(f"odd{shape}", shape, *window, draw(st.booleans()))


@given(
    case=poolings(),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from(FORMATS),
    include_pad=st.booleans(),
)
def test_odd_windows(case, dtype, order, include_pad):
    check_maxima(case, dtype, order)
    check_gradient_of_maxima(case, dtype, order)
    case = case._replace(dilation=1)
    check_averages(case, dtype, order, include_pad)
    check_gradient_of_averages(case, dtype, order, include_pad)


@BOTH
@ORDER
def test_gradients_are_slopes(forward, backward, order):
    rng = np.random.default_rng(3)
    shape = (2, 3, 6, 9)
    # No two elements are closer than 1, so a small step changes no choice.
    x = fenced(rng.permutation(np.prod(shape)).reshape(shape), "float64", order)
    dy = fenced(rng.standard_normal(forward(x).shape), "float64", order)
    slope = np.empty(shape)
    for at in np.ndindex(shape):
        ends = []
        for step in (-0.25, 0.25):
            moved = x.copy()
            moved[at] += step
            ends.append((forward(moved) * dy).sum())
        slope[at] = (ends[1] - ends[0]) / 0.5
    np.testing.assert_allclose(backward(dy, x), slope, rtol=0, atol=1e-10)


@DTYPE
@ORDER
def test_non_finite_maxima(dtype, order):
    """NaN wins over everything, −∞ is a value like any other."""
    rng = np.random.default_rng(5)
    values = rng.choice([np.nan, np.inf, -np.inf, -np.inf, -np.inf, 0, -0.0, 1], (3, 18, 12, 39))
    values[0, :, 4:] = -np.inf
    x = fenced(values, dtype, order)
    for window in ((3, 2, 1), (2, 1), (2, 3, 1, 2)):
        y, indices = max_pool2d_forward(x, *window)
        expected, where = oracle.max_pool(values, *window)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, where)
        np.testing.assert_array_equal(fc.max_pool2d(x, *window), expected)


@DTYPE
@ORDER
def test_non_finite_averages(dtype, order):
    x = np.ones((2, 18, 7, 20))
    x[0, 3, 2, 5], x[0, 3, 3, 5], x[1, 17, 6, 19], x[1, 0, 0, 0] = np.inf, -np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        expected = oracle.avg_pool(x, 3, 2, 1)
        slopes = oracle.avg_pool_backward(x, (2, 18, 13, 39), 3, 2, 1)
    y = fc.avg_pool2d(fenced(x, dtype, order), 3, 2, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    dx = avg_pool2d_backward(fenced(x, dtype, order), (2, 18, 13, 39), 3, 2, 1)
    np.testing.assert_allclose(dx, slopes, rtol=1e-6)


@BOTH
@ORDER
def test_threads_change_no_bit(forward, backward, order):
    rng = np.random.default_rng(7)
    x = fenced(rng.standard_normal((5, 40, 31, 33)), "float32", order)
    dy = fenced(rng.standard_normal(forward(x).shape), "float32", order)
    results = [forward(x), backward(dy, x)]
    with threads.num_threads(1):
        alone = [forward(x), backward(dy, x)]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda _: [forward(x), backward(dy, x)], range(8)))
    for other in (alone, *at_once):
        for result, expected in zip(other, results, strict=True):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names x86 processors")
@pytest.mark.parametrize("cpu", ["haswell", "x86-64"])
def test_other_instruction_sets(cpu):
    """The same table with shorter vectors, and without instructions for parts of vectors."""
    cases = "(test_maxima or test_gradient or test_averages) and float32 and (odd or stride-3)"
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu}
    pytest_quietly = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*pytest_quietly, "-k", cases, __file__],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
