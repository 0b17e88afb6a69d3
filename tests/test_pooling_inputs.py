"""Pooling of arrays as users have them, and what wrong arguments get."""

from __future__ import annotations

import numpy as np
import pytest
from harness import FORMATS, fenced
from pooling_cases import BOTH, FUNCTIONS

import fastconv as fc
from fastconv.ops import _windows
from fastconv.ops.avg_pooling import avg_pool2d_backward
from fastconv.ops.max_pooling import max_pool2d_backward


def _read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def _negative(array):
    return array[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1]


def _every_other(array):
    frame = np.full([2 * n for n in array.shape], np.nan, array.dtype)
    frame[::2, ::2, ::2, ::2] = array
    return frame[::2, ::2, ::2, ::2]


def _unaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)
    shifted = memory[1:].view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


LAYOUTS = {
    "read-only": _read_only,
    "negative strides": _negative,
    "every other element": _every_other,
    "Fortran": np.asfortranarray,
    "rows swapped with columns": lambda a: a.swapaxes(2, 3).copy().swapaxes(2, 3),
    "channels-last, cropped": lambda a: np.pad(a.transpose(0, 2, 3, 1), 1).transpose(0, 3, 1, 2)[
        1:-1, 1:-1, 1:-1, 1:-1
    ],
    "cropped": lambda a: np.pad(a, 2)[2:-2, 2:-2, 2:-2, 2:-2],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": _unaligned,
}


@BOTH
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 19, 7, 21), (3, 4, 9, 1), (2, 1, 6, 8)], ids=str)
def test_any_memory(forward, backward, layout, shape):
    rng = np.random.default_rng(9)
    x = rng.standard_normal(shape)
    dy = rng.standard_normal(forward(x).shape)
    given_x, given_dy = layout(x), layout(dy)
    np.testing.assert_array_equal(forward(given_x), forward(x))
    np.testing.assert_array_equal(backward(given_dy, given_x), backward(dy, x))
    np.testing.assert_array_equal(given_x, x)
    np.testing.assert_array_equal(given_dy, dy)


def test_repeated_rows_and_columns():
    """Strides of 0."""
    for shape in ((1, 1, 7, 1), (1, 1, 1, 7), (2, 3, 1, 1)):
        x = np.broadcast_to(np.random.default_rng(1).standard_normal(shape), (2, 3, 7, 7))
        for forward, backward in FUNCTIONS.values():
            y = forward(x.copy())
            np.testing.assert_array_equal(forward(x), y)
            dy = np.broadcast_to(y[:1, :1, :1], y.shape)
            np.testing.assert_array_equal(backward(dy, x), backward(dy.copy(), x.copy()))


@BOTH
@pytest.mark.parametrize("order", FORMATS)
def test_empty_batch_and_no_batch(forward, backward, order):
    x = fenced(np.random.default_rng(2).standard_normal((2, 5, 7, 9)), "float32", order)
    y = forward(x)
    assert forward(x[:0]).shape == (0, *y.shape[1:])
    assert backward(y[:0], x[:0]).shape == (0, *x.shape[1:])
    np.testing.assert_array_equal(forward(x[1]), y[1])
    np.testing.assert_array_equal(backward(y[1], x[1]), backward(y, x)[1])


def test_indices_of_one_image():
    x = np.random.default_rng(2).standard_normal((5, 7, 9))
    y, indices = fc.max_pool2d(x, 2, return_indices=True)
    assert y.shape == indices.shape == (5, 3, 4)
    np.testing.assert_array_equal(
        np.take_along_axis(x.reshape(5, -1), indices.reshape(5, -1), 1), y.reshape(5, -1)
    )


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


X, DY, INDICES = ones(2, 4, 6, 5), ones(2, 4, 3, 2), ones(2, 4, 3, 2, dtype=np.int64)
CALLS = {  # of each function: a call that works, as keywords
    "max": (fc.max_pool2d, {"input": X, "kernel_size": 2}),
    "avg": (fc.avg_pool2d, {"input": X, "kernel_size": 2}),
    "max-backward": (max_pool2d_backward, {"dy": DY, "indices": INDICES, "input_shape": X.shape}),
    "avg-backward": (avg_pool2d_backward, {"dy": DY, "input_shape": X.shape, "kernel_size": 2}),
}
WINDOWS, AVERAGES = ("max", "avg", "avg-backward"), ("avg", "avg-backward")
WRONG = (  # calls, argument, values that give a ValueError, and a TypeError
    (WINDOWS, "kernel_size", [0, -1, 7, (2, 6), (0, 1), (), (1, 1, 1), 2**31, 2**70],
     [1.0, np.nan, True, "2", None, {}, (1, 2.0)]),
    (WINDOWS, "stride", [0, -2, (1, 0), (1, 1, 1), 2**31], [1.0, np.inf, False, "2", (1, None)]),
    (WINDOWS, "padding", [-1, 2, (0, 2), (1,), 2**31], [0.0, np.nan, True, "same", None]),
    (("max",), "dilation", [0, -1, (1, 0), ()], [1.0, True, None, "1"]),
    (WINDOWS, "ceil_mode", [], [0, None, "yes"]),
    (("max",), "return_indices", [], [1, None, "yes"]),
    (AVERAGES, "count_include_pad", [], [1, None, 0.0]),
    (AVERAGES, "divisor_override", [0, 2**31], [2.0, True, "2", (2,)]),
    (("max", "avg"), "input", [X[0, 0], X[None], X[:, :0], X[:, :, :0], X[..., :0]],
     [X.tolist(), X.astype(int), X.astype(np.float16), X.astype(complex), None]),
    (("max-backward", "avg-backward"), "dy", [X[0], DY[:1], DY[:, :3], X],
     [DY.tolist(), DY.astype(int), None]),
    (("avg-backward",), "dy", [DY[:, :, :2], DY[..., :1]], []),
    (("max-backward", "avg-backward"), "input_shape",
     [X.shape[1:], (2, 4), (2, 5, 6, 5), (1, 4, 6, 5), (2, 4, -6, 5), (2**31 - 1,) * 4],
     [6, None, "2465", (2, 4, 6.0, 5)]),
    (("max-backward",), "indices", [INDICES[:1], INDICES[0], 30 * INDICES, -2 * INDICES],
     [INDICES.tolist(), INDICES.astype(np.int32), DY, None]),
)  # fmt: skip


def wrong():
    for calls, argument, values, types in WRONG:
        for call in calls:
            for value in values:
                yield pytest.param(call, argument, value, ValueError)
            for value in types:
                yield pytest.param(call, argument, value, TypeError)


@pytest.mark.parametrize(("call", "argument", "value", "error"), [*wrong()])
def test_wrong_arguments_are_named(call, argument, value, error):
    function, good = CALLS[call]
    function(**good)
    with pytest.raises(error, match=rf"\b{argument}\b"):
        function(**{**good, argument: value})


def test_errors_show_the_shapes():
    with pytest.raises(ValueError, match=r"input \(2, 4, 6, 5\)"):
        fc.max_pool2d(X, 3, dilation=3)
    with pytest.raises(ValueError, match=r"\(2, 4, 3, 2\), got \(2, 4, 6, 5\)"):
        avg_pool2d_backward(X, X.shape, 2)
    huge = np.broadcast_to(np.float32(0), (1, 1, 2**16, 2**16))
    with pytest.raises(ValueError, match=r"below 2\*\*31 elements, got \(1, 1, 65536, 65536\)"):
        fc.max_pool2d(huge, 2)


def test_a_plane_is_addressed_up_to_three_rows_further():
    def rows(height):
        return _windows.axes((1, 1, height, 8), 2, None, 0, 1, False)[0]

    assert rows(2**28 - 4).outputs == 2**27 - 2
    with pytest.raises(ValueError, match=r"below 2\*\*31 elements"):
        rows(2**28 - 3)
