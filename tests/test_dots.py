"""Where ``direct`` sums few 1×1 filters along the lanes, and arrays of which it sees a part."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from harness import DTYPES, assert_close

import fastconv as fc
from fastconv.conv.algorithm import sum_error
from fastconv.conv.arguments import described
from fastconv.conv.direct import Direct
from fastconv.plans.pointwise.dot import DotCorrelation
from fastconv.simd.dots import dot_rows
from fastconv.simd.vector import lanes


def _dots(x, w, stride=1, padding=0, dilation=1, groups=1, direction="forward", order="nhwc"):
    problem = described(x, w, stride, padding, dilation, groups, direction, "float32", order)
    (part,) = Direct()._build(problem, 2)
    return isinstance(part, DotCorrelation)


def test_rows_of_a_tile_share_a_vector_of_results():
    for filters in range(1, 20):
        rows = dot_rows(filters, 16)
        assert rows * filters <= 16 and (rows > 0) == (filters <= 16)
    assert dot_rows(1, 16) == 8  # as many as have their addresses in registers


@pytest.mark.parametrize("filters", [1, 2])
def test_few_filters_of_many_channels(filters):
    few, many = (2, filters, 8, 8), (2, 200, 8, 8)
    assert _dots(many, (filters, 200, 1, 1))
    assert _dots(few, (200, filters, 1, 1), direction="backward_input")
    assert not _dots(few, (200, filters, 1, 1))
    assert not _dots(many, (filters, 200, 1, 1), order="nchw")


@pytest.mark.skipif(lanes(4) < 16, reason="about vectors of 16")
@pytest.mark.parametrize(("channels", "filters"), [(9, 1), (16, 1), (20, 2), (24, 3), (40, 4)])
def test_few_channels_that_filters_would_leave_lanes_empty_for(channels, filters):
    assert _dots((2, channels, 8, 8), (filters, channels, 1, 1))
    more = lanes(4) // 2 + 1  # filters: then a tile has the results of a single pixel
    assert not _dots((2, channels, 8, 8), (more, channels, 1, 1))


@pytest.mark.parametrize(
    ("w", "arguments"),
    [
        ((17, 200, 1, 1), ()),
        ((2, 100, 1, 1), (1, 0, 1, 2)),
        ((2, 200, 1, 1), (2,)),
        ((2, 200, 1, 1), (1, 1)),
        ((2, 200, 3, 1), (1, (1, 0))),
    ],
    ids=["many-filters", "groups", "stride", "padding", "window"],
)
def test_others_are_not(w, arguments):
    assert not _dots((2, 200, 8, 8), w, *arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("images", [slice(None), slice(None, None, 2)], ids=["whole", "some"])
@pytest.mark.parametrize("rows", [slice(None), slice(1, 6)], ids=["rows", "some-rows"])
@pytest.mark.parametrize("columns", [slice(None), slice(2, 7)], ids=["columns", "some-columns"])
def test_parts_of_an_array(dtype, activation, images, rows, columns):
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.5, 1.5, (4, 7, 9, 150)).astype(dtype)[images, rows, columns]
    x = x.transpose(0, 3, 1, 2)
    w, bias = rng.uniform(-1, 1, (3, 150, 1, 1)).astype(dtype), np.array([1, -40, 5], dtype)
    y = fc.conv2d(x, w, bias, algorithm="direct", activation=activation)
    expected = oracle.forward(x, w, bias)
    if activation:
        expected = np.maximum(expected, 0)
        assert (expected == 0).any()
    assert_close(y, expected, sum_error(150, dtype))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_pixel(value):
    x, w = np.ones((2, 5, 6, 100), np.float32).transpose(0, 3, 1, 2), np.ones((2, 100, 1, 1), "f4")
    x[1, 99, 2, 3] = value
    y = fc.conv2d(x, w, algorithm="direct")
    expected = np.full(y.shape, 100, np.float32)
    expected[1, :, 2, 3] = value
    np.testing.assert_array_equal(y, expected)


def test_every_lane_of_a_long_sum():
    """A channel at a time, around whole vectors."""
    for channels in range(60, 60 + 2 * lanes(4)):
        x = np.zeros((1, 4, 4, channels), np.float32).transpose(0, 3, 1, 2)
        w = np.arange(1, channels + 1, dtype=np.float32).reshape(1, channels, 1, 1)
        for channel in (0, channels // 2, channels - 1):
            x[0, channel] = 2
        y = fc.conv2d(x, w, algorithm="direct")
        total = 2 * (1 + channels // 2 + 1 + channels)
        np.testing.assert_array_equal(y, total)
