"""The choice of an algorithm: who may run, and who is predicted to be the fastest."""

from __future__ import annotations

import pytest
from fakes import MS, PROBLEM, W, X, call, runs
from processes import run

import fastconv as fc
from fastconv.conv import calibration, eligibility, selector
from fastconv.conv.algorithm import ACCURACIES, sum_error, summation_error, terms
from fastconv.conv.options import Request
from fastconv.core.problem import ConvProblem


@pytest.mark.parametrize(
    "algorithms",
    [
        {"small": (50e-6,), "other": (51e-6,)},
        {"alone": (9 * MS,), "not": (8 * MS, 0, {"reason": "no"})},
        {"alone": (9 * MS,), "reference": (8 * MS, 0, {"fallback": True})},
    ],
    ids=["small", "only one", "only the fallback besides"],
)
def test_the_host_is_not_calibrated_where_nothing_depends_on_it(register, monkeypatch, algorithms):
    def refuse(dtype, threads):
        raise AssertionError("calibrated")

    monkeypatch.setattr(calibration, "host", refuse)
    register(**algorithms)
    assert call() == 1


def test_the_fallback_runs_if_nothing_else_may(register):
    register(one=(1 * MS, 0, {"reason": "no"}), last=(9 * MS, 0, {"fallback": True}))
    assert call() == 2


def test_calibration_decides(register, monkeypatch):
    """The same two costs on hosts with fast memory and with slow memory."""
    from fastconv.conv.algorithm import Cost, Work

    work, data = register(work=(1 * MS,), data=(1 * MS,))
    stage = Work("product", 10**8, 10**5)
    monkeypatch.setattr(work, "cost", lambda p, t: Cost((stage,), 0, 1e-6))
    other = Work("product", 10**7, 10**9)
    monkeypatch.setattr(data, "cost", lambda p, t: Cost((other,), 0, 1e-6))
    for memory, chosen in ((1e13, "data"), (1e9, "work")):
        host = calibration.NOMINAL._replace(memory=memory)
        monkeypatch.setattr(calibration, "host", lambda dtype, threads, host=host: host)
        selector.forget()
        assert selector.choose(PROBLEM, Request(), 1).algorithm == chosen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("accuracy", ACCURACIES)
def test_no_level_is_exceeded(register, dtype, accuracy):
    scale = 1 if dtype == "float32" else 2.0**-29
    problem = PROBLEM._replace(dtype=dtype)
    own = summation_error(problem)
    strict = 2 * sum_error(terms(problem), dtype)
    assert own < strict
    bounds = {"strict": strict, "default": 5e-5 * scale, "fast": 1e-3 * scale}
    errors = [own, 0.99 * strict, 1.01 * strict, 4.9e-5 * scale, 5.1e-5 * scale, 9.9e-4 * scale]
    errors += [1.01e-3 * scale]
    register(**{f"a{i}": (1 * MS, 0, {"error": e}) for i, e in enumerate(errors)})
    able = eligibility.eligible(problem, Request(accuracy=accuracy), 1)
    allowed = [f"a{i}" for i, e in enumerate(errors) if e <= bounds[accuracy]]
    assert [c.algorithm for c in able] == allowed
    assert 2 <= len(allowed) < len(errors)


def test_very_long_sums_may_have_the_error_of_a_sum():
    problem = ConvProblem(4096, 1, 64, 64, 1, 3, 3, direction="backward_weight")
    assert eligibility.error_limit(problem, "default") == summation_error(problem) > 5e-5


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 2.0**-23), ("float64", 2.0**-52)])
def test_the_bound_of_a_sum_grows_with_the_root_of_its_terms(dtype, rounding):
    assert sum_error(100, dtype) == 24 * rounding
    assert sum_error(400, dtype) == 44 * rounding


@pytest.mark.parametrize(
    ("direction", "groups", "count"),
    [
        ("forward", 1, 64 * 9),
        ("backward_input", 1, 64 * 9),
        ("backward_input", 2, 32 * 9),
        ("backward_weight", 1, 2 * 4 * 3),
    ],
)
@pytest.mark.parametrize("channels", [(8, 64), (64, 8)])
def test_terms_of_either_image_count(direction, groups, count, channels):
    problem = ConvProblem(2, channels[0], 6, 5, channels[1], 3, 3)
    assert terms(problem._replace(direction=direction, groups=groups)) == count


def test_direct_and_reference_are_strict_enough():
    able = eligibility.candidates(PROBLEM, Request(accuracy="strict"), 2)
    reasons = {c.algorithm: c.reason for c in able}
    assert reasons["direct"] is None and reasons["reference"] is None


def test_max_workspace_is_kept(register):
    fakes = register(large=(1 * MS, 0, {"workspace": 1001}), small=(9 * MS, 0, {"workspace": 1000}))
    assert call(max_workspace=1000) == 2
    with fc.options(max_workspace=1000):
        assert call() == 2
    assert call(max_workspace=1001) == 1
    assert runs(fakes)[0] > 0 and runs(fakes)[1] == 2
    with pytest.raises(ValueError, match=r"no algorithm can run.*large: it needs 1001 .*small"):
        call(max_workspace=999)


FORCED = [  # the fake's properties, keywords of the call, what the message must say
    ({"reason": "it needs wings"}, {}, "cannot run this convolution: it needs wings "),
    ({"error": 2e-4}, {}, "bound 2.0e-04 exceeds the 5.0e-05 of accuracy='default'; accuracy='fa"),
    ({"error": 4e-5}, {"accuracy": "strict"}, "accuracy='strict'; accuracy='default' allows it"),
    (
        {"exact": False, "error": 0.0},
        {"accuracy": "strict"},
        "rounds products further than the dtype; accuracy='default' allows it",
    ),
    ({"error": 2e-2}, {"accuracy": "fast"}, "exceeds the 1.0e-03 of accuracy='fast' "),
    ({"workspace": 70000}, {"max_workspace": 60000}, "70000 bytes .68.4 KiB. of scratch, max_work"),
    ({"error": 1, "workspace": 70000}, {"max_workspace": 60000}, "exceeds .*; and it needs 70000 "),
]


@pytest.mark.parametrize(("properties", "keywords", "message"), FORCED)
def test_a_forced_algorithm_that_may_not_run_says_why_and_what_may(
    register, fences, properties, keywords, message
):
    register(forced=(1 * MS, 0, properties), able=(9 * MS,), not_able=(9 * MS, 0, {"reason": "no"}))
    with pytest.raises(ValueError, match=f"algorithm 'forced'.*{message}.*eligible here: able\\)"):
        call(algorithm="forced", **keywords)
    with fc.options(algorithm="forced", **keywords), pytest.raises(ValueError, match=message):
        call()
    assert fences.allocations == 0


def test_a_forced_algorithm_runs_though_others_are_faster(register):
    register(fast=(1 * MS,), slow=(9 * MS,), last=(99 * MS, 0, {"fallback": True}))
    assert [call(algorithm=name) for name in ("slow", "last", "fast")] == [2, 3, 1]


def test_an_empty_batch_needs_no_host(register, monkeypatch):
    monkeypatch.setattr(calibration, "host", None)
    fakes = register(one=(5 * MS,), two=(5 * MS,))
    assert fc.conv2d(X[:0], W).shape == (0, 8, 4, 3)
    assert runs(fakes) == [0, 0]


FORK = """
    import os, signal, threading, warnings
    import numpy as np
    import fastconv as fc
    from fastconv.conv import _contest, calibration, selector

    warnings.filterwarnings("ignore", "(?s).*fork", DeprecationWarning)
    selector.WORTH_MEASURING = (0.0, 9.0)
    selector.MARGIN = 1e9
    calibration.host = lambda dtype, threads: calibration.NOMINAL
    x, w = np.ones((1, 16, 12, 12), "f4"), np.ones((16, 16, 3, 3), "f4")
    locked, done = threading.Event(), threading.Event()

    def hold():
        with _contest._lock, calibration._lock:
            locked.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    child = os.fork()
    if child == 0:
        good = bool((abs(fc.conv2d(x, w) - 144) < 1e-3).all())
        signal.alarm(5)
        with calibration._lock:
            os._exit(0 if good else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    holder.join()
    assert (abs(fc.conv2d(x, w) - 144) < 1e-3).all()
    print(os.waitstatus_to_exitcode(status))
"""


def test_a_choice_can_be_made_after_a_fork():
    assert run(FORK) == "0"
