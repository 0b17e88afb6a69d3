"""``compare`` and what it measures with: who ran, how long, how wrong, and beside whom."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from fakes import Clock, Fake, only

import fastconv as fc
from fastconv.conv import _peers, compare, measuring, selector
from fastconv.conv._peers import Peer
from fastconv.conv.options import Request
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
    """A clock that only two fakes move: "steady" by 2 s a run, "slow" by 9 s, 7 s to compile."""
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    fakes = [Fake("steady", clock, 2.0, compiling=7.0), Fake("slow", clock, 9.0)]
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
    assert rows["slow"].seconds == 9.0
    assert (steady.runs, slow.runs) == (1 + 6 + 1, 1 + 3 + 1)
    assert (rows["steady"].runs, rows["slow"].runs) == (6, 3)
    rounds = [order[start : start + 2] for start in range(0, 8, 2)]
    assert all(sorted(one) == ["slow", "steady"] for one in rounds)
    assert order[8:-2] == ["steady"] * 3


def test_who_is_hopelessly_slow_runs_once(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    with only(Fake("quick", clock, 1.0), Fake("slow", clock, 4.9), Fake("hopeless", clock, 5.1)):
        rows = measuring.measure(SMALL, budget=4.0)
    assert {row.algorithm: row.runs for row in rows} == {"quick": 4, "slow": 3, "hopeless": 1}
    assert rows[-1].seconds == pytest.approx(5.1) and rows[-1].spread == 0
    with only(Fake("quick", clock, 0.1), Fake("hopeless", clock, 1.0)):
        rows = measuring.measure(SMALL, budget=10.0)
    assert rows[-1].runs == 10  # within its budget everybody goes on


def test_everybody_follows_everybody_equally_often(monkeypatch):
    monkeypatch.setattr(measuring, "clock", Clock())
    order = []

    def run(name):
        order.append(name)
        measuring.clock.now += 1.0

    measuring._interleaved({name: functools.partial(run, name) for name in "abcd"}, 1000.0, 0)
    pairs = Counter(itertools.pairwise(order))
    for rival, name in itertools.permutations("abcd", 2):
        assert 250 < pairs[rival, name] < 375


def test_a_peer_measured_against_itself_is_level(monkeypatch):
    """Though one algorithm leaves the caches so that whoever runs next takes half as long again."""
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    before = [None]

    class Dirty(Fake):
        def plan(self, problem, threads):
            run = super().plan(problem, threads)
            return lambda *operands: (run(*operands), before.append("dirty"))

    def prepare(problem, first, second):
        exact = measuring._exact(problem, first, second)

        def run():
            clock.now += 1.5 if before[-1] == "dirty" else 1.0
            before.append("clean")
            return exact

        return run

    peer = Peer(prepare, lambda workers: contextlib.nullcontext())
    for name in ("one", "two"):
        monkeypatch.setitem(_peers.PEERS, name, peer)
    with only(Dirty("dirty", clock, 1.5)):
        rows = {r.algorithm: r for r in measuring.measure(SMALL, 600.0, ("one", "two"))}
    assert rows["one"].seconds / rows["two"].seconds == 1
    assert rows["one"].runs == pytest.approx(rows["two"].runs, rel=0.03)


BROKEN = [ImportError("no symbol"), OSError("libgomp.so.1: not found"), RuntimeError("no GPU")]


@pytest.mark.parametrize("error", BROKEN)
def test_a_peer_that_is_broken_is_one_that_cannot_run_it(monkeypatch, error):
    def prepare(problem, first, second):
        raise error

    peer = Peer(prepare, lambda workers: contextlib.nullcontext())
    monkeypatch.setitem(_peers.PEERS, "broken", peer)
    *_, row = measuring.measure(SMALL, 0, ("broken",), ("direct",))
    assert row.algorithm == "broken" and row.reason == str(error)


def test_only_the_algorithms_asked_for_are_measured():
    assert [r.algorithm for r in measuring.measure(SMALL, 0, (), ("im2col",))] == ["im2col"]


def test_spread_is_between_the_quartiles():
    row = measuring._row(SMALL, "direct", [1.0, 2.0, 3.0, 4.0, 9.0], 0.0, 1)
    assert (row.seconds, row.spread) == (3.0, 2.0)


def test_compare_covers_directions_and_algorithms():
    comparison = fc.compare(*SHAPES, **BRIEF)
    assert [p.problem.direction for p in comparison.passes] == list(DIRECTIONS)
    for one in comparison.passes:
        assert one.problem == SMALL._replace(direction=one.problem.direction)
        assert [row.algorithm for row in one.rows] == list(fc.algorithms())[:-1]  # no reference
        assert (one.asked, one.budget) == (Request(), 1e-6)
        assert one.chosen in fc.algorithms() and one.why and one.peak == 200
        assert [one.share(r) for r in one.ranked] == [r.executed / 200 for r in one.ranked]
    assert comparison.missing == ("torch",)


def test_compare_beside_a_peer(peer):
    comparison = fc.compare(*SHAPES, peers=("other", "torch"), **BRIEF)
    forward, backward_input, backward_weight = (one.rows[-1] for one in comparison.passes)
    for row in (forward, backward_input):
        assert row.algorithm == "other" and row.reason is None
        assert row.error == pytest.approx(0.01)
        assert row.workspace is None and row.executed is None and row.gflops > 0
        assert comparison.passes[0].share(row) is None
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
    assert [line.split()[:2] for line in lines[5:7]] == [["●", "steady"], ["slow", "9"]]
    assert lines[-1].startswith("● steady: predicted to be 4.5× as fast")
    assert max(map(len, lines)) <= 100


def test_comparison_obeys_the_options(timed):
    with fc.options(algorithm="slow"):
        (one,) = fc.compare(*SHAPES, directions="forward", peers=(), **BRIEF).passes
    assert (one.chosen, one.why) == ("slow", "asked for")


def test_comparison_takes_an_accuracy_and_a_limit_of_scratch(timed):
    limits = dict(accuracy="fast", max_workspace=1 << 20)
    (one,) = fc.compare(*SHAPES, directions="forward", peers=(), **limits, **BRIEF).passes
    assert one.asked == Request("auto", **limits)


JUDGED = [  # fakes as (name, seconds, error), chosen → winner, regret, notes in their order
    ((("a", 1.0, 0), ("b", 4.0, 0)), "a", "a", 1.0, ["● a: "]),
    ((("a", 1.0, 0), ("b", 4.0, 0)), "b", "a", 4.0, ["● b: ", "a is the fastest allowed; b takes"]),
    (
        (("a", 1.0, 1.0), ("b", 4.0, 0)), "b", "b", 1.0,
        ["● b: ", "a does not count: its error bound 1.0e+00 exceeds the 5.0e-05"],
    ),
    ((("tile", 1.0, 0), ("tile4", 1.0, 0)), "tile4", "tile", 1.0, ["● tile4: "]),
    ((("tile", 1.2, 0), ("tile4", 1.0, 0)), "tile", "tile", 1.0, ["● tile: "]),
    (
        (("a", 1.0, 0), ("b", 1.0, 0)), "b", "a", 1.0,
        ["● b: ", "uncertain: a and b are within each other's spread"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fakes", "chosen", "winner", "regret", "notes"), JUDGED)
def test_judgement(monkeypatch, fakes, chosen, winner, regret, notes):
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    monkeypatch.setattr(selector, "choose", lambda *key: selector.Choice(chosen, "so"))
    monkeypatch.setattr(measuring, "settle", lambda *key: None)
    forces = {"tile4": "tile"}
    made = [Fake(n, clock, 1.0, s, error=e, forces=forces.get(n)) for n, s, e in fakes]
    with only(*made):
        (one,) = fc.compare(*SHAPES, directions="forward", peers=(), **BRIEF).passes
        rows = tuple(r._replace(spread=0.01) for r in one.rows)  # runs that are never quite alike
        one = one._replace(rows=rows)
        assert (one.winner.algorithm, one.regret) == (winner, regret)
        assert len(one.notes) == len(notes)
        assert all(map(str.startswith, one.notes, notes))


def row(algorithm, seconds, spread=0.0, executed=1.0, **rest):
    return measuring.Measured(algorithm, None, seconds, 1.0, 1e-7, 0, spread, executed, **rest)


def judged(*rows):
    return compare.Pass(SMALL, 1, 100.0, "direct", "so", rows)


def test_a_noisy_run_says_so():
    quiet, noisy = row("direct", 1.0, 0.19), row("direct", 1.0, 0.21)
    assert judged(quiet).doubt is None
    assert judged(noisy).doubt == "the runs of direct differ by 21%"
    assert judged(quiet, row("im2col", 1.1, 0.02)).doubt is not None
    assert judged(quiet, row("im2col", 1.1, 0.00)).doubt is None
    assert judged(quiet, row("torch", 1.0)).doubt is None  # peers take no part


def test_nothing_won_where_nothing_may_run():
    one = judged(row("im2col", 1.0, barred="too much scratch"), measuring.Measured("fft", "no"))
    assert (one.winner, one.regret, one.doubt) == (None, None, None)


def test_a_rate_above_the_peak_is_told_not_hidden(timed, monkeypatch):
    peaks = []

    def peak(dtype, workers, seconds):
        peaks.append(seconds)
        return 1.0

    monkeypatch.setattr(limits, "fma_peak", peak)
    (one,) = fc.compare(*SHAPES, directions="forward", peers=(), **BRIEF).passes
    assert len(peaks) == 3 and peaks[2] > peaks[0]  # it was asked once more, and for longer
    assert one.disturbed == ["steady", "slow"]
    assert one.notes[-1].endswith("something else used the processor: steady, slow ran faster")


WRONG = [
    ({"algorithms": "fastest"}, ValueError, "algorithms must be one of direct, im2col"),
    ({"algorithms": 3}, TypeError, "algorithms must be names"),
    ({"directions": "sideways"}, ValueError, "directions must be one of forward, backward_input"),
    ({"directions": ("forward", 3)}, TypeError, "directions must be a string"),
    ({"directions": 3}, TypeError, "directions must be names"),
    ({"directions": ()}, ValueError, "directions must not be empty"),
    ({"algorithms": []}, ValueError, "algorithms must not be empty"),
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
    ({"input_shape": (0, 4, 6, 5)}, ValueError, "input_shape must have at least one image"),
    ({"input_shape": 4}, TypeError, "input_shape must be a sequence of ints"),
    ({"weight_shape": (8, 4, 3)}, ValueError, "weight_shape must have 4 entries"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG)
def test_wrong_arguments(monkeypatch, changes, error, message):
    monkeypatch.setattr(compare, "measured", None)  # nothing is run before
    good = {"input_shape": SHAPES[0], "weight_shape": SHAPES[1]}
    with pytest.raises(error, match=message):
        fc.compare(**good | changes)
