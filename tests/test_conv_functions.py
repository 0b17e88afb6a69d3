"""What the public functions add to the passes: bias, ReLU, transposes, ranks, empty batches."""

from __future__ import annotations

import cases
import numpy as np
import oracle
import pytest
from harness import DIRECTIONS, DISTINCT, DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv import selector

algorithms = pytest.mark.parametrize("algorithm", DISTINCT)
directions = pytest.mark.parametrize("direction", DIRECTIONS)
orders = pytest.mark.parametrize("order", FORMATS)


def tables(*names):
    return pytest.mark.parametrize("case", [cases.BY_NAME[n] for n in names], ids=lambda c: c.name)


def operands(trial, algorithm):
    """The arrays of a trial that the algorithm accepts."""
    reason = None if algorithm == "auto" else trial.refusal(algorithm)
    if reason is not None:
        pytest.skip(reason)
    return trial.operands()


@pytest.mark.parametrize("activation", [None, "relu"])
@orders
@algorithms
@tables(
    "channels-3-17", "channels-31-33", "columns-29", "kernel-1x1", "stride-2-3x3", "stride-5-3x3",
    "dilation-2-stride-4", "groups-3-of-4", "depthwise-3x3", "depthwise-times-2", "halves-3x3",
    "halves-1x1", "image-is-kernel-groups", "image-as-wide-as-kernel", "medium-3x3",
    "medium-depthwise-3x3",
)  # fmt: skip
def test_bias_and_relu_are_fused(case, algorithm, order, activation):
    trial = Trial(case, "forward", order=order)
    x, w = operands(trial, algorithm)
    w[1::2] *= -1  # so that the ReLU has something to cut off
    bias = np.linspace(-1, 1, case.K, dtype=np.float32)
    y = fc.conv2d(x, w, bias, *case.arguments, algorithm=algorithm, activation=activation)
    expected = oracle.forward(x, w, bias, *case.arguments)
    assert (expected < 0).any()
    assert_close(y, np.maximum(expected, 0) if activation else expected, trial.bound(algorithm))


LONG_SUMS = (  # which kernels make in several goes
    cases.Case("long-window", 2, 300, 5, 5, 150, 3, 3, padding=1),
    cases.Case("long-pixels", 1, 4096, 7, 7, 32, 1, 1),
    cases.Case("long-planes", 1, 2048, 10, 10, 64, 1, 1),
    cases.Case("long-lines", 1, 64, 20, 20, 3, 3, 3, padding=1),
)


@orders
@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@pytest.mark.parametrize("case", LONG_SUMS, ids=lambda case: case.name)
def test_relu_is_of_whole_sums(case, algorithm, order):
    x, w = Trial(case, "forward", order=order).operands()
    w -= 0.5  # sums of either sign
    bias = np.linspace(-1, 1, case.K, dtype=np.float32)
    plain = fc.conv2d(x, w, bias, *case.arguments, algorithm=algorithm)
    rectified = fc.conv2d(x, w, bias, *case.arguments, algorithm=algorithm, activation="relu")
    assert 0.1 < (plain < 0).mean() < 0.9
    np.testing.assert_array_equal(rectified, np.maximum(plain, 0))


@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("output_padding", [0, (1, 0), (1, 1)])
@orders
@algorithms
@tables(
    "stride-2-1x1", "stride-2-2x2", "stride-2-3x3", "stride-3-2x2", "stride-5-3x3", "dilation-2",
    "dilation-2-stride-3", "dilation-4-stride-6", "groups-3-of-4", "depthwise-stride-2",
    "depthwise-times-3", "halves-stride-3", "stride-3-apart", "stride-9x8-apart", "medium-stride-2",
)  # fmt: skip
def test_transposed(case, algorithm, order, output_padding, activation):
    trial = Trial(case, "backward_input", order=order)
    y, w = operands(trial, algorithm)
    w[:, 1::2] *= -1
    bias = np.linspace(-1, 1, case.C, dtype=np.float32)
    arguments = (case.stride, case.padding, output_padding, case.groups, case.dilation)
    x = fc.conv_transpose2d(y, w, bias, *arguments, algorithm=algorithm, activation=activation)
    expected = oracle.transposed(y, w, bias, *arguments)
    assert_close(x, np.maximum(expected, 0) if activation else expected, trial.bound(algorithm))


def test_a_transposed_convolution_is_the_same_problem_as_an_input_gradient():
    y, w = np.ones((2, 32, 10, 9), np.float32), np.ones((32, 3, 3, 3), np.float32)
    x = fc.conv_transpose2d(y, w, None, 5, 1, (2, 0))
    before = selector.plan_for.cache_info()
    same = fc.grad.conv2d_input(x.shape, w, y, 5, 1)
    assert selector.plan_for.cache_info().misses == before.misses
    np.testing.assert_array_equal(same, x)


@algorithms
@tables(
    "channels-31-33", "stride-2-3x3", "groups-3-of-4", "depthwise-3x3", "halves-3x3", "medium-3x3"
)
def test_weight_gradient_of_mixed_memory_orders(case, algorithm):
    trial = Trial(case, "backward_weight")
    x, dy = operands(trial, algorithm)
    mixed = trial._replace(order="nhwc").operands()
    for first, second in ((x, mixed[1]), (mixed[0], dy)):
        dw = trial.run(algorithm, first, second)
        assert_close(dw, trial.expected, trial.bound(algorithm))


@algorithms
@tables("image-one-row", "columns-56")
def test_one_dimension_is_an_image_of_one_row(case, algorithm):
    trial = Trial(case._replace(H=1, R=1), "forward")
    case = trial.case
    x, w = operands(trial, algorithm)
    bias = np.linspace(-1, 1, case.K, dtype=np.float32)
    expected = oracle.forward(x, w, bias, *case.arguments)[:, :, 0]
    x, w = x[:, :, 0], w[:, :, 0]
    y = fc.conv1d(x, w, bias, 1, 1, 1, 1, algorithm=algorithm)
    assert_close(y, expected, trial.bound(algorithm))
    for same in (
        fc.conv1d(x, w, bias, (1,), (1,), (1,), algorithm=algorithm),
        fc.conv1d(x, w, bias, padding="same", algorithm=algorithm),
        fc.conv1d(x[0], w, bias, padding=1, algorithm=algorithm)[None],
    ):
        np.testing.assert_array_equal(same, y)
    relu = fc.conv1d(x, w, bias, padding=1, algorithm=algorithm, activation="relu")
    np.testing.assert_array_equal(relu, np.maximum(y, 0))


@pytest.mark.parametrize(
    "arguments", [(2, 1, 1, 1), (1, "same", 2, 2), (3, 4, 2, 3), (1, 2, 1, 6)], ids=str
)
def test_one_dimension_with_arguments(arguments):
    stride, padding, dilation, groups = arguments
    x = np.random.default_rng(1).uniform(-0.5, 1.5, (2, 6, 23))
    w = np.random.default_rng(2).uniform(-0.5, 1.5, (12, 6 // groups, 4))
    flat = "same" if padding == "same" else (0, padding)
    expected = oracle.forward(
        x[:, :, None], w[:, :, None], None, (1, stride), flat, (1, dilation), groups
    )
    y = fc.conv1d(x, w, None, *arguments)
    assert_close(y, expected[:, :, 0], 1e-14)


@tables("channels-3-17", "stride-2-3x3", "depthwise-3x3")
def test_unbatched(case):
    x, w = Trial(case, "forward").operands()
    dy, _ = Trial(case, "backward_input").operands()
    arguments, inverse = case.arguments, (case.stride, case.padding, 0, case.groups)
    size, relu = case.x_shape[1:], {"activation": "relu"}
    bias, over = (np.linspace(-20, 0, n, dtype=np.float32) for n in (case.K, case.C))
    for one, batch in (
        (
            fc.conv2d(x[1], w, bias, *arguments, **relu),
            fc.conv2d(x[1:], w, bias, *arguments, **relu)[0],
        ),
        (
            fc.grad.conv2d_input(size, w, dy[1], *arguments),
            fc.grad.conv2d_input((1, *size), w, dy[1:], *arguments)[0],
        ),
        (
            fc.grad.conv2d_weight(x[1], case.w_shape, dy[1], *arguments),
            fc.grad.conv2d_weight(x[1:], case.w_shape, dy[1:], *arguments),
        ),
        (
            fc.conv_transpose2d(dy[1], w, over, *inverse, **relu),
            fc.conv_transpose2d(dy[1:], w, over, *inverse, **relu)[0],
        ),
    ):
        np.testing.assert_array_equal(one, batch)


@pytest.mark.parametrize("dtype", DTYPES)
@orders
@pytest.mark.parametrize("algorithm", ["auto", *fc.algorithms()])
@directions
@tables(
    "channels-3-17", "stride-2-1x1", "dilation-2", "groups-2-of-16", "depthwise-3x3", "halves-3x3",
)  # fmt: skip
def test_empty_batch(case, direction, algorithm, order, dtype):
    trial = Trial(case._replace(N=0), direction, dtype, order)
    result = trial.run(algorithm, *operands(trial, algorithm))
    shapes = {"forward": trial.case.y_shape, "backward_input": trial.case.x_shape}
    np.testing.assert_array_equal(result, np.zeros(shapes.get(direction, case.w_shape), dtype))
    assert result.dtype == dtype
    if direction != "backward_weight":
        assert (result.strides[1] == result.itemsize) == (order == "nhwc")


@orders
@algorithms
def test_empty_batch_with_bias_and_relu(algorithm, order):
    trial = Trial(cases.BY_NAME["halves-3x3"]._replace(N=0), "forward", order=order)
    x, w = operands(trial, algorithm)
    given = {"padding": 1, "algorithm": algorithm, "activation": "relu"}
    ones = np.ones(w.shape[0], x.dtype)
    assert fc.conv2d(x, w, ones, **given).shape == trial.case.y_shape
    assert fc.conv_transpose2d(x, w[:6], ones[:6], **given).shape == x.shape
    assert fc.conv1d(x[:, :, 0], w[:, :, 0], ones, **given).shape == (0, w.shape[0], x.shape[3])
