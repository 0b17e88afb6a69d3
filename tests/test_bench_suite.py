"""The asv suite in ``bench/``: what its benchmarks are, whom they skip and what they compute."""

from __future__ import annotations

import contextlib
import itertools
import math

import numpy as np
import processes
import pytest
from benchmarks import (
    axes,
    backward_input,
    backward_weight,
    calls,
    figures,
    forward,
    startup,
    timed,
    training,
)

import fastconv as fc
from fastconv.conv import _peers
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS
from fastconv.simd import limits

PASSES = {m.__name__.split(".")[-1]: m for m in (forward, backward_input, backward_weight)}
AXES = ("FilterSize", "DepthwiseFilterSize", "Channels", "Image", "Batch", "Threads")
SUITES = [getattr(module, axis)() for module in PASSES.values() for axis in AXES]
SUITES += [figures.Forward(), figures.BackwardInput(), figures.BackwardWeight()]


def name_of(suite):
    return f"{type(suite).__module__}.{type(suite).__name__}"


class Tiny(axes.Axis):
    """An axis of two points that take no time."""

    params = (axes.ALGORITHMS, (1, 3))
    param_names = ("algorithm", "filter size")

    def __init__(self, direction="forward", groups=1):
        self.direction, self.groups = direction, groups

    def problem(self, x):
        return self._layer(N=1, C=4, size=6, taps=x, groups=self.groups)


class TinyTimed(Tiny, timed.Timed):
    pass


class TinyFigures(Tiny, figures.Tracked):
    pass


@pytest.fixture(autouse=True)
def forgotten():
    """No test finds calls that an earlier one has prepared."""
    yield
    calls.prepare.cache_clear()
    training._prepare.cache_clear()


@pytest.fixture(autouse=True)
def no_peer(monkeypatch):
    for module in (calls, _peers):
        monkeypatch.setattr(module, "installed", lambda name: False)


@pytest.fixture
def peer(monkeypatch):
    """A library in the place of PyTorch; the threads it was given."""
    given = []

    @contextlib.contextmanager
    def limited(workers):
        given.append(workers)
        yield
        given.append("restored")

    one = _peers.Peer(lambda problem, first, second: lambda: first, limited)
    monkeypatch.setitem(_peers.PEERS, "torch", one)
    monkeypatch.setattr(calls, "installed", lambda name: True)
    return given


@pytest.mark.parametrize("suite", [*SUITES, training.Digits()], ids=name_of)
def test_algorithm_comes_first_and_one_numeric_axis_second(suite):
    names, points = suite.params
    assert len(suite.param_names) == 2 and suite.param_names[0] == "algorithm"
    assert len(names) <= 8 and set(names) <= {"auto", *ALGORITHMS, *_peers.PEERS}
    assert list(points) == sorted(set(points)) and all(type(x) is int for x in points)


@pytest.mark.parametrize("suite", SUITES, ids=name_of)
def test_axes_change_one_thing(suite):
    problems = [suite.problem(x) for x in suite.params[1]]
    assert {p.direction for p in problems} == {suite.direction}
    assert all((p.P, p.Q) == (p.H, p.W) for p in problems)
    changed = {f for one, two in itertools.pairwise(problems) for f in _changed(one, two)}
    assert changed in (
        {"R", "S", "padding"}, {"C", "K"}, {"H", "W"}, {"N"}, set(),
    )  # fmt: skip
    if not changed:
        assert [suite.threads(x) for x in suite.params[1]] == list(suite.params[1])


def _changed(one, two):
    return [field for field in one._fields if getattr(one, field) != getattr(two, field)]


def test_every_pass_has_every_axis():
    for direction, module in PASSES.items():
        assert [getattr(module, axis).direction for axis in AXES] == [direction] * len(AXES)
    assert list(PASSES) == list(DIRECTIONS)


@pytest.mark.parametrize("name", sorted(set(axes.ALGORITHMS) - {"auto", "torch"}))
def test_every_algorithm_runs_somewhere(name):
    problems = [suite.problem(3) for suite in (forward.FilterSize(), forward.DepthwiseFilterSize())]
    assert any(ALGORITHMS[name].refuses(problem) is None for problem in problems)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_ineligible_pairs_are_skipped_and_others_computed(direction, groups):
    suite = TinyTimed(direction, groups)
    for name, x in itertools.product(*suite.params):
        problem = suite.problem(x)
        if name == "torch" or (name != "auto" and ALGORITHMS[name].refuses(problem)):
            with pytest.raises(NotImplementedError):
                suite.setup(name, x)
        else:
            suite.setup(name, x)
            suite.time_pass(name, x)
            exact = calls.prepare(problem, "reference")()
            assert np.abs(suite.call() - exact).max() <= 1e-3 * np.abs(exact).max()
        suite.teardown(name, x)  # as asv does after a skip, too


def test_setup_has_run_the_call_before_it_is_timed(monkeypatch):
    runs = []
    monkeypatch.setattr(calls, "public_call", lambda *_: lambda algorithm: runs.append(algorithm))
    suite = TinyTimed()
    for _ in range(3):  # asv sets up before each sample
        suite.setup("direct", 3)
        suite.teardown("direct", 3)
    assert runs == ["direct"]
    suite.time_pass("direct", 3)
    assert runs == ["direct"] * 2


def test_a_peer_is_one_more_algorithm(peer):
    suite = TinyTimed()
    suite.setup("torch", 3)
    assert suite.call().shape == suite.problem(3).x_shape
    suite.teardown("torch", 3)
    assert peer == [fc.get_num_threads(), "restored"]


def test_threads_are_those_of_the_axis(monkeypatch):
    class Spread(TinyTimed):
        def threads(self, x):
            return x

    before, suite = fc.get_num_threads(), Spread()
    suite.setup("direct", 1)
    assert fc.get_num_threads() == 1
    suite.teardown("direct", 1)
    assert fc.get_num_threads() == before
    monkeypatch.setattr(calls, "cpu_count", lambda: 2)
    with pytest.raises(NotImplementedError, match="3 threads on 2 processors"):
        suite.setup("direct", 3)
    suite.teardown("direct", 3)


def test_versions_are_those_of_the_problems():
    assert Tiny().version == Tiny().version != Tiny(groups=4).version
    assert len({suite.version for suite in SUITES}) == len(SUITES) - 3  # figures repeat one axis


def test_figures_are_those_of_compare(monkeypatch):
    monkeypatch.setattr(figures, "_SECONDS", 1e-6)
    monkeypatch.setattr(limits, "fma_peak", lambda *arguments: 2e11)
    suite = TinyFigures()
    found = suite.compare()
    assert {x for _, x in found} == {1, 3}
    for name, x in itertools.product(*suite.params):
        if (name, x) not in found or found[name, x][0].reason is not None:
            with pytest.raises(NotImplementedError):
                suite.setup(found, name, x)
            continue
        suite.setup(found, name, x)
        row = found[name, x][0]
        assert suite.track_effective(found, name, x) == row.gflops > 0
        assert suite.track_executed(found, name, x) == row.executed > 0
        assert suite.track_share(found, name, x) == pytest.approx(row.executed / 2)
        assert suite.track_workspace(found, name, x) == row.workspace
        assert suite.track_error(found, name, x) == row.error < 1e-3
    assert found["auto", 3] in [
        row for (name, x), row in found.items() if name != "auto" and x == 3
    ]


def test_figures_that_are_not_known_of_a_peer_are_skipped():
    suite = TinyFigures()
    row = figures.Measured("torch", seconds=1.0, gflops=2.0, error=1e-7, workspace=None)
    found = {("torch", 3): (row, 100.0)}
    suite.setup(found, "torch", 3)
    assert suite.track_effective(found, "torch", 3) == 2.0
    for track in (suite.track_executed, suite.track_share, suite.track_workspace):
        assert math.isnan(track(found, "torch", 3)) and track.unit


def test_each_class_of_figures_has_its_own_cache():
    """asv tells caches apart by where their functions stand."""
    classes = (figures.Forward, figures.BackwardInput, figures.BackwardWeight)
    assert len({one.setup_cache.__code__.co_firstlineno for one in classes}) == 3


def test_first_call_is_a_program():
    suite = startup.FirstCall()
    suite.setup("direct")
    call, before = suite.timeraw_cold("direct")
    shown = "print(*y.shape, len(os.listdir(folder.name)))"
    assert processes.run(f"{before}\ny = {call}\n{shown}") == "2 32 28 28 1"
    warm_call, warm_before = suite.timeraw_warm("direct")
    assert warm_call == call and before.endswith(warm_before)


def test_import_skips_what_is_not_installed(monkeypatch):
    startup.Import().setup("fastconv")
    assert startup.Import().timeraw_import("fastconv") == "import fastconv"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotImplementedError, match="torch is not installed"):
        startup.Import().setup("torch")


def test_training_step():
    suite = training.Digits()
    suite.setup("direct", 8)
    suite.time_step("direct", 8)
    suite.teardown("direct", 8)
    with pytest.raises(NotImplementedError, match="strassen"):
        suite.setup("strassen", 8)
    suite.teardown("strassen", 8)


def test_training_learns(monkeypatch):
    losses = []
    compute = fc.nn.CrossEntropyLoss.forward
    monkeypatch.setattr(
        fc.nn.CrossEntropyLoss,
        "forward",
        lambda *arguments: losses.append(compute(*arguments)) or losses[-1],
    )
    step = training._prepare("direct", 8)
    for _ in range(5):
        step()
    assert losses[-1].item() < losses[0].item()
