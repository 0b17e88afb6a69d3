"""Every operation of a tensor: values against NumPy, gradients against central differences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from gradients import check_gradients

import fastconv as fc


class Operation(NamedTuple):
    """What it does to tensors, what NumPy does to arrays, and the shapes of the operands."""

    name: str
    tensors: object
    arrays: object
    shapes: tuple = ((2, 3, 4),)
    positive: bool = False


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


OPERATIONS = (
    Operation("add", lambda a, b: a + b, np.add, ((3, 4), (3, 4))),
    Operation("add-row", lambda a, b: a + b, np.add, ((2, 3, 4), (4,))),
    Operation("add-column", lambda a, b: a + b, np.add, ((2, 1, 4), (3, 1))),
    Operation("add-scalar", lambda a, b: a + b, np.add, ((), (2, 3))),
    Operation("add-number", lambda a: a + 2, lambda a: a + 2),
    Operation("add-reflected", lambda a: 2 + a, lambda a: a + 2),
    Operation("subtract", lambda a, b: a - b, np.subtract, ((3, 1), (2, 3, 4))),
    Operation("subtract-reflected", lambda a: 1.5 - a, lambda a: 1.5 - a),
    Operation("multiply", lambda a, b: a * b, np.multiply, ((2, 3, 1), (3, 4))),
    Operation("multiply-self", lambda a: a * a, np.square),
    Operation("divide", lambda a, b: a / b, np.divide, ((2, 3), (3,)), True),
    Operation("divide-reflected", lambda a: 2 / a, lambda a: 2 / a, positive=True),
    Operation("power", lambda a, b: a**b, np.power, ((2, 3), (3,)), True),
    Operation("power-number", lambda a: a**3, lambda a: a * a * a),
    Operation("power-zero", lambda a: a**0, lambda a: a**0),
    Operation("power-reflected", lambda a: 2**a, np.exp2),
    Operation("maximum", lambda a, b: a.maximum(b), np.maximum, ((2, 3, 4), (4,))),
    Operation("negative", lambda a: -a, np.negative),
    Operation("absolute", abs, np.abs),
    Operation("exp", lambda a: a.exp(), np.exp),
    Operation("log", lambda a: a.log(), np.log, positive=True),
    Operation("sqrt", lambda a: a.sqrt(), np.sqrt, positive=True),
    Operation("tanh", lambda a: a.tanh(), np.tanh),
    Operation("sigmoid", lambda a: a.sigmoid(), _sigmoid),
    Operation("relu", lambda a: a.relu(), lambda a: np.maximum(a, 0)),
    Operation("matmul", lambda a, b: a @ b, np.matmul, ((2, 3), (3, 4))),
    Operation("matmul-vectors", lambda a, b: a @ b, np.matmul, ((3,), (3,))),
    Operation("matmul-matrix-vector", lambda a, b: a @ b, np.matmul, ((2, 3), (3,))),
    Operation("matmul-vector-matrices", lambda a, b: a @ b, np.matmul, ((3,), (5, 3, 4))),
    Operation("matmul-broadcast", lambda a, b: a @ b, np.matmul, ((5, 1, 2, 3), (2, 3, 1))),
    Operation("sum", lambda a: a.sum(), np.sum),
    Operation("sum-axes", lambda a: a.sum((0, -1)), lambda a: a.sum((0, 2))),
    Operation("sum-keepdim", lambda a: a.sum(1, True), lambda a: a.sum(1, keepdims=True)),
    Operation("mean", lambda a: a.mean(), np.mean),
    Operation("mean-axis", lambda a: a.mean(-1), lambda a: a.mean(2)),
    Operation("amax", lambda a: a.amax((0, 2)), lambda a: a.max((0, 2))),
    Operation("max", lambda a: a.max(), np.max),
    Operation("max-axis", lambda a: a.max(1).values, lambda a: a.max(1)),
    Operation("max-keepdim", lambda a: a.max(-1, True)[0], lambda a: a.max(2, keepdims=True)),
    Operation("reshape", lambda a: a.reshape(4, -1), lambda a: a.reshape(4, 6)),
    Operation("view", lambda a: a.view((6, 4)), lambda a: a.reshape(6, 4)),
    Operation("flatten", lambda a: a.flatten(), np.ravel),
    Operation("flatten-from", lambda a: a.flatten(1), lambda a: a.reshape(2, 12)),
    Operation("flatten-to", lambda a: a.flatten(0, -2), lambda a: a.reshape(6, 4)),
    Operation("permute", lambda a: a.permute(2, 0, -2), lambda a: a.transpose(2, 0, 1)),
    Operation("transpose", lambda a: a.transpose(0, -1), lambda a: a.swapaxes(0, 2)),
    Operation("T", lambda a: a.T, np.transpose, ((3, 4),)),
    Operation("unsqueeze", lambda a: a.unsqueeze(-1), lambda a: a[..., None]),
    Operation("squeeze", lambda a: a.squeeze(), np.squeeze, ((1, 3, 1),)),
    Operation("squeeze-one", lambda a: a.squeeze(np.int64(0)), lambda a: a[0], ((1, 3, 1),)),
    Operation("squeeze-axis", lambda a: a.squeeze((0, 1)), lambda a: a[0], ((1, 3, 1),)),
    Operation("index", lambda a: a[1], lambda a: a[1]),
    Operation("index-slices", lambda a: a[:, ::-2, None, 1:3], lambda a: a[:, ::-2, None, 1:3]),
    Operation("index-dots", lambda a: a[..., -1], lambda a: a[..., -1]),
    Operation("index-twice", lambda a: a[[0, 1, 0]], lambda a: a[[0, 1, 0]]),
    Operation(
        "index-mask",
        lambda a: a[np.array([[True, False, True], [False, True, True]])],
        lambda a: a[np.array([[True, False, True], [False, True, True]])],
    ),
    Operation(
        "index-tensors",
        lambda a: a[fc.Tensor(np.array([0, 1, 1])), :, fc.Tensor(np.array([3, 3, 0]))],
        lambda a: a[[0, 1, 1], :, [3, 3, 0]],
    ),
    Operation("numpy-exp", np.exp, np.exp),
    Operation("numpy-array-first", lambda a: np.arange(4.0) * a, lambda a: np.arange(4.0) * a),
    Operation("numpy-matmul", lambda a: np.eye(3) @ a, lambda a: np.eye(3) @ a),
)


def _operands(operation):
    rng = np.random.default_rng(3)
    for shape in operation.shapes:
        values = np.asarray(rng.standard_normal(shape))
        yield np.abs(values) + 0.5 if operation.positive else values


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_operation(operation):
    arrays = list(_operands(operation))
    wanted = operation.arrays(*arrays)
    result = operation.tensors(*map(fc.Tensor, arrays))
    assert isinstance(result, fc.Tensor)
    assert not result.requires_grad
    np.testing.assert_allclose(result.numpy(), wanted, rtol=1e-14)
    assert result.shape == np.shape(wanted)
    check_gradients(operation.tensors, *arrays)


# Those where no float64 array takes part, which would widen the result as in NumPy.
@pytest.mark.parametrize("operation", OPERATIONS[:-2], ids=lambda o: o.name)
def test_operation_keeps_float32(operation):
    tensors = [fc.Tensor(a.astype(np.float32), requires_grad=True) for a in _operands(operation)]
    result = operation.tensors(*tensors)
    assert result.dtype == np.float32
    result.backward(np.ones(result.shape, np.float32))
    assert all(tensor.grad.dtype == np.float32 for tensor in tensors)


@pytest.mark.parametrize("exponent", [0, fc.Tensor([0.0, 0.0, 0.0]), fc.Tensor([0.0, 1.0, 0.0])])
def test_a_power_of_zero_does_not_change_with_its_base(exponent):
    x = fc.Tensor([0.0, 0.0, 2.0], requires_grad=True)
    (x**exponent).sum().backward()
    np.testing.assert_array_equal(x.grad, np.broadcast_to(exponent, 3))


f32, f64 = np.ones(2, np.float32), np.ones(2)
i64, u8, yes = np.ones(2, np.int64), np.ones(2, np.uint8), np.ones(2, bool)


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda t: t(f32) * np.sqrt(2), "float32"),
        (lambda t: np.float64(2) * t(f32), "float32"),
        (lambda t: t(f32) * np.int64(3), "float32"),
        (lambda t: t(f32) * np.array(2.0), "float32"),
        (lambda t: t(f32) + t(np.float64(1)), "float32"),
        (lambda t: t(f32).sum() * np.float64(2), "float32"),
        (lambda t: t(f32).sum() * t(np.float64(2)), "float64"),
        (lambda t: t(f32) * t(f64), "float64"),
        (lambda t: t(f64) * np.float32(2), "float64"),
        (lambda t: t(i64) * t(f32), "float32"),
        (lambda t: t(yes) * t(f32), "float32"),
        (lambda t: t(f32).maximum(t(i64)), "float32"),
        (lambda t: t(i64) * 0.5, "float32"),
        (lambda t: t(i64) + t(np.float64(1)), "float64"),
        (lambda t: t(i64) / 2, "float32"),
        (lambda t: 2 / t(u8), "float32"),
        (lambda t: t(u8) + 1, "uint8"),
        (lambda t: t(u8) + t(i64), "int64"),
        (lambda t: t(yes) + 1, "int64"),
        (lambda t: t(i64) ** 2, "int64"),
        (lambda t: t(i64) ** 0.5, "float32"),
        (lambda t: t(u8).exp(), "float32"),
        (lambda t: t(yes).sqrt(), "float32"),
        (lambda t: t(i64).tanh(), "float32"),
        (lambda t: t(i64).sigmoid(), "float32"),
        (lambda t: t(u8).log(), "float32"),
        (lambda t: np.add(t(f32), [1.0, 2.0]), "float32"),
        (lambda t: t(i64) == 0.5, "bool"),
        (lambda t: t(u8).sum(), "int64"),
        (lambda t: t(yes).sum(0), "int64"),
        (lambda t: t(np.ones(2, np.int32)).sum(), "int64"),
    ],
)
def test_dtypes_combine_as_in_pytorch(result, dtype):
    assert result(fc.Tensor).dtype == dtype


def test_gradients_have_the_dtype_of_their_tensor():
    tensors = [fc.Tensor(value, requires_grad=True) for value in (f32, np.float64(3), f64)]
    narrow, scalar, wide = tensors
    (narrow * scalar * np.sqrt(2) * np.arange(2)).sum().backward()
    (narrow * wide).sum().backward()
    assert [t.grad.dtype for t in tensors] == [np.float32, np.float64, np.float64]
    assert scalar.grad.item() == pytest.approx(np.sqrt(2))
    with pytest.raises(TypeError, match="a tensor with a mean must be float32"):
        fc.Tensor(i64).mean()


def test_gradients_at_nan():
    """As PyTorch has them: a larger element beside a NaN is either."""
    a, b = (fc.Tensor(v, requires_grad=True) for v in ([np.nan, 1.0, 2.0], [1.0, np.nan, 2.0]))
    a.maximum(b).sum().backward()
    np.testing.assert_array_equal(a.grad, [1, 1, 0.5])
    np.testing.assert_array_equal(b.grad, [1, 1, 0.5])
    a.grad = None
    (abs(a) * 3).sum().backward()
    np.testing.assert_array_equal(a.grad, [0, 3, 3])


def test_wide_and_narrow_arrays_are_wide():
    narrow = fc.Tensor(np.ones(3, np.float32), requires_grad=True)
    wide = fc.Tensor(np.full(3, 2.0), requires_grad=True)
    product = narrow * wide
    assert product.dtype == np.float64
    product.sum().backward()
    assert (narrow.grad.dtype, wide.grad.dtype) == (np.float32, np.float64)
