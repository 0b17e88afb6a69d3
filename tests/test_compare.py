"""``compare`` and what it measures with: who ran, how long, how wrong, and beside whom."""

from __future__ import annotations

import contextlib
import math
import re

import numpy as np
import pytest
from fakes import Clock, Fake, only

import fastconv as fc
from fastconv.conv import _peers, compare, measuring
from fastconv.conv._peers import Peer
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS, FORMATS, ConvProblem
from fastconv.simd import limits

SMALL = ConvProblem(2, 4, 6, 5, 8, 3, 3, padding=(1, 1, 1, 1))
SHAPES = ((2, 4, 6, 5), (8, 4, 3, 3), 1, 1)
BRIEF = {"seconds": 1e-6}


@pytest.fixture(autouse=True)
def known_peak(monkeypatch):
    """A peak of 100 GFLOP/s, or 200 where it is measured again; and no peer is installed."""
    peaks = iter([1e11, 2e11] * 99)
    monkeypatch.setattr(limits, "fma_peak", lambda dtype, workers, seconds: next(peaks))
    monkeypatch.setattr(_peers, "installed", lambda name: False)


@pytest.fixture
def peer(monkeypatch):
    """A library beside that is always 1 % too high, and the threads it was asked to use."""
    used = []

    def prepare(problem, first, second):
        if problem.direction == "backward_weight":
            raise ValueError("it does not train")
        exact = measuring._exact(problem, first, second)
        return lambda: 1.01 * exact

    @contextlib.contextmanager
    def limited(workers):
        used.append(workers)
        yield
        used.append("restored")

    monkeypatch.setitem(_peers.PEERS, "other", Peer(prepare, limited))
    monkeypatch.setattr(_peers, "installed", lambda name: name == "other")
    return used


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("order", FORMATS)
def test_measured_is_plausible(direction, order):
    problem = SMALL._replace(direction=direction, x_format=order, y_format=order)
    rows = measuring.measure(problem, budget=0)
    assert [row.algorithm for row in rows] == list(ALGORITHMS)
    for row in rows:
        reason = ALGORITHMS[row.algorithm].refuses(problem)
        assert row.reason == reason
        if reason is None:
            cost = ALGORITHMS[row.algorithm].cost(problem, fc.get_num_threads())
            assert 0 < row.seconds < 10 and 0 <= row.error < 1e-5 and row.spread >= 0
            assert row.gflops == pytest.approx(problem.flops / row.seconds / 1e9)
            assert row.executed == pytest.approx(cost.flops / row.seconds / 1e9)
            assert row.workspace == cost.workspace


def test_measured_error_shows_a_wrong_algorithm(monkeypatch):
    class Wrong(type(ALGORITHMS["reference"])):
        name = "wrong"

        def plan(self, problem, threads):
            right = super().plan(problem, threads)

            def run(first, second, out, bias, relu):
                right(first, second, out, bias, relu)
                out.flat[7] = np.nan

            return run

    monkeypatch.setitem(ALGORITHMS, "wrong", Wrong())
    rows = {row.algorithm: row for row in measuring.measure(SMALL, 0)}
    assert np.isnan(rows["wrong"].error)
    assert rows["reference"].error < 1e-6


@pytest.fixture
def timed(monkeypatch):
    """A clock that only two fakes move: "steady" by 2 s a run, "slow" by 50 s, 7 s to compile."""
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    fakes = [Fake("steady", clock, 2.0, compiling=7.0), Fake("slow", clock, 50.0)]
    with only(*fakes):
        yield fakes


def test_times_are_medians_of_interleaved_runs(timed):
    steady, slow = timed
    order = []
    for fake in timed:
        plan = fake.plan

        def noting(problem, threads, plan=plan, name=fake.name):
            run = plan(problem, threads)
            return lambda *operands: (order.append(name), run(*operands))

        fake.plan = noting
    rows = {row.algorithm: row for row in measuring.measure(SMALL, budget=11.0)}
    assert rows["steady"].seconds == 2.0 and rows["steady"].spread == 0
    assert rows["slow"].seconds == 50.0
    assert (steady.runs, slow.runs) == (1 + 6, 1 + 3)
    assert order == ["steady", "slow"] * 4 + ["steady"] * 3


def test_spread_is_between_the_quartiles():
    row = measuring._row(SMALL, "direct", [1.0, 2.0, 3.0, 4.0, 9.0], 0.0, 1)
    assert (row.seconds, row.spread) == (3.0, 2.0)


def test_compare_covers_directions_and_algorithms():
    comparison = fc.compare(*SHAPES, **BRIEF)
    assert [p.problem.direction for p in comparison.passes] == list(DIRECTIONS)
    for one in comparison.passes:
        assert one.problem == SMALL._replace(direction=one.problem.direction)
        assert [row.algorithm for row in one.rows] == list(fc.algorithms())
        assert one.chosen in fc.algorithms() and one.why and one.peak == 200
    assert comparison.missing == ("torch",)


def test_compare_beside_a_peer(peer):
    comparison = fc.compare(*SHAPES, peers=("other", "torch"), **BRIEF)
    forward, backward_input, backward_weight = (one.rows[-1] for one in comparison.passes)
    for row in (forward, backward_input):
        assert row.algorithm == "other" and row.reason is None
        assert row.error == pytest.approx(0.01)
        assert row.workspace is None and row.executed is None and row.gflops > 0
    assert backward_weight == measuring.Measured("other", "it does not train")
    assert comparison.missing == ("torch",)
    assert peer == [fc.get_num_threads(), "restored"] * 2
    text = str(comparison)
    assert text.count("\n  other") == 3 and "it does not train" in text
    assert text.endswith("torch is not installed")


def test_compare_reads_well(timed):
    text = str(fc.compare(*SHAPES, directions="forward", peers=(), seconds=5.0))
    lines = text.splitlines()
    assert lines[0] == "forward of 4→8, 3×3, on 2×4×6×5, padding 1"
    assert re.fullmatch(r"float32, nchw, \d threads?; 3.46e-05 GFLOP; peak 200 GFLOP/s", lines[1])
    assert lines[3].split() == [
        "algorithm", "time", "±", "GFLOP/s", "executed", "of", "peak", "scratch", "error",
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[5:7]] == [["●", "steady"], ["slow", "50"]]
    assert lines[-1].startswith("● steady: predicted to be 25.0× as fast")
    assert max(map(len, lines)) <= 100


def test_comparison_obeys_the_options(timed):
    with fc.options(algorithm="slow"):
        (one,) = fc.compare(*SHAPES, directions="forward", peers=(), **BRIEF).passes
    assert (one.chosen, one.why) == ("slow", "asked for")


WRONG = [
    ({"directions": "sideways"}, ValueError, "directions must be one of forward, backward_input"),
    ({"directions": ("forward", 3)}, TypeError, "directions must be a string"),
    ({"directions": 3}, TypeError, "directions must be names"),
    ({"peers": "tensorflow"}, ValueError, "peers must be one of torch; got 'tensorflow'"),
    ({"peers": None}, TypeError, "peers must be names"),
    ({"seconds": 0}, ValueError, "seconds must be positive"),
    ({"seconds": math.inf}, ValueError, "seconds must be positive and finite"),
    ({"seconds": "1"}, TypeError, "seconds must be a number"),
    ({"seconds": True}, TypeError, "seconds must be a number"),
    ({"dtype": "float16"}, TypeError, "dtype must be float32 or float64, got float16"),
    ({"memory_format": "chwn"}, ValueError, "memory_format must be one of nchw, nhwc"),
    ({"stride": 0}, ValueError, "stride must be at least 1"),
    ({"input_shape": (2, 3, 6, 5)}, ValueError, "input has 3 channels but weight expects 4"),
    ({"input_shape": (0, 4, 6, 5)}, ValueError, "the batch must not be empty"),
    ({"input_shape": 4}, TypeError, "input_shape must be a sequence of ints"),
    ({"weight_shape": (8, 4, 3)}, ValueError, "weight_shape must have 4 entries"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG)
def test_wrong_arguments(monkeypatch, changes, error, message):
    monkeypatch.setattr(compare, "_pass", None)  # nothing is run before
    good = {"input_shape": SHAPES[0], "weight_shape": SHAPES[1]}
    with pytest.raises(error, match=message):
        fc.compare(**good | changes)
