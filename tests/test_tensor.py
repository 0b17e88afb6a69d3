"""Tensors as arrays: their dtypes, what they share, comparisons, changes in place, copies."""

from __future__ import annotations

import array
import copy
import operator
import pickle

import numpy as np
import pytest

import fastconv as fc


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([1, 2], "int64"),
        (True, "bool"),
        (np.float64(1), "float64"),
        (np.ones(2, np.float64), "float64"),
        (np.ones(2, ">f4"), "float32"),
        (np.ones(2, np.uint8), "uint8"),
        (fc.Tensor([1.0]), "float32"),
        ([np.float64(1), np.float64(2)], "float64"),
        ([1.0, np.float64(2)], "float64"),
        ([np.float32(1), 2.0], "float32"),
        ([np.int64(1), 2.0], "float32"),
        ([np.ones(2), np.zeros(2)], "float64"),
        (([fc.Tensor(np.ones(2))],), "float64"),
        ([np.ones(2, np.float32)], "float32"),
        ([[1.0], [2.0]], "float32"),
        ([], "float32"),
    ],
)
def test_dtype_of_a_new_tensor(value, dtype):
    tensor = fc.Tensor(value)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(value))


def test_arrays_are_shared_but_never_by_what_an_optimizer_writes_to():
    array = np.ones(3)
    assert fc.Tensor(array).data is array
    leaf = fc.Tensor(array, requires_grad=True)
    with fc.no_grad():
        leaf -= 1
    np.testing.assert_array_equal(array, 1)
    np.testing.assert_array_equal(leaf.data, 0)


def test_arrays_are_not_shared_by_what_is_made_a_leaf():
    array = np.ones(3)
    leaf = fc.Tensor(array)
    leaf.requires_grad = True
    alias = leaf.detach()
    assert alias.data is leaf.data
    for needed in (False, True):  # frozen and again not: the memory stays
        leaf.requires_grad = needed
    alias.requires_grad = True
    assert alias.data is leaf.data
    with fc.no_grad():
        leaf -= 1
    np.testing.assert_array_equal(array, 1)
    parameter = fc.nn.Parameter(array)
    memory = parameter.data
    for needed in (False, True):
        parameter.requires_grad = needed
    assert parameter.data is memory


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, complex, object])
def test_other_dtypes_are_refused(dtype):
    for make in (fc.Tensor, fc.nn.Parameter, fc.nn.Buffer):
        with pytest.raises(TypeError, match=f"array must hold real numbers.*{np.dtype(dtype)}"):
            make(np.ones(2, dtype))
    with pytest.raises(TypeError, match="array must hold"):
        fc.Tensor([np.ones(2, dtype)])


def test_a_tensor_is_a_sized_iterable_number_like_thing():
    t = fc.Tensor(np.arange(6.0).reshape(2, 3))
    assert (t.shape, t.ndim, t.dtype, t.numel(), len(t)) == ((2, 3), 2, np.float64, 6, 2)
    assert (t.size(), t.size(1)) == ((2, 3), 3)
    assert [row.numpy().tolist() for row in t] == [[0, 1, 2], [3, 4, 5]]
    assert float(t[1, 2]) == 5.0
    assert int(t[1, 2]) == 5
    assert bool(t[1, 2])
    assert repr(t[0]) == "tensor([0., 1., 2.], dtype=float64)"
    for number in (t.item, t.__bool__, t.__float__, t[:0].__bool__):
        with pytest.raises(ValueError, match=r"a tensor of size 1 is a number, not .*\([02], 3\)"):
            number()
    with pytest.raises(TypeError):
        iter(t[0, 0])


def test_a_tensor_with_one_integer_is_an_index():
    assert operator.index(fc.Tensor(2)) == 2
    assert [5, 6, 7][fc.Tensor([1])] == 6
    assert list(range(fc.Tensor(np.uint8(2)))) == [0, 1]
    for wrong in (1.0, [1, 2]):
        with pytest.raises(TypeError, match="only a tensor with one integer is an index"):
            operator.index(fc.Tensor(wrong))


def test_axes_are_any_sequence_and_none_is_all():
    t = fc.Tensor(np.arange(6.0).reshape(1, 2, 3))
    for dim in ((), []):
        assert t.sum(dim).item() == t.sum().item() == 15
        assert t.amax(dim, True).shape == (1, 1, 1)
        assert t.mean(dim).item() == 2.5
    assert t.sum([0, -1]).shape == (2,)
    assert t.squeeze([0, 1]).shape == (2, 3)
    assert t.squeeze(()).shape == t.shape
    number = fc.Tensor(3.0)
    assert number.sum(0).item() == number.amax(-1).item() == number.mean((0,)).item() == 3
    assert number.argmax(0).item() == 0 and number.squeeze(0).shape == ()


def test_comparisons_are_elementwise_and_off_the_tape():
    t = fc.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    table = ((t == 2, [0, 1, 0]), (t != 2, [1, 0, 1]), (t < 2, [1, 0, 0]), (t <= 2, [1, 1, 0]),
             (t > 2, [0, 0, 1]), (t >= 2, [0, 1, 1]))  # fmt: skip
    for result, wanted in table:
        assert result.dtype == bool
        assert not result.requires_grad
        np.testing.assert_array_equal(result, np.array(wanted, bool))
    assert {t: "found"}[t] == "found"
    assert t != "a string"


def test_numpy_writes_into_arrays_only_what_is_off_the_tape():
    array, t = np.ones(2), fc.Tensor(np.array([2.0, 3.0]), requires_grad=True)
    array -= 0.5 * t.detach()
    np.testing.assert_array_equal(array, [0, -0.5])
    with pytest.raises(RuntimeError, match="detach"):
        array -= t


def test_in_place_changes():
    x = fc.Tensor(np.array([4.0, 9.0]), requires_grad=True)
    with pytest.raises(RuntimeError, match="no_grad"):
        x += 1
    with pytest.raises(RuntimeError, match="no_grad"):
        x.zero_()
    array = x.data
    with fc.no_grad():
        x *= 2
        x /= 4
        x -= fc.Tensor([1.0, 1.0])
        x += 0.1
    assert x.data is array
    assert x.is_leaf
    np.testing.assert_array_equal(array, np.array([2.0, 4.5]) - 1 + 0.1)
    y = x * 1
    before = y
    y += 1  # a tensor on the tape becomes a new one
    assert y is not before
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, 1)
    x.grad.zero_()
    np.testing.assert_array_equal(x.grad, 0)


def test_in_place_changes_reach_what_shares_the_memory():
    layer = fc.nn.Linear(2, 3)
    with fc.no_grad():
        row, element, flat = layer.weight[0], layer.weight[1, 1], layer.weight.view(-1)
        flat *= 0
        row += 1
        element -= 2
    np.testing.assert_array_equal(layer.weight.data, [[1, 1], [0, -2], [0, 0]])
    whole = fc.Tensor(np.ones(2))
    total = alias = whole.detach()
    total *= 0.5
    total += np.array([1.0, 2.0])
    assert alias is total
    np.testing.assert_array_equal(whole, [1.5, 2.5])


def test_what_is_recorded_is_not_written():
    weight, plain = fc.Tensor([2.0], requires_grad=True), fc.Tensor([3.0])
    total = plain
    total += weight
    assert total.requires_grad and not plain.requires_grad
    np.testing.assert_array_equal(plain, 3)
    hidden = weight * 1
    with fc.no_grad():
        same = hidden
        same *= 2
    assert same is hidden and hidden.item() == 4


def test_a_matrix_product_in_place_is_another_tensor():
    square = before = fc.Tensor(np.eye(2))
    square @= np.ones((2, 3))
    np.testing.assert_array_equal(square, np.ones((2, 3)))
    np.testing.assert_array_equal(before, np.eye(2))


def test_elements_can_be_written():
    x, w = fc.Tensor(np.zeros((2, 3), np.float32)), fc.Tensor(np.ones(3), requires_grad=True)
    x[0] += 1
    x[x > 0] *= 2
    x[1, fc.Tensor([0, 2])] = fc.Tensor(np.float64([3, 4]))
    np.testing.assert_array_equal(x, [[2, 2, 2], [3, 0, 4]])
    assert x.dtype == np.float32
    with pytest.raises(RuntimeError, match="not recorded: it needs no_grad"):
        x[0] = w
    with pytest.raises(RuntimeError, match="not recorded"):
        w[0] = 1
    with fc.no_grad():
        w[0] = 7
    assert w.data[0] == 7
    with pytest.raises(TypeError, match="cannot be kept in a tensor of int64"):
        fc.Tensor([1, 2])[0] = 0.5
    with pytest.raises(TypeError, match="must be set to a tensor, array or number"):
        x[0] = "text"


def test_an_array_that_is_put_in_place_is_a_callers():
    parameter, array = fc.nn.Parameter(np.ones(2)), np.zeros(2)
    parameter.data = array
    parameter.requires_grad = False
    parameter.requires_grad = True
    with fc.no_grad():
        parameter += 1
    np.testing.assert_array_equal(array, 0)
    own = parameter.data
    parameter.data *= 2
    parameter.requires_grad = False
    parameter.requires_grad = True
    assert parameter.data is own


def _changed(array, change, other):
    return change(fc.Tensor(array), other)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: _changed(np.arange(2), operator.iadd, 1.5), TypeError, "tensor of int64"),
        (lambda: _changed(np.arange(2), operator.itruediv, 2), TypeError, "tensor of int64"),
        (lambda: _changed(np.ones(2, bool), operator.imul, 2), TypeError, "tensor of bool"),
        (
            lambda: _changed(np.ones(2), operator.imul, np.ones((3, 2))),
            ValueError,
            r"shape \(3, 2\) cannot be kept in a tensor of shape \(2,\)",
        ),
        (lambda: _changed(np.ones(2), operator.iadd, "text"), TypeError, "unsupported operand"),
        (lambda: _changed(np.ones(2), operator.imul, 1j), TypeError, "real numbers, not with 1j"),
        (lambda: _changed(np.ones(2), operator.mul, np.complex64(1)), TypeError, "real numbers"),
        (
            lambda: _changed(np.ones(2, np.int64), operator.add, np.ones(2, np.uint64)),
            TypeError,
            "no integers hold both int64 and uint64",
        ),
        (lambda: _changed(np.broadcast_to(1.0, 3), operator.iadd, 1), ValueError, "read-only"),
    ],
)
def test_in_place_changes_that_do_not_fit(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_leaves_can_be_copied(duplicate):
    x = fc.Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    y = duplicate(x)
    assert y.requires_grad
    assert y.data is not x.data
    np.testing.assert_array_equal(y.grad, [2, 4])
    y.sum().backward()
    np.testing.assert_array_equal(y.grad, [3, 5])
    np.testing.assert_array_equal(x.grad, [2, 4])
    with pytest.raises(RuntimeError, match="detach"):
        duplicate(x * 2)


def test_a_tensor_s_array_can_be_replaced():
    p = fc.Tensor([1.0, 2.0], requires_grad=True)
    other = np.array([3.0, 4.0], "f4")
    p.data = fc.Tensor(other)
    assert p.data is other and p.requires_grad
    p.data = [5.0, 6.0]
    assert p.data.dtype == np.float32
    p.grad = np.ones(2, "f4")
    for wrong in (np.ones(3, "f4"), np.ones(2)):
        with pytest.raises(ValueError, match=r"data must be float32 of shape \(2,\)"):
            p.data = wrong
    p.grad = None
    p.data = np.ones(3, "f4")


def test_gradients_are_changed_in_place():
    """As in clipping them by hand."""
    p = fc.Tensor([1.0, 2.0], requires_grad=True)
    (p * p).sum().backward()
    for _ in range(2):
        g = p.grad
        g *= 0.5
        p.grad = p.grad  # that of a tensor that was given one
    np.testing.assert_array_equal(p.grad, [0.5, 1.0])
    g = p.grad
    p.grad *= 2
    assert p.grad is g
    np.testing.assert_array_equal(g, [1.0, 2.0])


@pytest.mark.parametrize("kind", [np.asarray, fc.Tensor])
def test_a_gradient_that_is_given_is_copied(kind):
    p, given = fc.Tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0], np.float32)
    p.grad = kind(given)
    p.grad *= 2
    np.testing.assert_array_equal(given, [3, 4])
    given[:] = 0
    np.testing.assert_array_equal(p.grad, [6, 8])


def test_python_numbers_are_gradients_of_any_dtype():
    p = fc.Tensor(np.ones(2), requires_grad=True)
    (p * 3).backward([1.0, 2.0])
    np.testing.assert_array_equal(p.grad, [3.0, 6.0])


def test_a_number_is_formatted_as_one():
    assert f"{fc.Tensor(0.1234567):.3f} {fc.Tensor([2.5])}" == "0.123 tensor([2.5], dtype=float32)"
    with pytest.raises(ValueError, match="format"):
        format(fc.Tensor([1.0, 2.0]), ".3f")


@pytest.mark.parametrize(
    "wide",
    [
        [np.ones(2, ">f8"), np.ones(2, ">f8")],
        array.array("d", [1 / 3]),
        memoryview(np.full(2, 1 / 3)),
    ],
    ids=["byte-swapped", "array", "memoryview"],
)
def test_float64_of_any_kind_stays_float64(wide):
    tensor = fc.Tensor(wide)
    assert tensor.dtype == np.float64
    np.testing.assert_array_equal(tensor.data, np.asarray(wide))
