"""``nn.functional``: values against NumPy, gradients against central differences."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from gradients import check_gradients

import fastconv as fc
import fastconv.nn.functional as F
from fastconv import nn
from fastconv.comparison.recording import recorded
from fastconv.conv import functions
from fastconv.core.problem import DIRECTIONS
from fastconv.ops.broadcast import channel_bias_backward


def random(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


CONVOLUTIONS = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 3), {}),
    "strided": ((2, 3, 5, 6), (4, 3, 3, 2), {"stride": (2, 1), "padding": (1, 2)}),
    "dilated": ((1, 2, 6, 6), (3, 2, 2, 3), {"dilation": (3, 2), "padding": "same"}),
    "grouped": ((2, 4, 4, 4), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 3, 4, 5), (6, 1, 3, 3), {"groups": 3, "stride": 2, "padding": 1}),
    "pointwise": ((2, 3, 4, 5), (4, 3, 1, 1), {}),
    "unbatched": ((3, 5, 6), (4, 3, 3, 3), {"padding": "valid"}),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv2d(name, bias):
    x_shape, w_shape, arguments = CONVOLUTIONS[name]
    operands = [random(*x_shape), random(*w_shape, seed=1)]
    operands += [random(w_shape[0], seed=2)] if bias else []
    check_gradients(lambda *tensors: F.conv2d(*tensors, **arguments), *operands)
    x, *others = operands
    wanted = oracle.forward(x if x.ndim == 4 else x[None], *others, **arguments)
    got = F.conv2d(*operands, **arguments).numpy()
    np.testing.assert_allclose(got, wanted if x.ndim == 4 else wanted[0], rtol=0, atol=1e-12)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_conv2d_keeps_the_memory_order_in_both_directions():
    x = fc.Tensor(channels_last(random(2, 3, 5, 6)), requires_grad=True)
    w, b = fc.Tensor(random(4, 3, 3, 3), True), fc.Tensor(random(4), True)
    y = F.conv2d(x, w, b).relu()
    dy = channels_last(random(*y.shape, seed=3))
    assert y.data.strides == dy.strides
    y.backward(dy)
    assert x.grad.data.strides == x.data.strides
    masked = dy * (y.data > 0)
    np.testing.assert_allclose(b.grad, masked.sum((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(w.grad, oracle.backward_weight(x.data, w.shape, masked), atol=1e-12)


def test_one_channel_keeps_the_memory_order():
    """NumPy's results forget which order a single channel was meant in."""
    for made in (np.ascontiguousarray, channels_last):
        x = fc.Tensor(made(random(2, 3, 5, 6)), requires_grad=True)
        y = F.conv2d(x, fc.Tensor(random(1, 3, 3, 3, seed=1)))
        y.backward(np.array(random(*y.shape, seed=3)))
        assert x.grad.data.strides == x.data.strides
        x.grad = None
        (F.conv2d(x, fc.Tensor(random(1, 3, 3, 3, seed=1))) ** 2).sum().backward()
        assert x.grad.data.strides == x.data.strides


@pytest.mark.parametrize("order", ["nchw", "nhwc", "strided"])
def test_bias_gradient_in_every_memory_order(order):
    dy = (random(8, 3, 64, 64) + 1).astype(np.float32)
    dy = {"nchw": dy, "nhwc": channels_last(dy), "strided": dy.transpose(0, 1, 3, 2)}[order]
    got = channel_bias_backward(dy)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, dy.sum((0, 2, 3), dtype=np.float64), rtol=1e-5)


def test_gradients_that_nobody_needs_are_not_computed(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the image's gradient was asked for")

    monkeypatch.setattr(functions, "conv2d_input", refuse)
    layer = nn.Conv2d(2, 3, 3)
    layer(random(1, 2, 5, 5).astype(np.float32)).sum().backward()
    assert layer.weight.grad is not None
    with pytest.raises(AssertionError, match="image"):
        x = fc.Tensor(random(1, 2, 5, 5).astype(np.float32), requires_grad=True)
        layer(x).sum().backward()


def test_the_algorithm_holds_for_all_passes():
    x = fc.Tensor(random(1, 2, 5, 5).astype(np.float32), requires_grad=True)
    with recorded() as runs:
        nn.Conv2d(2, 3, 3, algorithm="reference")(x).sum().backward()
    assert {(run.problem.direction, run.algorithm) for run in runs} == {
        (direction, "reference") for direction in DIRECTIONS
    }


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3), (0, 3), (5, 0), (0, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(shape, bias):
    operands = [random(*shape), random(4, shape[-1], seed=1)] + [random(4, seed=2)] * bias
    wanted = np.einsum("...c,kc->...k", *operands[:2]) + (operands[2] if bias else 0)
    np.testing.assert_allclose(F.linear(*operands).numpy(), wanted, atol=1e-13)
    check_gradients(F.linear, *operands)


POOLING = {
    "max": (F.max_pool2d, (2,), {}),
    "max-overlapping": (F.max_pool2d, ((3, 2), 1, 1), {}),
    "max-ceil-dilated": (F.max_pool2d, (2, 2, 0, 2, True), {}),
    "avg": (F.avg_pool2d, (2,), {}),
    "avg-padded": (F.avg_pool2d, (3, 2, 1), {}),
    "avg-ceil": (F.avg_pool2d, (2, (2, 1), 0, True), {}),
    "avg-without-pad": (F.avg_pool2d, (3, 1, 1), {"count_include_pad": False}),
    "avg-divisor": (F.avg_pool2d, (2,), {"divisor_override": 3}),
}


@pytest.mark.parametrize("shape", [(2, 3, 5, 6), (2, 5, 5)])
@pytest.mark.parametrize("name", POOLING)
def test_pooling_gradients(name, shape):
    pool, window, options = POOLING[name]
    check_gradients(lambda x: pool(x, *window, **options), random(*shape))


def test_max_pool2d_indices():
    x = fc.Tensor(random(2, 3, 4, 4), requires_grad=True)
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    assert y.requires_grad
    assert not indices.requires_grad
    flat = np.take_along_axis(x.data.reshape(2, 3, 16), indices.data.reshape(2, 3, 4), 2)
    np.testing.assert_array_equal(flat, y.data.reshape(2, 3, 4))
    with fc.no_grad():
        np.testing.assert_array_equal(F.max_pool2d(x, 2).data, y.data)
    layer = nn.MaxPool2d(2, return_indices=True)
    np.testing.assert_array_equal(layer(x)[1].data, indices.data)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(dim):
    x = 5 * random(3, 4, 2)
    wanted = np.exp(x) / np.exp(x).sum(dim, keepdims=True)
    np.testing.assert_allclose(F.softmax(x, dim).numpy(), wanted, rtol=1e-13)
    np.testing.assert_allclose(F.log_softmax(x, dim).numpy(), np.log(wanted), atol=1e-14)
    check_gradients(lambda t: F.softmax(t, dim), x)
    check_gradients(lambda t: F.log_softmax(t, dim), x)


@pytest.mark.parametrize("function", [F.relu, F.sigmoid, F.tanh, F.flatten])
def test_functions_take_arrays_and_tensors(function):
    x = random(2, 3)
    np.testing.assert_array_equal(function(x).numpy(), function(fc.Tensor(x)).numpy())
    check_gradients(function, x)
    with pytest.raises(TypeError, match="input must be a Tensor or an array, got list"):
        function([[1.0]])


def test_extreme_activations_neither_overflow_nor_warn():
    x = np.array([-np.inf, -1e4, -100, 0, 100, 1e4, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(
        F.sigmoid(x).numpy(), np.array([0, 0, 0, 0.5, 1, 1, 1, np.nan], np.float32)
    )
    np.testing.assert_array_equal(F.relu(x).numpy(), np.where(x < 0, 0, x))
    t = fc.Tensor(np.array([-1, 0, 2, np.nan]), requires_grad=True)
    t.relu().backward(np.array([np.nan, np.inf, 3, 4]))
    np.testing.assert_array_equal(t.grad, [0, 0, 3, 4])  # what is off stays off


PADS = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("order", ["nchw", "nhwc"])
@pytest.mark.parametrize("pad", [(1, 2), (0, 1, 2, 0), (2, 1, 1, 2, 1, 0), (0, 0)], ids=str)
@pytest.mark.parametrize("mode", PADS)
def test_pad(mode, pad, order):
    x = random(2, 3, 3, 4)
    x = channels_last(x) if order == "nhwc" else x
    pairs = [pad[i : i + 2] for i in range(0, len(pad), 2)][::-1]
    wanted = np.pad(x, [(0, 0)] * (4 - len(pairs)) + pairs, PADS[mode])
    got = F.pad(x, pad, mode).numpy()
    np.testing.assert_array_equal(got, wanted)
    assert np.argsort(got.strides).tolist() == np.argsort(x.strides).tolist()
    check_gradients(lambda t: F.pad(t, pad, mode), x)


@pytest.mark.parametrize("pad", [(-1, 2), (-2, 3, 1, -1), (-1, -1, 0, 2)], ids=str)
def test_negative_pads_crop(pad):
    x = random(2, 3, 4)
    (left, right), (top, bottom) = pad[:2], (*pad, 0, 0)[2:4]
    whole = np.pad(
        x, [(0, 0), *((max(n, 0), max(m, 0)) for n, m in ((top, bottom), (left, right)))]
    )
    _, height, width = whole.shape
    wanted = whole[:, max(-top, 0) : height + min(bottom, 0), max(-left, 0) : width + min(right, 0)]
    np.testing.assert_array_equal(F.pad(x, pad).numpy(), wanted)
    check_gradients(lambda t: F.pad(t, pad), x)


def test_pad_value():
    np.testing.assert_array_equal(F.pad(np.ones((1, 1)), (1, 0), value=7).numpy(), [[7, 1]])
    np.testing.assert_array_equal(F.pad(np.ones((1, 1)), (1, 0), value=None).numpy(), [[0, 1]])
    np.testing.assert_array_equal(F.pad(np.ones((1, 1), int), (1, 0), value=2.0).numpy(), [[2, 1]])


@pytest.mark.parametrize("value", ["a", True, 1j, np.ones(1)])
def test_pad_values_are_numbers(value):
    with pytest.raises(TypeError, match="value must be a number"):
        F.pad(np.ones((1, 1)), (1, 0), value=value)


def test_pad_values_fit_their_dtype():
    for value, dtype in (
        *((255, np.uint8), (1, bool), (-(2**63), np.int64), (np.inf, np.float32)),
        *((np.int64(-1), np.int64), (np.float32(7), np.uint8)),
    ):
        assert F.pad(np.zeros(1, dtype), (1, 0), value=value)[0].item() == value
    assert F.pad(np.ones((1, 2)), (1, 0), "reflect", 0).shape == (1, 3)


def test_pad_values_of_integers_are_whole():
    for value in (0.5, np.nan, np.inf):
        with pytest.raises(ValueError, match="value must be whole for an input of dtype int64"):
            F.pad(np.ones((1, 1), np.int64), (1, 0), value=value)


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32", "float64"])
def test_sigmoid_of_every_dtype(dtype):
    x = np.array([0, 1, 1], dtype)
    y = fc.Tensor(x).sigmoid().numpy()
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-x.astype(float))), rtol=1e-6)
    assert y.dtype == dtype or not dtype.startswith("float")


@pytest.mark.parametrize("softmax", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_of_nothing(softmax, dim):
    x = fc.Tensor(np.ones((0, 3), np.float32), requires_grad=True)
    y = softmax(x, dim)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3) and y.dtype == np.float32


def test_a_mask_is_not_lost():
    masked = np.ma.array(np.ones((1, 1, 3, 3), np.float32), mask=True)
    for wrong in (lambda: fc.Tensor(masked), lambda: F.conv2d(masked, np.ones((1, 1, 1, 1)))):
        with pytest.raises(TypeError, match="a mask would be lost"):
            wrong()


@pytest.mark.parametrize("padding", [1, (2, 1), "same", "valid"], ids=str)
@pytest.mark.parametrize("mode", PADS)
def test_padding_mode(mode, padding):
    name = "zeros" if mode == "constant" else mode
    options = {"dilation": (1, 2), "padding": padding, "dtype": np.float64}
    layer = nn.Conv2d(2, 3, (3, 2), padding_mode=name, **options)
    x = random(2, 2, 5, 6)
    top, bottom, left, right = oracle.paddings(padding, (3, 2), (1, 2))
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), PADS[mode])
    wanted = oracle.forward(padded, layer.weight.data, layer.bias.data, dilation=(1, 2))
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, atol=1e-12)
    check_gradients(layer, x)
