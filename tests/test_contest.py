"""Who is measured before a choice, for how long, and what of it counts."""

from __future__ import annotations

import contextvars
import functools
import threading
import time

import numpy as np
import pytest
from fakes import MS, PROBLEM, W, X, call, runs

import fastconv as fc
from fastconv.conv import _contest, selector
from fastconv.conv.algorithm import AGAIN
from fastconv.conv.options import Request


def _choice():
    return selector.choose(PROBLEM, Request(), fc.get_num_threads())


def test_who_is_clearly_ahead_is_measured_alone(register):
    fakes = register(slow=(10 * MS,), fast=(5 * MS, 9 * MS), slower=(20 * MS,))
    assert "to be 2.0× as fast as the next; the first call will measure fast" in _choice().why
    assert [call() for _ in range(3)] == [2, 2, 2]
    before = runs(fakes)
    assert before[0] == before[2] == 0 and 3 < before[1] < 12
    assert call() == 2 and runs(fakes) == [0, before[1] + 1, 0]
    assert _choice().algorithm == "fast" and _choice().measured == pytest.approx({"fast": 9 * MS})


def test_who_takes_longer_than_another_should_is_measured_beside_it(register):
    fakes = register(slow=(10 * MS, 12 * MS), fast=(5 * MS, 14 * MS), slower=(20 * MS, 1 * MS))
    assert [call(), call()] == [1, 1]
    assert fakes[2].runs == 0
    assert _choice().measured == pytest.approx({"slow": 12 * MS, "fast": 14 * MS})


def test_others_are_measured_where_all_contenders_take_longer(register):
    fakes = register(
        one=(5 * MS, 40 * MS), two=(6 * MS, 41 * MS), three=(8 * MS, 9 * MS), four=(9 * MS, 8 * MS),
        five=(10 * MS, 1 * MS), six=(60 * MS, 1 * MS),
    )  # fmt: skip
    assert _choice().contenders == ("one", "two")
    assert call() == 4
    assert runs(fakes)[4:] == [0, 0]  # two others at most
    assert set(_choice().measured) == {"one", "two", "three", "four"}


def test_others_are_left_alone_where_the_host_is_busy(register):
    """To compile them takes seconds, and they would take longer than predicted, too."""
    fakes = register(one=(5 * MS, 7.5 * MS), two=(6 * MS, 9 * MS), other=(6.6 * MS, 1 * MS))
    assert call() == 1
    assert fakes[2].runs == 0 and set(_choice().measured) == {"one", "two"}


def test_tiles_of_one_family_do_not_tell_that_the_host_is_busy(register):
    """What one of them is mispredicted by the other one is, too."""
    fakes = register(one=(5 * MS, 7.5 * MS), tile=(6 * MS, 9 * MS), other=(6.6 * MS, 1 * MS))
    fakes[1].forces = "one"
    assert call() == 3
    assert min(runs(fakes)) > 0


def test_and_so_on_where_others_take_longer_too(register):
    fakes = register(
        one=(5 * MS, 40 * MS), two=(8 * MS, 30 * MS), three=(9 * MS, 31 * MS),
        four=(10 * MS, 11 * MS), five=(60 * MS, 1 * MS),
    )  # fmt: skip
    assert call() == 4
    assert fakes[4].runs == 0
    assert set(_choice().measured) == {"one", "two", "three", "four"}


def test_a_forced_tile_that_is_the_choice_anyway_is_not_measured(register):
    def choose(**algorithms):
        fakes = register(**algorithms)
        selector.forget()
        fakes[1].forces = "free"
        return selector.choose(PROBLEM, Request(), 1)

    free, same = (5 * MS, 5 * MS), (5 * MS, 4 * MS)
    assert choose(free=free, same=same, other=(6 * MS,)).contenders == ("free", "other")
    choice = choose(free=free, same=same, other=(10 * MS,))
    assert choice.contenders == ("free",) and "2.0×" in choice.why
    choice = choose(free=free, same=same)
    assert choice.algorithm == "free" and not choice.contenders and "only one" in choice.why
    assert choose(free=free, tile=(6 * MS,)).contenders == ("free", "tile")


def test_a_host_that_slows_down_meanwhile_does_not_make_a_loser_win(register):
    one, two, _ = fakes = register(
        one=(5 * MS, 20 * MS), two=(6 * MS, 24 * MS), other=(8 * MS, 25 * MS)
    )
    plan = fakes[2].plan

    def slowing(problem, threads):
        one.actual, fakes[2].actual = 30 * MS, 37 * MS
        return plan(problem, threads)

    fakes[2].plan = slowing
    assert call() == 1
    expected = {"one": 30 * MS, "two": 36 * MS, "other": 37 * MS}
    assert _choice().measured == pytest.approx(expected) and two.runs > 0


def test_close_ones_are_measured_by_the_first_call(register):
    fakes = register(one=(5 * MS, 6 * MS), two=(6 * MS, 4 * MS), far=(8 * MS, 1 * MS))
    assert _choice().contenders == ("one", "two") and "measure one, two" in _choice().why
    assert call() == 2  # the winner's result, from the first call on
    before = runs(fakes)
    assert before[0] >= 3 and before[2] == 0
    assert [call(), call()] == [2, 2]
    assert runs(fakes) == [before[0], before[1] + 2, 0]
    assert _choice().algorithm == "two" and _choice().why == "measured"
    assert _choice().measured == pytest.approx({"one": 6 * MS, "two": 4 * MS})


@pytest.fixture
def careful(register, stored):
    """One of two that are close computes twice where there is a NaN: worse than the other one."""
    close, careful = register(close=(5 * MS, 6 * MS), careful=(6 * MS, 4 * MS))
    make = careful.plan

    def plan(problem, threads):
        inner = make(problem, threads)

        def run(x, *operands):
            careful.actual = 30 * MS if np.isnan(x).any() else 4 * MS
            inner(x, *operands)
            return AGAIN if np.isnan(x).any() else None

        return run

    careful.plan = plan
    return close, careful


def _spoilt_call():
    values = np.unique(fc.conv2d(np.full_like(X, np.nan), W))
    assert len(values) == 1
    return values[0]


def test_numbers_that_delay_a_run_decide_nothing(careful):
    """NaN has some algorithms compute a result twice, which says nothing of other numbers."""
    assert _spoilt_call() == 2
    assert runs(careful) == [1, 2]  # both may compile at once, to one array
    assert _choice().contenders == ("close", "careful")
    assert call() == 2
    expected = {"close": 6 * MS, "careful": 4 * MS}
    assert _choice().measured == pytest.approx(expected)
    before = careful[0].runs
    assert _spoilt_call() == 2 and careful[0].runs == before
    selector.forget()
    assert _choice().measured == pytest.approx(expected)


def test_numbers_that_always_delay_a_run_decide_for_one_process(careful):
    assert [_spoilt_call(), _spoilt_call()] == [2, 2]
    assert runs(careful) == [1, 3] and _choice().contenders
    assert _spoilt_call() == 1
    assert _choice().measured == pytest.approx({"close": 6 * MS, "careful": 30 * MS})
    before = careful[1].runs
    assert [_spoilt_call(), call()] == [1, 1] and careful[1].runs == before
    selector.forget()
    assert _choice().contenders == ("close", "careful")


def test_other_numbers_that_come_at_last_decide_for_good(careful):
    assert [_spoilt_call(), _spoilt_call(), call()] == [2, 2, 2]
    selector.forget()
    assert _choice().measured == pytest.approx({"close": 6 * MS, "careful": 4 * MS})


def test_a_decision_that_interrupts_a_contest_stands(register):
    """A signal handler may call, too: the contest that it interrupts holds the lock already."""
    one, *_ = register(one=(5 * MS, 20 * MS), two=(6 * MS, 24 * MS), other=(8 * MS, 9 * MS))
    make, inside = one.plan, []

    def plan(problem, threads):
        inner = make(problem, threads)

        def run(*operands):
            inner(*operands)
            if one.runs == 3 and not inside:  # in the first round
                inside.append(call())

        return run

    one.plan = plan
    assert call() == 3 and inside == [3]


@pytest.mark.parametrize(("actual", "winner"), [(4.7 * MS, 2), (4.5 * MS, 1)])
def test_matrix_units_have_to_lead(register, actual, winner):
    """By more than they are slowed down on average."""
    matrix, _ = register(matrix=(5 * MS, actual), plain=(5 * MS, 5 * MS))
    matrix.vector = False
    assert call() == winner


def test_the_best_on_vector_units_contests_a_matrix_unit(register):
    matrix, *_ = register(
        matrix=(5 * MS, 9 * MS), plain=(9 * MS, 6 * MS), next=(9.1 * MS, 1 * MS), far=(11 * MS,)
    )
    matrix.vector = False
    assert _choice().contenders == ("matrix", "plain")
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


def test_contenders_compile_at_once(register):
    """The first run of each waits for that of the other."""
    together = threading.Barrier(2, timeout=60)
    for fake in (fakes := register(one=(5 * MS, 4 * MS), two=(5 * MS, 5 * MS))):
        fake.plan = _waiting_once(fake.plan, together)
    assert call() == 1
    assert min(runs(fakes)) >= 3


def _waiting_once(make, together):
    def plan(problem, threads):
        inner, waited = make(problem, threads), []

        def run(*operands):
            if not waited:
                waited.append(together.wait())
            inner(*operands)

        return run

    return plan


@pytest.mark.parametrize(
    ("sizes", "limit", "at_once"),
    [((50, 50), 99, 1), ((50, 50), 100, 2), ((50, 50), None, 2), ((10, 60, 60), 100, 1)],
)
def test_contenders_that_compile_at_once_share_the_workspace(register, sizes, limit, at_once):
    """Of a call; None is the default, which is large."""
    running, most = [], []

    def plan(problem, threads, make):
        inner = make(problem, threads)

        def run(*operands):
            running.append(1)
            time.sleep(0.02)
            most.append(len(running))
            inner(*operands)
            running.pop()

        return run

    fakes = register(**{f"a{i}": (5 * MS, (4 + i) * MS) for i in range(len(sizes))})
    for fake, size in zip(fakes, sizes, strict=True):
        fake.workspace, fake.plan = size, functools.partial(plan, make=fake.plan)
    assert call(max_workspace=limit) == 1
    assert max(most) == at_once


@pytest.mark.parametrize(
    "predicted", [5 * MS, 7 * MS]
)  # one is measured at once, or after the other
def test_contenders_compile_while_others_may_hold_contests(register, predicted):
    """A destructor in the second thread may need one, and this thread waits for it."""
    free, seen = [], []

    def plan(problem, threads, make):
        inner = make(problem, threads)

        def run(*operands):
            if make not in seen:
                seen.append(make)
                free.append(not _contest._lock._lock._is_owned())
            inner(*operands)

        return run

    for fake in register(one=(5 * MS, 10 * MS), two=(predicted, 11 * MS)):
        fake.plan = functools.partial(plan, make=fake.plan)
    assert call() == 1
    assert free == [True, True]


def test_contests_are_timed_one_at_a_time(register, monkeypatch):
    """Those of other Python threads would disturb them."""
    waits, fastest = [], _contest.fastest

    def enter():
        with _contest._lock:
            pass

    def noting(plans, operands):
        other = threading.Thread(target=enter)
        other.start()
        other.join(0.05)
        waits.append(other.is_alive())
        return fastest(plans, operands)

    monkeypatch.setattr(_contest, "fastest", noting)
    register(one=(5 * MS, 40 * MS), two=(6 * MS, 41 * MS), other=(8 * MS, 9 * MS))
    assert call() == 3
    assert waits == [True, True]


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
    assert "too" in _choice().why


def test_matrix_units_are_left_alone_in_small_ones(register):
    matrix, vectors = register(matrix=(50e-6, 0), vectors=(60e-6, 0))
    matrix.vector = False
    assert call() == 2
    assert runs([matrix, vectors]) == [0, 1]


@pytest.mark.parametrize("other", [5 * MS, 8 * MS])  # in the first round, or in the second
def test_threads_that_meet_an_open_choice_measure_it_once(register, other):
    fakes = register(one=(5 * MS, 15 * MS), two=(other, 14 * MS))
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
    # Each of them compiles, in every round, and runs the winner in the end.
    assert fakes[0].runs <= 2 * (4 + 9) and fakes[1].runs <= 4 + 9 + 4


def test_a_round_that_another_thread_has_ended_is_not_repeated(register):
    """It is compiling for the next one."""
    begun, ahead, behind = (threading.Event() for _ in range(3))
    one, other = fakes = register(one=(5 * MS, 30 * MS), other=(10 * MS, 20 * MS))
    late = threading.get_ident()

    def plan(problem, size, make, wait):
        inner, waited = make(problem, size), []

        def run(*operands):
            if not waited:
                waited.append(wait(threading.get_ident() == late))
            inner(*operands)

        return run

    def wait_in_first(is_late):
        if is_late:
            begun.set()
        return (ahead if is_late else begun).wait(60)

    def wait_in_second(is_late):
        (behind if is_late else ahead).set()
        return is_late or behind.wait(60)

    one.plan = functools.partial(plan, make=one.plan, wait=wait_in_first)
    other.plan = functools.partial(plan, make=other.plan, wait=wait_in_second)
    alone = dict(max_workspace=one.workspace)  # of a call: its thread compiles one after the other
    selector.plan_for(PROBLEM, Request(**alone), fc.get_num_threads())  # one contest for both
    same = contextvars.copy_context()  # threads to use, too
    early = threading.Thread(target=same.run, args=(functools.partial(call, **alone),))
    early.start()
    assert call(**alone) == 2
    early.join()
    choice = selector.choose(PROBLEM, Request(**alone), fc.get_num_threads())
    assert set(choice.measured) == {"one", "other"} and min(runs(fakes)) > 0
