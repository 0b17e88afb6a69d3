"""SGD against its formulas written out, parameter groups, saved states, bad settings."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastconv as fc
from fastconv import nn, optim

# Settings, and the first three steps of p with gradients g1, g2, g3, from torch.optim.SGD's manual.
UPDATES = {
    "plain": (
        {"lr": 0.1},
        lambda p, g: (p1 := p - 0.1 * g[0], p2 := p1 - 0.1 * g[1], p2 - 0.1 * g[2]),
    ),
    "decay": (
        {"lr": 0.1, "weight_decay": 0.5},
        lambda p, g: (
            p1 := p - 0.1 * (g[0] + 0.5 * p),
            p2 := p1 - 0.1 * (g[1] + 0.5 * p1),
            p2 - 0.1 * (g[2] + 0.5 * p2),
        ),
    ),
    "momentum": (
        {"lr": 0.1, "momentum": 0.9},
        lambda p, g: (
            p1 := p - 0.1 * g[0],
            p2 := p1 - 0.1 * (0.9 * g[0] + g[1]),
            p2 - 0.1 * (0.9 * (0.9 * g[0] + g[1]) + g[2]),
        ),
    ),
    "dampening": (
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.25},
        lambda p, g: (
            p1 := p - 0.1 * g[0],  # the first step is not dampened
            p2 := p1 - 0.1 * (0.9 * g[0] + 0.75 * g[1]),
            p2 - 0.1 * (0.9 * (0.9 * g[0] + 0.75 * g[1]) + 0.75 * g[2]),
        ),
    ),
    "nesterov": (
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
        lambda p, g: (
            p1 := p - 0.1 * (g[0] + 0.9 * g[0]),
            p2 := p1 - 0.1 * (g[1] + 0.9 * (0.9 * g[0] + g[1])),
            p2 - 0.1 * (g[2] + 0.9 * (0.9 * (0.9 * g[0] + g[1]) + g[2])),
        ),
    ),
    "maximize": (
        {"lr": 0.1, "maximize": True},
        lambda p, g: (p1 := p + 0.1 * g[0], p2 := p1 + 0.1 * g[1], p2 + 0.1 * g[2]),
    ),
    "maximize-decay": (
        {"lr": 0.1, "maximize": True, "weight_decay": 0.5, "momentum": 0.9},
        lambda p, g: (
            p1 := p - 0.1 * (v1 := -g[0] + 0.5 * p),
            p2 := p1 - 0.1 * (v2 := 0.9 * v1 - g[1] + 0.5 * p1),
            p2 - 0.1 * (0.9 * v2 - g[2] + 0.5 * p2),
        ),
    ),
    "numpy-numbers": (
        {"lr": np.float32(0.5), "momentum": np.float64(0.5)},
        lambda p, g: (
            p1 := p - 0.5 * g[0],
            p2 := p1 - 0.5 * (0.5 * g[0] + g[1]),
            p2 - 0.5 * (0.5 * (0.5 * g[0] + g[1]) + g[2]),
        ),
    ),
}


def parameter(seed=0, dtype=np.float64):
    return nn.Parameter(np.random.default_rng(seed).standard_normal((2, 3)).astype(dtype))


def gradients(count=3):
    return np.random.default_rng(9).standard_normal((count, 2, 3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", UPDATES)
def test_updates(name, dtype):
    settings, formula = UPDATES[name]
    p, steps = parameter(dtype=dtype), gradients().astype(dtype)
    wanted = formula(p.data.astype(np.float64), steps.astype(np.float64))
    array, optimizer = p.data, optim.SGD([p], **settings)
    for gradient, expected in zip(steps, wanted, strict=True):
        p.grad = gradient
        assert optimizer.step() is None
        np.testing.assert_allclose(p.data, expected, rtol=1e-14 if dtype is np.float64 else 1e-5)
        np.testing.assert_array_equal(p.grad, gradient)  # the step leaves it alone
    assert p.data is array
    assert array.dtype == dtype


@pytest.mark.parametrize("name", UPDATES)
def test_a_parameter_of_no_axis_is_like_one_of_one_element(name):
    """NumPy makes scalars of arrays without axes, and what is added to a scalar is lost."""
    settings, found = UPDATES[name][0], []
    for shape in ((), (1,)):
        p = nn.Parameter(np.ones(shape))
        optimizer = optim.SGD([p], **settings)
        for gradient in (1.0, -2.0, 3.0):
            p.grad = np.full(shape, gradient)
            optimizer.step()
        found.append(p.item())
    assert found[0] == found[1]


def test_parameters_without_a_gradient_stay():
    p, still = parameter(), parameter(1)
    before = still.data.copy()
    optimizer = optim.SGD([p, still], 0.1, momentum=0.9, weight_decay=1)
    p.grad = np.ones((2, 3))
    optimizer.step()
    np.testing.assert_array_equal(still.data, before)
    assert list(optimizer.state) == [p]


def test_zero_grad():
    p = parameter()
    optimizer = optim.SGD([p], 0.1)
    p.grad = np.ones((2, 3))
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad, 0)
    optimizer.zero_grad()
    assert p.grad is None


def test_a_closure_computes_the_loss():
    p = nn.Parameter(np.array([3.0]))
    optimizer = optim.SGD([p], 0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert [optimizer.step(closure).item() for _ in range(2)] == pytest.approx([9, 2.4**2])


def test_a_closure_is_recorded_whatever_is_around():
    x = fc.Tensor([2.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.5)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with fc.no_grad():
        optimizer.step(closure)
    assert x.data == 0


def test_groups_have_settings_of_their_own():
    first, second, third = (parameter(seed) for seed in range(3))
    groups = [{"params": first}, {"params": [second], "lr": 0.5}]
    optimizer = optim.SGD(groups, lr=0.1)
    optimizer.add_param_group({"params": (third,), "lr": 0})
    starts = [p.data.copy() for p in (first, second, third)]
    for p in (first, second, third):
        p.grad = np.ones((2, 3))
    optimizer.step()
    for p, start, lr in zip((first, second, third), starts, (0.1, 0.5, 0), strict=True):
        np.testing.assert_allclose(p.data, start - lr)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    np.testing.assert_allclose(first.data, starts[0] - 1.1)


def test_a_saved_state_goes_on_where_it_was():
    settings = {"lr": 0.1, "momentum": 0.9}
    p, rest = parameter(), nn.Parameter(np.zeros(2))
    optimizer = optim.SGD([{"params": [rest]}, {"params": [p]}], **settings)
    steps = gradients(4)
    for gradient in steps[:2]:
        p.grad = gradient
        optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    assert [group["params"] for group in state["param_groups"]] == [[0], [1]]
    assert list(state["state"]) == [1]

    copied = nn.Parameter(p.data)
    other = optim.SGD([{"params": [nn.Parameter(np.zeros(2))]}, {"params": [copied]}], lr=7)
    other.load_state_dict(state)
    assert other.param_groups[1]["lr"] == 0.1
    assert other.param_groups[1]["params"] == [copied]
    for gradient in steps[2:]:
        for tensor, steps_of in ((p, optimizer), (copied, other)):
            tensor.grad = gradient
            steps_of.step()
        np.testing.assert_array_equal(copied.data, p.data)
    buffer = state["state"][1]["momentum_buffer"]
    assert other.state[copied]["momentum_buffer"] is not buffer


def test_a_state_that_is_refused_changes_nothing():
    p = parameter()
    optimizer = optim.SGD([p], 0.1, momentum=0.9)
    p.grad = np.ones((2, 3))
    optimizer.step()
    before, remembered = optimizer.state, optimizer.state[p]["momentum_buffer"]
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0] |= {"lr": 7, "weight_decay": -1}
    with pytest.raises(ValueError, match="weight_decay must be"):
        optimizer.load_state_dict(state)
    assert optimizer.state is before and before[p]["momentum_buffer"] is remembered
    assert optimizer.param_groups[0]["lr"] == 0.1


def _load(change):
    optimizer = optim.SGD([parameter()], 0.1, momentum=0.9)
    next(iter(optimizer.param_groups))["params"][0].grad = np.ones((2, 3))
    optimizer.step()
    state = copy.deepcopy(optimizer.state_dict())
    change(state)
    optimizer.load_state_dict(state)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: optim.SGD([]), ValueError, "params must not be empty"),
        (lambda: optim.SGD(parameter()), TypeError, "params must be a list"),
        (lambda: optim.SGD([np.ones(3)]), TypeError, r"params\[0\] must be a Tensor, got ndarray"),
        (lambda: optim.SGD([parameter() * 2]), ValueError, "not a leaf"),
        (lambda: optim.SGD([parameter()] * 2), ValueError, r"params\[1\] of shape \(2, 3\) is"),
        (
            lambda: optim.SGD([{"params": [p]} for p in [parameter()] * 2]),
            ValueError,
            "listed twice",
        ),
        (lambda: optim.SGD([parameter()], -0.1), ValueError, "lr must be at least 0, got -0.1"),
        (lambda: optim.SGD([parameter()], float("nan")), ValueError, "lr must be at least 0"),
        (lambda: optim.SGD([parameter()], "0.1"), TypeError, "lr must be a number, got '0.1'"),
        (lambda: optim.SGD([parameter()], momentum=-1), ValueError, "momentum must be"),
        (lambda: optim.SGD([parameter()], weight_decay=-1), ValueError, "weight_decay must be"),
        (lambda: optim.SGD([parameter()], nesterov=True), ValueError, "nesterov needs momentum"),
        (
            lambda: optim.SGD([parameter()], momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "dampening 0.1",
        ),
        (lambda: _load(lambda s: s["param_groups"].pop()), ValueError, r"\[\].*\[1\]"),
        (
            lambda: _load(lambda s: s["state"][0].update(momentum_buffer=np.ones(5))),
            ValueError,
            r"momentum_buffer of parameter 0 has shape \(5,\)",
        ),
        (
            lambda: _load(lambda s: s["state"][0].update(momentum_buffer=[1, 2])),
            ValueError,
            r"momentum_buffer of parameter 0 has shape \(2,\)",
        ),
        (lambda: _load(lambda s: s["state"].update({0: 3})), TypeError, "state of parameter 0"),
        (
            lambda: _load(lambda s: s["state"][0].update(momentum_buffer=0.5)),
            ValueError,
            r"momentum_buffer of parameter 0 has shape \(\), the parameter has \(2, 3\)",
        ),
        (
            lambda: _load(lambda s: s["state"][0].update(momentum_buffer="text")),
            TypeError,
            "momentum_buffer of parameter 0 must hold real numbers",
        ),
        (lambda: _load(lambda s: s["state"].update({7: {}})), ValueError, r"parameters \[7\]"),
        (
            lambda: _load(lambda s: s["param_groups"].append({"params": []})),
            ValueError,
            r"groups of \[1, 0\] parameters",
        ),
        (
            lambda: _load(lambda s: s["param_groups"][0].pop("params")),
            ValueError,
            r"lacks param_groups\[0\]\['params'\]",
        ),
        (lambda: optim.SGD([parameter()]).zero_grad("no"), TypeError, "set_to_none must be a bool"),
        (lambda: optim.SGD([parameter()], nesterov="no"), TypeError, "nesterov must be a bool"),
        (lambda: optim.SGD([parameter()], maximize=1), TypeError, "maximize must be a bool, got 1"),
        (
            lambda: _load(lambda s: s["param_groups"][0].update(maximize="no")),
            TypeError,
            "maximize must be a bool",
        ),
        (
            lambda: _load(lambda s: s["param_groups"][0].update(params=3)),
            TypeError,
            "lists of numbers",
        ),
        (lambda: optim.SGD(None), TypeError, "params must be a list"),
        (lambda: optim.SGD([{"params": parameter()}, parameter()]), TypeError, "group must be a"),
        (lambda: _load(lambda s: s["param_groups"][0].update(lr=-1)), ValueError, "lr must be"),
        (
            lambda: _load(lambda s: s["param_groups"][0].pop("lr")),
            ValueError,
            r"lacks param_groups\[0\]\['lr'\]",
        ),
        (lambda: _load(lambda s: s.clear()), ValueError, "lacks state, param_groups"),
        (lambda: optim.SGD([parameter()]).load_state_dict(None), TypeError, "state_dict must be"),
        (lambda: optim.SGD([{"lr": 1}]), ValueError, "a group must have 'params', got 'lr'"),
        (lambda: _load(lambda s: s.update(param_groups=[3])), TypeError, "list of mappings"),
        (lambda: _load(lambda s: s.update(state=5)), TypeError, r"\['state'\] must be a mapping"),
        (
            lambda: optim.SGD([{"params": 3}]),
            TypeError,
            "params of a group must be tensors",
        ),
    ],
)
def test_errors(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_a_saved_state_may_have_no_velocity():
    """As PyTorch's own, without momentum."""
    _load(lambda s: s["state"][0].update(momentum_buffer=None))


def test_what_is_remembered_of_a_parameter_that_has_left_is_not_saved():
    p = parameter()
    optimizer = optim.SGD([p, parameter()], 0.1, momentum=0.9)
    p.grad = np.ones((2, 3))
    optimizer.step()
    optimizer.param_groups[0]["params"].pop(0)
    assert optimizer.state_dict()["state"] == {}


def test_a_tensor_can_be_optimised():
    x = fc.Tensor(np.array([2.0, -1.0]), requires_grad=True)
    optimizer = optim.SGD([x], 0.1, momentum=0.5)
    for _ in range(60):
        optimizer.zero_grad()
        ((x - 3) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(x.data, 3, atol=1e-4)
