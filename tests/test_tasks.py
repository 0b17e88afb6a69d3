"""How workers share out tasks: each has a stretch of its own, and helps others when it is done."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.stage import Stage
from fastconv.simd.copying import get_word, put_word
from fastconv.simd.tasks import next_task


def _noting_kernel():
    """Note the tasks that each of some workers takes, in order; others take none."""

    @kernel(record("counter tasks noted present most"))
    def note(worker, a):
        mine = a.noted + worker * (1 + a.tasks) * 8
        while get_word(a.present + worker * 8) != 0 and get_word(mine) < a.most:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            put_word(mine, get_word(mine) + 1)
            put_word(mine + get_word(mine) * 8, task)

    return note


def taken(workers: int, tasks: int, present=None, most=1 << 40) -> list[list[int]]:
    """The tasks of each worker; ``present`` are those that work, ``most`` what one may take."""
    noted = np.zeros((workers, 1 + tasks), np.int64)
    working = np.zeros(workers, np.int64)
    working[list(range(workers) if present is None else present)] = 1
    Stage(_noting_kernel(), workers).run(
        tasks=tasks, noted=address(noted), present=address(working), most=most
    )
    return [list(row[1 : 1 + row[0]]) for row in noted]


@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 7, 64, 1001])
@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_every_task_once(workers, tasks):
    everything = itertools.chain(*taken(workers, tasks))
    assert sorted(everything) == list(range(tasks))


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_workers_begin_with_a_stretch_of_their_own(workers):
    for worker, own in enumerate(taken(workers, 5 * workers, most=5)):
        assert own == list(range(5 * worker, 5 * worker + 5))


def test_one_does_the_work_of_all():
    (_, alone, _) = taken(3, 9, present=[1])
    assert alone == [3, 4, 5, 8, 7, 6, 2, 1, 0]  # its own; from the end of the next one's


def test_workers_that_take_tasks_at_once_take_different_ones():
    """A race that shows once in millions of tasks; so the instruction is looked for."""
    assert "atomicrmw add" in str(_noting_kernel()._optimised())


def test_fewer_tasks_than_workers():
    assert sorted(itertools.chain(*taken(8, 3, present=[0, 7]))) == [0, 1, 2]
