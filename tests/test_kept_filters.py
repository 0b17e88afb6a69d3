"""Filters that a layer keeps without gradients: never stale, dropped when they are not used."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import fastconv as fc
from fastconv.core.program import Program
from fastconv.plans import kept_filters
from fastconv.plans.kept_filters import KeptFilters, _equal

ALGORITHMS = ("direct", "im2col", "winograd", "fft", "strassen")


def _layer(algorithm="direct", **settings):
    fc.manual_seed(0)
    return fc.nn.Conv2d(16, 32, 3, padding=1, algorithm=algorithm, **settings)


def _image(size=12, n=2):
    rng = np.random.default_rng(size)
    return fc.Tensor(rng.standard_normal((n, 16, size, size)).astype(np.float32))


@pytest.fixture
def packed(monkeypatch):
    """The plans that packed filters, in order."""
    done = []
    pack = kept_filters._packed

    def counting(filters, *arguments):
        done.append(filters)
        return pack(filters, *arguments)

    monkeypatch.setattr(kept_filters, "_packed", counting)
    return done


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_results_are_those_of_training(algorithm, packed):
    layer, x = _layer(algorithm), _image()
    trained = layer(x).data
    with fc.no_grad():
        results = [layer(x).data for _ in range(3)]
    assert all(np.array_equal(y, trained) for y in results)
    assert len(packed) == len(set(packed)) == 1
    assert layer._filters.nbytes > 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("change", ["weight", "bias", "replaced", "sign of zero"])
def test_changed_weights_are_seen(algorithm, change):
    layer, x = _layer(algorithm), _image()
    layer.weight.data[5, 3, 1, 1] = 0.0
    with fc.no_grad():
        before = layer(x).data
        if change == "weight":
            layer.weight.data[-1, -1, -1, -1] += 1
        elif change == "bias":
            layer.bias.data[7] += 1
        elif change == "replaced":
            layer.weight.data = layer.weight.data[::-1]
        else:
            layer.weight.data[5, 3, 1, 1] = -0.0
        after = layer(x).data
    assert np.array_equal(after, layer(x).data)
    assert np.array_equal(before, after) == (change == "sign of zero")


def test_weights_that_are_written_to_while_they_are_packed(monkeypatch):
    """Another thread's new weights, in place as soon as the old ones are packed, are seen."""
    layer, x = _layer(), _image()
    original = Program.run

    def run(self, *bases):
        """Packing is the first program that runs."""
        patch.undo()
        result = original(self, *bases)
        layer.weight.data += 1
        layer.bias.data += 1
        return result

    with fc.no_grad():
        with monkeypatch.context() as patch:
            patch.setattr(Program, "run", run)
            layer(x)
        assert np.array_equal(layer(x).data, copy.deepcopy(layer)(x).data)


def test_training_keeps_nothing(packed):
    layer = _layer()
    layer(_image())
    assert packed == [] and layer._filters.nbytes == 0


def test_what_is_not_used_is_dropped(packed):
    layer = _layer()
    with fc.no_grad():
        layer(_image(12))
        one = layer._filters.nbytes
        layer(_image(20))
        layer(_image(20))
    assert len(packed) == 2 and len(layer._filters._entries) == 1
    assert layer._filters.nbytes < 2 * one


def test_strassen_packs_each_of_its_products(packed):
    """Seven of them run one plan, on sums of the weights: only the first one's are kept."""
    layer, x = _layer("strassen"), _image()
    with fc.no_grad():
        results = [layer(x).data for _ in range(2)]
    assert np.array_equal(*results) and len(packed) == 1


def test_an_error_keeps_what_was_there():
    layer, x = _layer(), _image()
    with fc.no_grad():
        layer(x)
        held = layer._filters._entries
        with pytest.raises(ValueError, match="input"):
            layer(fc.Tensor(np.zeros((1, 3, 8, 8), np.float32)))
    assert layer._filters._entries is held


def test_threads_share_a_layer():
    layer, images = _layer(), [_image(size) for size in (8, 12, 16, 20)]
    expected = [layer(x).data for x in images]
    wrong = []

    def run(x, y):
        with fc.no_grad():
            for _ in range(20):
                if not np.array_equal(layer(x).data, y):
                    wrong.append(x.shape)

    pairs = zip(images, expected, strict=True)
    workers = [threading.Thread(target=run, args=pair) for pair in pairs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_threads_share_a_session(monkeypatch):
    """Of two that pack the same filters at once, the second does not drop what the first reads."""
    layer, x, kept = _layer(), _image(), KeptFilters()
    weight = layer.weight.data
    pack, first = kept_filters._packed, []

    def interrupted(filters, *arguments):
        if not first:
            first.append(filters)
            first.append(fc.conv2d(x.data, -weight, padding=1, algorithm="direct"))
        return pack(filters, *arguments)

    monkeypatch.setattr(kept_filters, "_packed", interrupted)
    with kept.reused():
        y = fc.conv2d(x.data, weight, padding=1, algorithm="direct")
    assert np.array_equal(y, -first[1])
    assert np.array_equal(kept._entries[first[0]].weight, -weight)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_of_a_layer_begin_anew(again):
    layer, x = _layer(), _image()
    with fc.no_grad():
        y = layer(x).data
        other = again(layer)
        assert isinstance(other._filters, KeptFilters) and other._filters.nbytes == 0
        assert np.array_equal(other(x).data, y)
    assert set(layer.state_dict()) == {"weight", "bias"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 3, 15, 16, 17, 1000, 70_001])
def test_every_element_counts(dtype, size):
    rng = np.random.default_rng(size)
    one = rng.standard_normal(size).astype(dtype)
    for threads in (1, 2):
        assert _equal(one, one.copy(), threads)
        for at in {0, size // 2, size - 1}:
            other = one.copy()
            other[at] = np.nextafter(other[at], 2 * other[at])
            assert not _equal(one, other, threads)
