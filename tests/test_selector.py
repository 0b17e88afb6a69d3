"""The choice of an algorithm: who may run, who is predicted, who is measured, what is kept."""

from __future__ import annotations

import contextlib
import json
import threading

import numpy as np
import pytest
from fakes import Clock, Fake, only
from processes import finish, run, start

import fastconv as fc
from fastconv.conv import _contest, _decisions, calibration, eligibility, selector
from fastconv.conv._decisions import Decision
from fastconv.conv.algorithm import ACCURACIES, summation_error
from fastconv.conv.options import Request
from fastconv.core import files, store
from fastconv.core.problem import ConvProblem

MS = 1e-3
PROBLEM = ConvProblem(2, 4, 6, 5, 8, 3, 3)
X, W = np.ones((2, 4, 6, 5), np.float32), np.ones((8, 4, 3, 3), np.float32)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_contest, "clock", clock)
    return clock


@pytest.fixture
def register(clock):
    """Make fakes the only algorithms: name=(predicted, actual, properties), writing 1, 2, …"""
    with contextlib.ExitStack() as stack:

        def register(**algorithms):
            fakes = [
                Fake(name, clock, *times[:2], value=value, **(times[2] if len(times) > 2 else {}))
                for value, (name, times) in enumerate(algorithms.items(), 1)
            ]
            return stack.enter_context(only(*fakes))

        yield register


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A folder for facts."""
    monkeypatch.setattr(store, "cache_directory", lambda: str(tmp_path))
    return tmp_path


def call(**keywords):
    """The value that the algorithm which ran has written."""
    values = np.unique(fc.conv2d(X, W, **keywords))
    assert len(values) == 1
    return values[0]


def runs(fakes):
    return [fake.runs for fake in fakes]


def test_who_is_clearly_ahead_is_not_measured(register):
    fakes = register(slow=(10 * MS,), fast=(5 * MS,), slower=(20 * MS,))
    assert [call() for _ in range(3)] == [2, 2, 2]
    assert runs(fakes) == [0, 3, 0]
    choice = selector.choose(PROBLEM, Request(), fc.get_num_threads())
    assert choice.algorithm == "fast" and choice.why == "predicted to be 2.0× as fast as the next"


def test_a_forced_tile_that_is_the_choice_anyway_is_not_measured(register):
    def choose(**algorithms):
        fakes = register(**algorithms)
        selector.forget()
        fakes[1].forces = "free"
        return selector.choose(PROBLEM, Request(), 1)

    free, same = (5 * MS, 5 * MS), (5 * MS, 4 * MS)
    assert choose(free=free, same=same, other=(6 * MS,)).contenders == ("free", "other")
    choice = choose(free=free, same=same, other=(10 * MS,))
    assert choice.algorithm == "free" and not choice.contenders and "2.0×" in choice.why
    choice = choose(free=free, same=same)
    assert choice.algorithm == "free" and not choice.contenders and "only one" in choice.why
    assert choose(free=free, tile=(6 * MS,)).contenders == ("free", "tile")


def test_close_ones_are_measured_by_the_first_call(register):
    fakes = register(one=(5 * MS, 6 * MS), two=(6 * MS, 4 * MS), far=(8 * MS, 1 * MS))
    choice = selector.choose(PROBLEM, Request(), fc.get_num_threads())
    assert choice.contenders == ("one", "two") and "measure one, two" in choice.why
    assert call() == 2  # the winner's result, from the first call on
    before = runs(fakes)
    assert before[0] >= 3 and before[2] == 0
    assert [call(), call()] == [2, 2]
    assert runs(fakes) == [before[0], before[1] + 2, 0]
    choice = selector.choose(PROBLEM, Request(), fc.get_num_threads())
    assert choice.algorithm == "two" and choice.why == "measured"
    assert choice.measured == pytest.approx({"one": 6 * MS, "two": 4 * MS})


@pytest.mark.parametrize(("actual", "winner"), [(4.7 * MS, 2), (4.5 * MS, 1)])
def test_matrix_units_have_to_lead(register, actual, winner):
    """They may be slower tomorrow."""
    matrix, _ = register(matrix=(5 * MS, actual), plain=(5 * MS, 5 * MS))
    matrix.vector = False
    assert call() == winner


def test_the_best_on_vector_units_contests_a_matrix_unit(register):
    matrix, *_ = register(
        matrix=(5 * MS, 9 * MS), plain=(9 * MS, 6 * MS), next=(9.1 * MS, 1 * MS), far=(11 * MS,)
    )
    matrix.vector = False
    choice = selector.choose(PROBLEM, Request(), fc.get_num_threads())
    assert choice.contenders == ("matrix", "plain")
    assert call() == 2


def test_the_typical_run_counts(register, clock):
    """The fastest one would win."""
    changing, _ = register(changing=(5 * MS, 8 * MS), steady=(5 * MS, 5 * MS))
    run = changing.plan

    def plan(problem, threads):
        inner = run(problem, threads)

        def sometimes_fast(*operands):
            changing.actual = 1 * MS if changing.runs % 4 == 1 else 8 * MS
            inner(*operands)

        return sometimes_fast

    changing.plan = plan
    assert call() == 2


def test_compiling_is_not_measured(register):
    register(one=(5 * MS, 4 * MS, {"compiling": 9.0}), two=(5 * MS, 5 * MS))
    assert call() == 1


def test_measuring_is_bounded(register, clock):
    names = [f"a{i}" for i in range(9)]
    fakes = register(**{name: (400 * MS, 400 * MS) for name in names})
    call()
    assert sum(1 for n in runs(fakes) if n) == selector.MOST_CONTENDERS
    assert clock.now <= 0.4 * (3 * selector.MOST_CONTENDERS + 1) * 1.001


def test_hopeless_ones_leave_early(register):
    fakes = register(one=(5 * MS, 15 * MS), two=(5 * MS, 29 * MS), three=(5 * MS, 16 * MS))
    assert call() == 1
    assert fakes[1].runs == 3  # compiled, measured twice
    assert fakes[2].runs > 4


def test_nobody_is_hopeless_at_first(register):
    """A host may slow down one of them for so long."""
    late, _ = register(late=(5 * MS, 8 * MS), steady=(5 * MS, 2 * MS))
    plan = late.plan

    def sluggish(problem, threads):
        inner = plan(problem, threads)

        def run(*operands):
            late.actual = 8 * MS if late.runs < 4 else 1 * MS
            inner(*operands)

        return run

    late.plan = sluggish
    assert call() == 1


@pytest.mark.parametrize("predicted", [50e-6, 600 * MS])
def test_too_small_and_too_large_ones_are_not_measured(register, predicted):
    fakes = register(two=(predicted * 1.1, 0), one=(predicted, 0))
    assert call() == 2
    assert runs(fakes) == [0, 1]
    assert "too" in selector.choose(PROBLEM, Request(), fc.get_num_threads()).why


def test_matrix_units_are_left_alone_in_small_ones(register):
    matrix, vectors = register(matrix=(50e-6, 0), vectors=(60e-6, 0))
    matrix.vector = False
    assert call() == 2
    assert runs([matrix, vectors]) == [0, 1]


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
    bounds = {"strict": 2 * own, "default": 5e-5 * scale, "fast": 1e-3 * scale}
    errors = [own, 1.99 * own, 2.01 * own, 4.9e-5 * scale, 5.1e-5 * scale, 9.9e-4 * scale]
    errors += [1.01e-3 * scale]
    register(**{f"a{i}": (1 * MS, 0, {"error": e}) for i, e in enumerate(errors)})
    able = eligibility.eligible(problem, Request(accuracy=accuracy), 1)
    allowed = [f"a{i}" for i, e in enumerate(errors) if e <= bounds[accuracy]]
    assert [c.algorithm for c in able] == allowed
    assert 2 <= len(allowed) < len(errors)


def test_very_long_sums_may_have_the_error_of_a_sum():
    problem = ConvProblem(4096, 1, 64, 64, 1, 3, 3, direction="backward_weight")
    assert eligibility.error_limit(problem, "default") == summation_error(problem) > 5e-5


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
    assert runs(fakes) == [1, 2]
    with pytest.raises(ValueError, match=r"no algorithm can run.*large: it needs 1001 .*small"):
        call(max_workspace=999)


FORCED = [  # the fake's properties, keywords of the call, what the message must say
    ({"reason": "it needs wings"}, {}, "cannot run this convolution: it needs wings "),
    ({"error": 2e-4}, {}, "bound 2.0e-04 exceeds the 5.0e-05 of accuracy='default'; accuracy='fa"),
    ({"error": 4e-5}, {"accuracy": "strict"}, "accuracy='strict'; accuracy='default' allows it"),
    ({"error": 2e-2}, {"accuracy": "fast"}, "exceeds the 1.0e-03 of accuracy='fast' "),
    ({"workspace": 70000}, {"max_workspace": 60000}, "70000 bytes .68.4 KiB. of scratch, max_work"),
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


def test_threads_that_meet_an_open_choice_measure_it_once(register):
    fakes = register(one=(5 * MS, 15 * MS), two=(5 * MS, 14 * MS))
    barrier, results = threading.Barrier(4), []

    def work():
        barrier.wait()
        results.append(call())

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [2] * 4
    assert fakes[0].runs <= 1 + 9 and fakes[1].runs <= 1 + 9 + 4


def test_a_decision_outlives_the_process(register, stored):
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    call()
    selector.forget()
    before = runs(fakes)
    assert call() == 2
    assert runs(fakes) == [before[0], before[1] + 1]
    assert selector.choose(PROBLEM, Request(), fc.get_num_threads()).why == "measured"


def test_a_choice_stands_for_the_process(register, stored, monkeypatch):
    """Whatever the host then looks like, and whatever other processes have decided meanwhile."""
    one, two = register(one=(5 * MS,), two=(20 * MS,))
    assert call() == 1
    one.predicted, two.predicted = 50 * MS, 2 * MS
    _decisions.remember(PROBLEM, Request(), fc.get_num_threads(), Decision("two", {"two": 1.0}))
    selector.plan_for.cache_clear()
    assert call() == 1
    selector.forget()
    assert call() == 2


def test_an_empty_batch_needs_no_host(register, monkeypatch):
    monkeypatch.setattr(calibration, "host", None)
    fakes = register(one=(5 * MS,), two=(5 * MS,))
    assert fc.conv2d(X[:0], W).shape == (0, 8, 4, 3)
    assert runs(fakes) == [0, 0]


OTHER = [  # calls that the decision on a plain one says nothing about
    lambda: fc.conv2d(X, W, accuracy="fast"),
    lambda: fc.conv2d(X, W, max_workspace=10**6),
    lambda: fc.conv2d(X.astype(float), W.astype(float)),
    lambda: fc.conv2d(X[:1], W),
    lambda: fc.conv2d(np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), W),
    lambda: fc.grad.conv2d_input(X.shape, W, np.ones((2, 8, 4, 3), np.float32)),
    lambda: fc.grad.conv2d_weight(X, W.shape, np.ones((2, 8, 4, 3), np.float32)),
]


@pytest.mark.parametrize("other", OTHER)
def test_a_decision_holds_for_one_problem_only(register, stored, other):
    folder = stored
    exact = {"error": 0.0}
    fakes = register(one=(5 * MS, 5 * MS, exact), two=(6 * MS, 4 * MS, exact))
    call()
    before = fakes[0].runs
    other()
    assert fakes[0].runs > before
    assert len(list(folder.glob("decisions/*.json"))) == 2


@pytest.mark.parametrize(("workers", "processor"), [(41, "this"), (40, "another")])
def test_a_decision_holds_for_one_host_only(register, stored, monkeypatch, workers, processor):
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))

    def measures(workers, processor):
        selector.forget()
        monkeypatch.setattr(calibration, "processor_name", lambda: processor)
        before = fakes[0].runs
        selector.plan_for(PROBLEM, Request(), workers)(X, W, np.empty(4, "f4"), None, False)
        return fakes[0].runs > before

    assert measures(40, "this")
    assert not measures(40, "this")
    assert measures(workers, processor)


GOOD = {"algorithm": "one", "seconds": {"one": 1e-3}}
WRONG = [  # what may stand in a decision's file: its bytes, or the value in an otherwise good one
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b'{"a": 1}',
    b'{"fastconv": "decisions", "key": {}, "value": {}}',
    None,
    GOOD | {"algorithm": "unknown"},
    GOOD | {"algorithm": 3},
    GOOD | {"seconds": {}},
    GOOD | {"seconds": {"one": "fast"}},
    GOOD | {"seconds": {"one": float("nan")}},
    GOOD | {"more": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_damaged_or_foreign_file_is_ignored_and_rewritten(register, stored, wrong):
    folder = stored
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    call()
    (file,) = folder.glob("decisions/*.json")
    good = json.loads(file.read_text())
    assert good["value"]["algorithm"] == "two"
    content = wrong if isinstance(wrong, bytes) else json.dumps(good | {"value": wrong}).encode()
    file.write_bytes(content)
    selector.forget()
    before = fakes[0].runs
    with pytest.warns(RuntimeWarning, match=r"ignores .*json.*measures again") as caught:
        assert call() == 2
    assert len(caught) == 1
    assert fakes[0].runs > before
    assert json.loads(file.read_text())["value"]["algorithm"] == "two"
    selector.forget()
    assert call() == 2  # without a warning


def test_where_nothing_can_be_written_the_process_remembers(register, stored):
    folder = stored
    (folder / "decisions").write_text("a file where the folder should be")
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    assert call() == 2
    selector.plan_for.cache_clear()
    before = fakes[0].runs
    assert call() == 2
    assert fakes[0].runs == before
    assert [path.name for path in folder.iterdir()] == ["decisions"]


def test_a_write_that_fails_leaves_nothing_behind(register, stored, monkeypatch):
    folder = stored
    register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))

    def refuse(source, target):
        raise PermissionError("in use")

    monkeypatch.setattr(files.os, "replace", refuse)
    assert call() == 2
    assert list((folder / "decisions").iterdir()) == []


WRITER = """
    import sys
    from fastconv.core import store
    mine, facts = sys.argv[1], int(sys.argv[2])
    for i in range(facts):
        store.remember("facts", {"i": i, "by": mine}, mine)
        store.remember("facts", {"shared": i}, mine)
    print(mine)
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path, monkeypatch):
    writers = [start(WRITER, name, 60, FASTCONV_CACHE_DIR=str(tmp_path)) for name in "abc"]
    assert sorted(finish(writer) for writer in writers) == ["a", "b", "c"]
    (folder,) = tmp_path.glob("kernels-*")
    monkeypatch.setattr(store, "cache_directory", lambda: str(folder))

    def recall(**key):
        return store.recall("facts", key, lambda value: value in ("a", "b", "c"))

    assert all(recall(i=i, by=name) == name for i in range(60) for name in "abc")
    assert all(recall(shared=i) is not None for i in range(60))
    assert not list(folder.rglob("*.tmp"))


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
        good = bool((fc.conv2d(x, w) == 144).all())
        signal.alarm(5)
        with calibration._lock:
            os._exit(0 if good else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    holder.join()
    assert (fc.conv2d(x, w) == 144).all()
    print(os.waitstatus_to_exitcode(status))
"""


def test_a_choice_can_be_made_after_a_fork():
    assert run(FORK) == "0"
