"""Modules: what they own, save, load and show."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict

import numpy as np
import oracle
import pytest
from gradients import check_gradients

import fastconv as fc
import fastconv.nn.functional as F
from fastconv import nn
from fastconv.data import DataLoader


def random(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def tree(seed=0):
    """A small net that has every layer."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1, dtype=np.float64, rng=rng),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False, dtype=np.float64, rng=rng),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(3, 4, dtype=np.float64, rng=rng),
    )


def test_forward_and_gradients_of_a_whole_net():
    net, x = tree(), random(2, 2, 4, 4)
    wanted = oracle.forward(x, net[0].weight.data, net[0].bias.data, padding=1)
    wanted = np.maximum(wanted, 0).reshape(2, 3, 2, 2, 2, 2).max((3, 5))
    wanted = oracle.forward(wanted, net[3].weight.data, padding=1, groups=3).mean((2, 3))
    wanted = wanted @ net[6].weight.data.T + net[6].bias.data
    np.testing.assert_allclose(net(x).detach().numpy(), wanted, atol=1e-12)
    check_gradients(net, x)
    target = np.array([1, 3])
    net.zero_grad()
    F.cross_entropy(net(x), target).backward()
    for name, parameter in net.named_parameters():
        before = parameter.data[(0,) * parameter.ndim]
        ends = []
        for step in (1e-6, -1e-6):
            parameter.data[(0,) * parameter.ndim] = before + step
            ends.append(F.cross_entropy(net(x), target).item())
        parameter.data[(0,) * parameter.ndim] = before
        slope = (ends[0] - ends[1]) / 2e-6
        assert parameter.grad[(0,) * parameter.ndim].item() == pytest.approx(slope, abs=1e-8), name


KEYS = ["0.weight", "0.bias", "3.weight", "6.weight", "6.bias"]


def test_names_and_order_are_those_of_pytorch():
    net = tree()
    assert list(net.state_dict()) == KEYS
    assert [name for name, _ in net.named_parameters()] == KEYS
    assert [name for name, _ in net.named_modules()] == ["", *"0123456"]
    assert [name for name, _ in net.named_children()] == list("0123456")
    assert list(net.modules()) == [net, *net.children()]
    assert [p.shape for p in net.parameters()] == [(3, 2, 3, 3), (3,), (3, 1, 3, 3), (4, 3), (4,)]


class Shared(nn.Module):
    def __init__(self):
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.again = self.first
        self.scale = nn.Parameter(np.float32(2))
        self.register_buffer("mean", np.zeros(3, np.float32))
        self.register_buffer("scratch", np.zeros(2, np.float32), persistent=False)
        self.register_buffer("nothing", None)


def test_what_is_shared_is_listed_once_and_saved_under_every_name():
    net = Shared()
    assert [n for n, _ in net.named_parameters()] == ["scale", "first.weight", "first.bias"]
    assert [n for n, _ in net.named_children()] == ["first", "second"]
    assert [n for n, _ in net.named_buffers()] == ["mean", "scratch"]
    assert list(net.buffers()) == [net.mean, net.scratch]
    assert list(net.state_dict()) == [
        "scale", "mean", "first.weight", "first.bias", "second.weight", "again.weight", "again.bias"
    ]  # fmt: skip


def test_attributes_stay_what_they_are():
    net = Shared()
    net.scale = nn.Parameter(np.float32(3))
    net.first = nn.ReLU()
    net.mean = None
    net.mean = nn.Buffer(np.ones(2))
    table = (("scale", np.ones(1)), ("mean", np.ones(1)), ("second", lambda x: x))
    for name, value in table:
        with pytest.raises(TypeError, match=f"{name} of Shared is a"):
            setattr(net, name, value)


def test_a_buffer_takes_the_value_of_a_tensor():
    net = Shared()
    net.mean = net.mean * 0.5 + nn.Parameter(np.ones(3, np.float32))
    assert type(net.mean) is nn.Buffer and not net.mean.requires_grad
    np.testing.assert_array_equal(net.state_dict()["mean"], 1)
    value = fc.Tensor(np.zeros(5))
    net.scratch = value  # of another shape; and still not saved
    net.scratch.data[0] = 1
    assert value[0].item() == 0
    net.nothing = value
    assert [n for n, _ in net.named_buffers()] == ["mean", "scratch", "nothing"]
    assert {"scratch", "nothing"} & set(net.state_dict()) == {"nothing"}
    net.register_buffer("mean", None)
    net.register_buffer("mean", np.ones(2), persistent=False)
    assert "mean" not in net.state_dict()


def test_what_was_set_to_none_keeps_its_kind():
    for duplicate in (copy.copy, copy.deepcopy):
        layer = nn.Linear(2, 3)
        layer.bias = None
        layer = duplicate(layer)
        with pytest.raises(TypeError, match="bias of Linear is a Parameter"):
            layer.bias = fc.Tensor(np.zeros(3, np.float32))
        layer.bias = nn.Parameter(np.zeros(3, np.float32))
        assert list(layer.state_dict()) == ["weight", "bias"]


def test_what_is_deleted_may_be_anything():
    net = Shared()
    net.register_buffer("mean", None)
    del net.mean
    net.mean = None
    net.mean = 3
    assert net.mean == 3


def test_weights_of_a_loss_may_come_later():
    loss = nn.CrossEntropyLoss()
    loss.weight = fc.Tensor(np.ones(3, np.float32))
    assert list(loss.state_dict()) == ["weight"]


@pytest.mark.parametrize("name", ["", "a.b", "scale", "first", "training", "forward", "T"])
def test_names_of_buffers_are_free(name):
    net = Shared()
    net.T = 3
    with pytest.raises(ValueError, match="cannot name a buffer: empty, dotted or taken"):
        net.register_buffer(name, np.ones(2))


def test_modules_may_know_their_parents():
    outer, inner = nn.Sequential(), nn.Linear(2, 2)
    outer.append(inner)
    inner.parent = inner.again = outer
    seen = []
    outer.apply(seen.append)
    assert list(outer.modules()) == seen[::-1] == [outer, inner]
    assert list(outer.state_dict()) == ["0.weight", "0.bias"]
    assert [n for n, _ in inner.named_parameters()] == ["weight", "bias"]
    assert outer.eval().train().training
    assert "..." in repr(outer)


def test_state_dict_round_trip(tmp_path):
    net, other, x = tree(seed=1), tree(seed=2), random(2, 2, 4, 4)
    before = other(x).detach().numpy()
    np.savez(tmp_path / "state.npz", **net.state_dict())
    arrays = [parameter.data for parameter in other.parameters()]
    with np.load(tmp_path / "state.npz") as saved:
        keys = other.load_state_dict(saved)
    assert keys == ([], [])
    assert all(p.data is a for p, a in zip(other.parameters(), arrays, strict=True))
    np.testing.assert_array_equal(other(x).detach().numpy(), net(x).detach().numpy())
    assert not np.array_equal(before, other(x).detach().numpy())
    other[6].bias.data[0] += 1
    assert net[6].bias.data[0] != other[6].bias.data[0]
    assert other.state_dict()["6.bias"] is other[6].bias.data


def test_what_does_not_fit_is_listed_before_anything_is_written():
    net = tree()
    state = copy.deepcopy(net.state_dict())
    del state["0.weight"], state["6.bias"]
    state["extra"] = np.ones(1)
    state["3.weight"] = np.ones((3, 1, 5, 5))
    state["6.weight"] = np.ones((4, 3), np.float32)
    state["0.bias"] += 1
    before = net[0].bias.data.copy()
    with pytest.raises(ValueError, match="loading state_dict for Sequential") as error:
        net.load_state_dict(state)
    for line in (
        'Missing key(s) in state_dict: "0.weight", "6.bias".',
        'Unexpected key(s) in state_dict: "extra".',
        "size mismatch for 3.weight: copying a param with size (3, 1, 5, 5) from checkpoint, "
        "the size in current model is (3, 1, 3, 3).",
        "dtype mismatch for 6.weight: copying a param with dtype float32 from checkpoint",
    ):
        assert line in str(error.value)
    with pytest.raises(ValueError, match=r"size mismatch for 3\.weight"):
        net.load_state_dict(state, strict=False)
    np.testing.assert_array_equal(net[0].bias.data, before)
    del state["3.weight"], state["6.weight"]
    keys = net.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["0.weight", "3.weight", "6.weight", "6.bias"]
    assert keys.unexpected_keys == ["extra"]
    np.testing.assert_array_equal(net[0].bias.data, before + 1)
    with pytest.raises(TypeError, match="state_dict must be a mapping, got list"):
        net.load_state_dict([])


def test_train_eval_apply_zero_grad():
    net, seen = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Linear(2, 2)), []
    assert net.eval() is net
    assert [module.training for module in net.modules()] == [False] * 4
    net.train()
    assert all(module.training for module in net.modules())
    assert net.apply(seen.append) is net
    assert seen == [net[0][0], net[0], net[1], net]
    net(np.ones((1, 2), np.float32)).sum().backward()
    net.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(net[1].weight.grad, 0)
    net.zero_grad()
    assert net[1].weight.grad is None


def test_copies_are_independent():
    net = tree()
    other = copy.deepcopy(net)
    other[0].weight.data[:] = 0
    assert net[0].weight.data.any()
    assert [name for name, _ in other.named_parameters()] == KEYS
    other(random(1, 2, 4, 4)).sum().backward()
    assert other[0].weight.grad is not None
    assert net[0].weight.grad is None


def test_parameters_and_buffers_copy_what_they_are_given():
    array = np.ones(3)
    for kept in (nn.Parameter(array), nn.Buffer(array)):
        kept.data[:] = 0
    np.testing.assert_array_equal(array, 1)
    assert not nn.Parameter(array, requires_grad=False).requires_grad


@pytest.mark.parametrize("make", [nn.Buffer, lambda data: nn.Parameter(data, requires_grad=False)])
def test_what_is_not_learned_is_updated_in_place(make):
    net, seen = nn.Module(), make(np.ones(2, np.float32))
    net.kept = seen
    net.kept *= 0.5
    net.kept += np.array([1.0, 2.0])
    with fc.no_grad():
        net.kept -= nn.Parameter(np.ones(2))
    assert net.kept is seen
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen.data, [0.5, 1.5])
    seen += nn.Parameter(np.ones(2))  # on the tape
    assert type(seen) is fc.Tensor
    assert seen.requires_grad
    np.testing.assert_array_equal(net.kept.data, [0.5, 1.5])


def test_what_parameters_are_computed_with_is_a_tensor():
    array = np.ones(3)
    assert type(nn.Parameter(array) * 2) is fc.Tensor


REPR = """\
Sequential(
  (0): Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (1): ReLU()
  (2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (3): Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=3, bias=False)
  (4): AvgPool2d(kernel_size=2, stride=1, padding=0)
  (5): Flatten(start_dim=1, end_dim=-1)
  (6): Linear(in_features=3, out_features=4, bias=True)
)"""


def test_repr_is_that_of_pytorch():
    assert repr(tree()) == REPR
    nested = repr(nn.Sequential(OrderedDict(stem=nn.Sequential(nn.ReLU(inplace=True)))))
    assert nested == "Sequential(\n  (stem): Sequential(\n    (0): ReLU(inplace=True)\n  )\n)"
    layer = nn.Conv2d(2, 2, 1, padding="same", padding_mode="circular", algorithm="reference")
    assert repr(layer).endswith("padding=same, padding_mode=circular, algorithm=reference)")
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()"
    assert repr(nn.Parameter([1.0])).startswith("Parameter containing:\ntensor([1.]")


def test_sequential():
    first, second = nn.ReLU(), nn.Flatten()
    named = nn.Sequential(OrderedDict(a=first, b=second))
    assert named.a is first
    assert named[1] is named[-1] is second
    assert len(named) == 2
    assert list(named) == [first, second]
    assert [name for name, _ in named[1:].named_children()] == ["b"]
    twice = nn.Sequential(first, first)
    assert (len(twice), list(twice)) == (2, [first, first])
    assert len(twice.append(second)) == 3
    assert list(twice[1:].append(first)) == [first, second, first]
    x = random(2, 3)
    assert nn.Sequential()(x) is x
    with pytest.raises(IndexError):
        named[2]


class Net(nn.Module):
    """As one writes it in PyTorch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, bias=False)
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        x = F.relu(self.conv(x)) * 2
        return self.fc(x.mean((2, 3)))


def test_a_module_of_ones_own():
    net = Net()
    assert list(net.state_dict()) == ["conv.weight", "fc.weight", "fc.bias"]
    assert net(random(4, 1, 5, 5).astype(np.float32)).shape == (4, 3)
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        nn.Module()(1)


def test_first_values():
    layer = nn.Conv2d(16, 64, 3, groups=4, rng=np.random.default_rng(0))
    limit = 1 / math.sqrt(16 // 4 * 9)
    for parameter in (layer.weight, layer.bias):
        assert parameter.dtype == np.float32
        assert 0.9 * limit < np.abs(parameter.data).max() <= limit
    assert abs(layer.weight.data.mean()) < 0.05 * limit
    assert layer.weight.data.std() == pytest.approx(limit / math.sqrt(3), rel=0.05)
    weight = nn.init.kaiming_uniform_(nn.Parameter(np.empty((50, 100))))
    assert 0.95 * math.sqrt(6 / 100) < np.abs(weight.data).max() <= math.sqrt(6 / 100)


def test_manual_seed_repeats_the_first_values():
    states = []
    for seed in (1, 1, 2):
        fc.manual_seed(seed)
        states.append(Net().state_dict())
    for a, b, c in zip(*(state.values() for state in states), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_manual_seed_reaches_loaders_made_before():
    loader, orders = DataLoader((np.arange(50),), 50, shuffle=True), []
    for seed in (1, 1, 2):
        fc.manual_seed(seed)
        orders += [batch.tolist() for (batch,) in loader]
    assert orders[0] == orders[1] != orders[2]


def test_float64_parameters_are_the_same_numbers():
    wide, narrow = (
        nn.Linear(3, 4, dtype=dtype, rng=np.random.default_rng(0))
        for dtype in (np.float64, np.float32)
    )
    np.testing.assert_array_equal(wide.weight.data.astype(np.float32), narrow.weight.data)


def test_kept_filters_notice_a_change_through_a_view():
    layer, x = nn.Conv2d(8, 8, 3), random(1, 8, 9, 9).astype(np.float32)
    with fc.no_grad():
        for _ in range(2):
            before = layer(x).data
        flat = layer.weight.view(-1)
        flat *= -2
        after = layer(x).data
    bias = layer.bias.data.reshape(-1, 1, 1)
    np.testing.assert_allclose(after - bias, -2 * (before - bias), rtol=1e-4, atol=1e-5)


def test_frozen_parameters_get_no_gradient():
    net = tree()
    net[0].weight.requires_grad = False
    net(random(2, 2, 4, 4)).sum().backward()
    assert net[0].weight.grad is None
    assert net[0].bias.grad is not None
