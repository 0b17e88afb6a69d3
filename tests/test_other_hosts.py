"""Layers of any width on hosts with other caches and threads, filters in any order of memory.

What a plan does depends on the caches: how many tiles a task takes, where it keeps its filters,
whether results take the place of operands.  Odd shapes meet all of it only where caches differ.
"""

from __future__ import annotations

import contextlib
import functools
import sys

import numpy as np
import pytest
from cases import Case
from harness import DIRECTIONS, DISTINCT, DTYPES, FORMATS, Trial, assert_close
from hypothesis import given
from hypothesis import strategies as st

from fastconv.core import threads
from fastconv.core.machine import machine

_KIB = 1 << 10
CACHES = [16 * _KIB, 64 * _KIB, 256 * _KIB, 512 * _KIB, 2048 * _KIB, 8192 * _KIB]
CHANNELS = [1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 48, 64, 70, 96, 130, 200]
SIZES = [*range(1, 10), 13, 14, 19, 28, 33]
MOST_PRODUCTS = 10_000_000

# How filters (K, C, R, S) may stand in memory: copies in this order of axes, or turned around.
ORDERS = {"krsc": (0, 2, 3, 1), "rsck": (2, 3, 1, 0), "ckrs": (1, 0, 2, 3), "srck": (3, 2, 1, 0)}


def _standing(array, order):
    if order == "turned":
        return array[:, :, ::-1, ::-1].copy()[:, :, ::-1, ::-1]
    axes = ORDERS.get(order, (0, 1, 2, 3))
    return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))


@st.composite
def axes(draw):
    """Size, kernel, stride, padding and dilation along one axis."""
    kernel, stride, dilation = (
        draw(st.sampled_from(values)) for values in ([1, 2, 3, 3, 5, 7], [1, 1, 2, 3], [1, 1, 2])
    )
    reach = dilation * (kernel - 1)
    padding = draw(st.sampled_from([0, reach // 2, min(3, reach)]))
    size = draw(st.sampled_from(SIZES))
    return max(size, reach + 1 - 2 * padding), kernel, stride, padding, dilation


@st.composite
def layers(draw):
    """A case of not too many products."""
    (h, r, *rows), (w, s, *columns) = draw(axes()), draw(axes())
    groups, n = draw(st.sampled_from([1, 1, 1, 2, 4])), draw(st.sampled_from([1, 1, 2, 7]))
    c, k = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS))
    if draw(st.integers(0, 3)) == 0:  # depthwise
        groups, c, k = c, 1, draw(st.integers(1, 2))
    while (n * c * k * h * w * r * s * groups) > MOST_PRODUCTS and max(c, k) > 1:
        c, k = (c // 2, k) if c > k else (c, k // 2)
    stride, padding, dilation = zip(rows, columns, strict=True)
    return Case("any", n, groups * c, h, w, groups * k, r, s, stride, padding, dilation, groups)


def _is_bounded(table):
    """Whether this is a function of ``lru_cache``, whose results are forgotten in time."""
    known = isinstance(table, functools._lru_cache_wrapper)
    return known and table.cache_parameters()["maxsize"] is not None


def _forget_plans():
    """All that was settled for another host: the bounded tables of convolutions."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("fastconv.conv", "fastconv.plans")):
            for table in vars(module).values():
                if _is_bounded(table):  # kernels stay
                    table.cache_clear()


@contextlib.contextmanager
def host(l2, n_threads):
    """A machine like this one but for its second cache, and its number of threads."""
    here = machine()
    actual = here.l2
    object.__setattr__(here, "l2", l2)
    _forget_plans()
    try:
        with threads.num_threads(n_threads):
            yield
    finally:
        object.__setattr__(here, "l2", actual)
        _forget_plans()


@pytest.mark.parametrize("algorithm", [name for name in DISTINCT if name != "reference"])
@given(
    layer=layers(),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from(FORMATS),
    filters=st.sampled_from(["kcrs", "turned", *ORDERS]),
    l2=st.sampled_from(CACHES),
    n_threads=st.integers(1, threads.get_num_threads()),
)
def test_every_pass_is_right(algorithm, fences, layer, dtype, order, filters, l2, n_threads):
    with host(l2, n_threads):
        for direction in DIRECTIONS:
            trial = Trial(layer, direction, dtype, order)
            if trial.refusal(algorithm) is not None:
                continue
            first, second = trial.operands()
            if direction != "backward_weight":
                second = _standing(second, filters)
            result = trial.run(algorithm, first, second)
            assert_close(result, trial.expected, trial.bound(algorithm))
            fences.assert_hold()
