"""The tape: circuits of gates, what accumulates where, what is kept and freed."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import fastconv as fc


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


# Stanford's cs231n, "Backpropagation, Intuitions": circuits of gates, with the numbers given there.


def test_circuit_of_an_add_and_a_multiply_gate():
    x, y, z = (fc.Tensor(v, requires_grad=True) for v in (-2.0, 5.0, -4.0))
    q = x + y
    q.retain_grad()
    f = q * z
    f.backward()
    assert f.item() == -12
    assert [v.grad.item() for v in (x, y, z, q)] == [-4, -4, 3, -4]


def test_circuit_of_a_neuron():
    w = fc.Tensor(np.array([2.0, -3.0, -3.0]), requires_grad=True)
    x = fc.Tensor(np.array([-1.0, -2.0]), requires_grad=True)
    f = 1 / (1 + (-(w[0] * x[0] + w[1] * x[1] + w[2])).exp())
    f.backward()
    assert f.item() == pytest.approx(0.73, abs=0.005)
    np.testing.assert_allclose(w.grad, [-0.20, -0.39, 0.20], atol=0.005)
    np.testing.assert_allclose(x.grad, [0.39, -0.59], atol=0.005)


def test_circuit_with_a_max_gate():
    x, y, z, w = (fc.Tensor(v, requires_grad=True) for v in (3.0, -4.0, 2.0, -1.0))
    (2 * (x * y + z.maximum(w))).backward()
    assert [v.grad.item() for v in (x, y, z, w)] == [-8, 6, 2, 0]


def test_circuit_with_staged_sigmoids():
    x, y = (fc.Tensor(np.float64(v), requires_grad=True) for v in (3, -4))
    f = (x + y.sigmoid()) / (x.sigmoid() + (x + y) ** 2)
    f.backward()
    # the same stages backward by hand, as the course writes them
    sigy, sigx, xpy = _sigmoid(-4.0), _sigmoid(3.0), 3.0 - 4.0
    num, den = 3.0 + sigy, sigx + xpy**2
    dnum, dden = 1 / den, -num / den**2
    dx = dnum + (1 - sigx) * sigx * dden + 2 * xpy * dden
    dy = 2 * xpy * dden + (1 - sigy) * sigy * dnum
    assert f.item() == pytest.approx(num / den, rel=1e-14)
    assert x.grad.item() == pytest.approx(dx, rel=1e-14)
    assert y.grad.item() == pytest.approx(dy, rel=1e-14)


def test_uses_add_up():
    x = fc.Tensor(3.0, requires_grad=True)
    y = x * x + x
    (y * y).backward()
    assert x.grad.item() == 2 * 12 * 7


def test_gradients_accumulate_until_forgotten():
    x = fc.Tensor([1.0, 2.0], requires_grad=True)
    for total in (3, 6):
        (3 * x).sum().backward()
        np.testing.assert_array_equal(x.grad, [total, total])
    array = x.grad.data
    x.zero_grad(set_to_none=False)
    assert x.grad.data is array
    np.testing.assert_array_equal(array, 0)
    x.zero_grad()
    assert x.grad is None


def test_gradients_share_no_memory():
    x, y = (fc.Tensor(np.ones(3), requires_grad=True) for _ in range(2))
    first = np.ones(3)
    (x + y).backward(first)
    x.grad.data[:] = 7
    np.testing.assert_array_equal(y.grad, 1)
    np.testing.assert_array_equal(first, 1)

    for reduce, share in ((fc.Tensor.sum, 1), (fc.Tensor.mean, 1 / 6)):
        z = fc.Tensor(np.ones((2, 3)), requires_grad=True)
        reduce(z).backward()
        z.grad.data[0, 0] = 5  # a broadcast gradient would be read-only, or change everywhere
        np.testing.assert_array_equal(z.grad, [[5, share, share], [share] * 3])

    leaf = fc.Tensor(np.ones(3), requires_grad=True)
    leaf.backward(first)
    leaf.grad.data[:] = 7
    np.testing.assert_array_equal(first, 1)


def test_a_new_gradient_is_taken_without_a_copy():
    x, made = fc.Tensor(np.ones(3), requires_grad=True), np.zeros(4)[1:]
    fc.Tensor.record(x.data * 2, (x, lambda dy: made)).sum().backward()
    assert x.grad.data is made


def test_a_graph_serves_once_unless_retained():
    x = fc.Tensor(2.0, requires_grad=True)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 8
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        (y + 1).backward()
    assert x.grad.item() == 8


@pytest.mark.parametrize("backward", [True, False])
def test_deep_graphs_need_no_recursion(backward):
    x = fc.Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    if backward:
        y.backward()
        assert x.grad.item() == 1
    del y
    gc.collect()


def test_nothing_is_kept_longer_than_needed():
    x = fc.Tensor(np.ones(3), requires_grad=True)
    hidden = x * 2.0
    y = hidden.relu()
    unneeded, needed = weakref.ref(hidden.data), weakref.ref(y.data)
    total = y.sum()
    del hidden, y
    assert unneeded() is None, "relu's backward needs its result alone"
    assert needed() is not None
    total.backward()
    assert needed() is None, "the graph is freed after backward"


def test_operands_without_gradients_are_not_kept():
    x = fc.Tensor(np.ones(3))
    y = fc.Tensor(np.ones(3), requires_grad=True)
    product = x * y
    kept = weakref.ref(y.data)
    y.data = np.zeros(3)
    assert kept() is None, "only the gradient of x would need y"
    assert product.requires_grad


def test_no_grad():
    x = fc.Tensor(1.0, requires_grad=True)

    @fc.no_grad()
    def double(value):
        return value * 2

    with fc.no_grad():
        with fc.no_grad():
            pass
        assert not (x * 2).requires_grad
    assert not double(x).requires_grad
    assert (x * 2).requires_grad
    with pytest.raises(KeyError), fc.no_grad():
        raise KeyError
    assert (x * 2).requires_grad


def test_no_grad_decorates_without_parentheses():
    x = fc.Tensor(1.0, requires_grad=True)

    @fc.no_grad
    def double(value, times=2):
        return value * times

    @fc.enable_grad
    def recorded():
        return x * 2

    assert not double(x, times=3).requires_grad and double.__name__ == "double"
    with fc.no_grad():
        assert recorded().requires_grad
    for wrong in (type("Net", (), {}), False):
        with pytest.raises(TypeError, match="only functions can be decorated"):
            fc.no_grad(wrong)


def test_one_no_grad_serves_again():
    off, seen = fc.no_grad(), []

    def other_thread():
        with off:
            inside.set()
            left.wait(10)
            seen.append(fc.autograd.is_grad_enabled())
        seen.append(fc.autograd.is_grad_enabled())

    inside, left = threading.Event(), threading.Event()
    thread = threading.Thread(target=other_thread)
    with off:
        with off, fc.enable_grad():
            assert fc.autograd.is_grad_enabled()
        assert not fc.autograd.is_grad_enabled()
        thread.start()
        inside.wait(10)
    assert fc.autograd.is_grad_enabled()
    left.set()
    thread.join()
    assert seen == [False, True]


def test_no_grad_and_generators():
    """It would not hold while one runs."""
    with pytest.raises(TypeError, match="runs after its call: use with inside of it"):

        @fc.no_grad()
        def values():
            yield 1


def test_enable_grad_inside_no_grad():
    with fc.no_grad(), fc.enable_grad():
        y = _leaf() * 2
    assert y.requires_grad


def test_results_are_not_written_into_tensors():
    with pytest.raises(TypeError, match="all returned NotImplemented"):
        np.add(fc.Tensor([1.0]), 1, out=fc.Tensor([0.0]))


def test_no_grad_holds_for_one_thread():
    x, recorded = fc.Tensor(1.0, requires_grad=True), []
    with fc.no_grad():
        thread = threading.Thread(target=lambda: recorded.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert recorded == [True]


def test_threads_have_graphs_of_their_own():
    weights = [fc.Tensor(np.ones(5), requires_grad=True) for _ in range(4)]

    def train(w):
        for _ in range(50):
            (w * w).sum().backward()

    threads = [threading.Thread(target=train, args=(w,)) for w in weights]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for w in weights:
        np.testing.assert_array_equal(w.grad, 100)


def test_detach_leaves_the_tape():
    x = fc.Tensor([1.0, 2.0], requires_grad=True)
    y = (x * 2).detach()
    assert not y.requires_grad
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 4])
    assert x.detach().data is x.data


def test_equal_largest_elements_share_the_gradient():
    x = fc.Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.5, 0.5])
    x.grad = None
    x.max(0).values.backward()
    np.testing.assert_array_equal(x.grad, [0, 1, 0])
    assert x.max(0).indices.item() == x.argmax().item() == 1
    number = fc.Tensor(3.0, requires_grad=True)
    number.max(0).values.backward()
    assert (number.grad.item(), number.max(-1).indices.item()) == (1, 0)


def test_operations_can_be_added():
    x = fc.Tensor(np.array([0.3, 0.4]), requires_grad=True)
    y = fc.Tensor.record(np.sin(x.data), (x, lambda dy: dy * np.cos(x.data)))
    y.sum().backward()
    np.testing.assert_allclose(x.grad, np.cos([0.3, 0.4]))


def _leaf():
    return fc.Tensor([1.0, 2.0], requires_grad=True)


def _grid():
    return fc.Tensor(np.ones((2, 3)))


def _set(tensor, name, value):
    setattr(tensor, name, value)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: fc.Tensor([1.0]).backward(), RuntimeError, "requires a gradient"),
        (lambda: (_leaf() * 2).backward(), RuntimeError, r"shape \(2,\)"),
        (lambda: (_leaf() * 2).backward(np.ones(3, "f4")), ValueError, r"\(2,\), got \(3,\)"),
        (lambda: (_leaf() * 2).backward(np.ones(2)), TypeError, "float32, got float64"),
        (lambda: fc.Tensor([1, 2], requires_grad=True), TypeError, "int64"),
        (lambda: fc.Tensor([1.0], requires_grad="yes"), TypeError, "requires_grad must be a bool"),
        (lambda: _set(_leaf(), "requires_grad", 1), TypeError, "requires_grad must be a bool"),
        (lambda: fc.Tensor("text"), TypeError, "array must hold real numbers"),
        (lambda: fc.Tensor(np.ones(2, complex)), TypeError, "complex128"),
        (lambda: _leaf().numpy(), RuntimeError, "detach"),
        (lambda: np.asarray(_leaf()), RuntimeError, "detach"),
        (lambda: fc.Tensor([1.0]).retain_grad(), RuntimeError, "retain_grad"),
        (lambda: _set(_leaf() * 2, "requires_grad", False), RuntimeError, "leaves"),
        (lambda: _set(_leaf(), "grad", np.ones(3, "f4")), ValueError, r"\(2,\).*\(3,\)"),
        (lambda: _set(_leaf(), "data", "text"), TypeError, "data must hold real numbers"),
        (lambda: _set(_leaf(), "data", np.arange(2)), TypeError, "int64"),
        (lambda: _leaf().maximum("text"), TypeError, "other must be a Tensor, .* got str"),
        (lambda: _leaf().maximum([1.0, 2.0]), TypeError, "other must be a Tensor, .* got list"),
        (lambda: _leaf() + "text", TypeError, "unsupported operand"),
        (lambda: _leaf() + {}, TypeError, "unsupported operand"),
        (lambda: np.sinh(_leaf()), TypeError, "sinh"),
        (lambda: _leaf() + fc.Tensor([1.0, 2.0, 3.0]), ValueError, "broadcast"),
        (lambda: _leaf().flatten(2), ValueError, "start_dim"),
        (lambda: _leaf().flatten(0.5), TypeError, "start_dim must be an int"),
        (lambda: _grid().sum(2), ValueError, r"dim must be an axis of shape \(2, 3\), got 2"),
        (lambda: _grid().mean((0, -2)), ValueError, r"dim must name axes of shape \(2, 3\) once"),
        (lambda: _grid().amax("0"), TypeError, "dim must be an int"),
        (lambda: _grid().max((0, 1)), TypeError, r"dim must be an int, got \(0, 1\)"),
        (lambda: _grid().max(3), ValueError, "dim must be an axis"),
        (lambda: _grid().argmax(-3), ValueError, "dim must be an axis"),
        (lambda: _grid().sum(0, "yes"), TypeError, "keepdim must be a bool, got 'yes'"),
        (lambda: _grid().argmax(0, 1), TypeError, "keepdim must be a bool"),
        (lambda: _grid().size(4), ValueError, "dim must be an axis"),
        (lambda: _grid().squeeze(5), ValueError, "dim must be an axis"),
        (lambda: _grid().unsqueeze((0, 1)), TypeError, "dim must be an int"),
        (lambda: _grid().unsqueeze(4), ValueError, "dim must be an axis"),
        (lambda: _grid().permute(0), ValueError, r"dims must name every axis of shape \(2, 3\)"),
        (lambda: _grid().permute(0, 0), ValueError, "dims must name axes"),
        (lambda: _grid().permute(0, 2), ValueError, "dims must be an axis"),
        (lambda: _grid().transpose(0, 2), ValueError, "dim1 must be an axis"),
        (lambda: _grid().reshape(-2), ValueError, "shape must be at least -1, got -2"),
        (lambda: _grid().reshape(5, -1), ValueError, r"6 elements of .* got \(5, -1\)"),
        (lambda: _grid().reshape(-1, -1), ValueError, "shape must have the 6 elements"),
        (lambda: _grid().reshape(7), ValueError, "shape must have the 6 elements"),
        (lambda: _grid().reshape(2.0, 3), TypeError, "shape must be an int"),
        (lambda: fc.Tensor(np.ones((0, 3))).reshape(0, -1), ValueError, "the 0 elements"),
        (lambda: _grid().T.view(-1), ValueError, r"strides \(8, 24\) .*\(6,\): use reshape"),
        (lambda: fc.Tensor(np.ones((2, 2))).flatten(1, 0), ValueError, "comes after"),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_python_threads_add_to_one_gradient():
    """Backward passes of two threads through graphs of their own lose nothing."""
    weight = fc.Tensor(np.zeros((1000, 1000), np.float32), requires_grad=True)
    weight.sum().backward()  # from here on gradients are added
    together = threading.Barrier(8)

    def work():
        for _ in range(20):
            loss = (weight * 1.0).sum()
            together.wait()
            loss.backward()

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(weight.grad.data, 161)
