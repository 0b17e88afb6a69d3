"""``explain``: the reasons, the predictions and the choice, as data and as a table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fakes import Clock, Fake, only

import fastconv as fc
from fastconv.conv import _contest
from fastconv.conv._contest import _MATRIX_HANDICAP
from fastconv.conv.algorithm import sum_error
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.problem import DIRECTIONS, FORMATS, ConvProblem

SHAPES = ((8, 64, 14, 14), (32, 64, 3, 3), 1, 1)


def by_name(explanation):
    return {row.algorithm: row for row in explanation.rows}


@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("f8")])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_algorithm_is_explained(direction, memory_format, dtype):
    how = {"direction": direction, "memory_format": memory_format, "dtype": dtype}
    explanation = fc.explain(*SHAPES, **how)
    problem = explanation.problem
    assert problem == ConvProblem(
        8, 64, 14, 14, 32, 3, 3, (1, 1), (1, 1, 1, 1), dtype=np.dtype(dtype).name,
        direction=direction, x_format=memory_format, y_format=memory_format,
    )  # fmt: skip
    assert [row.algorithm for row in explanation.rows] == list(fc.algorithms())
    for name, row in by_name(explanation).items():
        assert row.reason == ALGORITHMS[name].refuses(problem)
        if row.reason is None:
            cost = ALGORITHMS[name].cost(problem, explanation.threads)
            assert 0 < row.predicted < 10 and row.measured is None
            assert (row.workspace, row.error) == (cost.workspace, cost.error)
            assert row.gflop == cost.flops / 1e9
    assert by_name(explanation)[explanation.chosen].reason is None


def test_what_is_explained_is_what_runs():
    x, w = (np.ones(shape, np.float32) for shape in SHAPES[:2])
    fc.conv2d(x, w, padding=1)
    explanation = fc.explain(*SHAPES)
    if explanation.why == "measured":
        times = {r.algorithm: r.measured for r in explanation.rows if r.measured is not None}
        # All but the matrix unit's, which have to lead by more.
        assert times[explanation.chosen] <= _MATRIX_HANDICAP * min(times.values())
    forced = fc.explain(*SHAPES, algorithm="im2col")
    assert (forced.chosen, forced.why) == ("im2col", "asked for")


def test_one_image():
    assert fc.explain((4, 6, 5), (8, 4, 3, 3)).problem.x_shape == (1, 4, 6, 5)


def test_shared_options():
    with fc.options(accuracy="strict", max_workspace=10**9, num_threads=1):
        explanation = fc.explain(*SHAPES)
    assert (explanation.accuracy, explanation.max_workspace) == ("strict", 10**9)
    assert explanation.threads == 1
    limit = 2 * sum_error(64 * 3 * 3, "float32")  # of the direct sum's terms
    assert by_name(explanation)["direct"].error < explanation.error_limit == limit


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"max_workspace": 1}, "no algorithm can run this convolution as asked"),
        ({"algorithm": "depthwise"}, "algorithm 'depthwise' cannot run this convolution: it needs"),
    ],
)
def test_nothing_can_run(how, why):
    explanation = fc.explain(*SHAPES, **how)
    assert explanation.chosen is None
    assert explanation.why.startswith(why)
    assert str(explanation).splitlines()[-1].startswith(why)


@pytest.fixture
def fakes(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_contest, "clock", clock)
    with only(
        Fake("first", clock, 4.01e-3, 4e-3),
        Fake("second", clock, 5.01e-3, 2e-3, workspace=3 << 20),
        Fake("tight", clock, 1e-3, error=2e-4),
        Fake("never", clock, 1e-3, reason="it needs wings"),
        Fake("last", clock, 0.25, fallback=True, error=1.2e-7),
    ):
        yield


BEFORE = """\
forward of 4→8, 3×3, on 2×4×6×5, stride (1, 2), padding 1
float32, nchw, 1 thread; 2.07e-05 GFLOP; accuracy 'default' (error ≤ 5.0e-05)

  algorithm  predicted  measured  GFLOP  scratch  error ≤
─────────────────────────────────────────────────────────
● first        4.01 ms             0.34   1000 B  1.0e-06
  second       5.01 ms            0.425    3 MiB  1.0e-06
  last          250 ms             21.2   1000 B  1.2e-07
  tight       its error bound 2.0e-04 exceeds the 5.0e-05 of accuracy='default'; accuracy='fast' allows it
  never       it needs wings

● first: the first call will measure first, second
"""  # noqa: E501


def test_table(fakes):
    how = {"stride": (1, 2), "padding": 1}
    shapes = ((2, 4, 6, 5), (8, 4, 3, 3))
    with fc.options(num_threads=1):
        before = str(fc.explain(*shapes, **how))
        fc.conv2d(*(np.ones(shape, np.float32) for shape in shapes), **how)
        after = str(fc.explain(*shapes, **how)).splitlines()
    assert before + "\n" == BEFORE
    first, second = (" ".join(line.split()) for line in after[5:7])
    assert re.fullmatch(r"● second 5.01 ms 2(.00)? ms 0.425 3 MiB 1.0e-06", first)
    assert re.fullmatch(r"first 4.01 ms 4(.00)? ms 0.34 1000 B 1.0e-06", second)
    assert after[-1] == "● second: measured"


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("algorithm", ["auto", "direct", "fft"])
def test_an_empty_batch_is_explained(direction, algorithm):
    with fc.options(algorithm=algorithm):
        made = fc.explain((0, 4, 6, 5), (8, 4, 3, 3), direction=direction)
    chosen = next(row for row in made.rows if row.algorithm == made.chosen)
    assert algorithm in ("auto", made.chosen) and chosen.reason is None
    assert f"● {made.chosen}" in str(made) and "on 0×4×6×5" in str(made)


WRONG = [
    ({"direction": "backward"}, ValueError, "direction must be one of forward, backward_input"),
    ({"direction": None}, TypeError, "direction must be a string"),
    ({"dtype": "int8"}, TypeError, "dtype must be float32 or float64"),
    ({"dtype": "number"}, TypeError, "dtype must be float32 or float64, got 'number'"),
    ({"memory_format": 3}, TypeError, "memory_format must be a string"),
    ({"accuracy": "loose"}, ValueError, "accuracy must be one of strict, default, fast"),
    ({"max_workspace": -1}, ValueError, "max_workspace must be at least 0"),
    ({"algorithm": "fastest"}, ValueError, "algorithm must be one of auto, direct"),
    ({"input_shape": (8, 63, 14, 14)}, ValueError, "input has 63 channels but weight expects 64"),
    ({"input_shape": (14, 14)}, ValueError, "input_shape must have 3 or 4 entries"),
    ({"weight_shape": "8433"}, TypeError, "weight_shape must be a sequence of ints"),
    ({"padding": "full"}, ValueError, "padding must be ints, 'same' or 'valid'"),
    ({"groups": 3}, ValueError, "groups must divide"),
]


@pytest.mark.parametrize(("changes", "error", "message"), WRONG)
def test_wrong_arguments(changes, error, message):
    good = {"input_shape": SHAPES[0], "weight_shape": SHAPES[1]}
    with pytest.raises(error, match=message):
        fc.explain(**good | changes)


def test_what_was_measured_stands_before_what_was_not():
    made = fc.explain((8, 16, 12, 12), (16, 16, 3, 3), padding=1)
    able = [row for row in made.rows if row.reason is None]
    slow, fast = able[-1].algorithm, able[0].algorithm
    times = {slow: 9.0, fast: 8.0}
    rows = tuple(row._replace(measured=times.get(row.algorithm)) for row in made.rows)
    lines = str(made._replace(rows=rows)).splitlines()
    order = [word for line in lines for word in line.split()[:2] if word in fc.algorithms()]
    assert order[:2] == [fast, slow]
