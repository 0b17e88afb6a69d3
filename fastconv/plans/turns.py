"""Runs of several kernels at once, which do not depend on one another: task by task, in turns.

The parts of a strided gradient read the same filters and the same pixels, and write to the same
lines of memory; so a worker does the first task of every part, then the second one of each.
"""

from __future__ import annotations

import functools
from array import array
from typing import NamedTuple

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.stage import Call, Stage
from fastconv.simd.copying import copy, put_word
from fastconv.simd.tasks import next_task

# A kernel and its record: the address, words in it, and which of them are the counter of tasks and
# their number; and that number.
RUN = record("run_kernel run_record run_words run_counter run_tasks run_count")
_WORD = 8
_RUN_WORDS = len(RUN.names)
_RUN_BYTES = _WORD * _RUN_WORDS


@functools.cache
def _turns_kernel() -> Kernel:
    @kernel(record("counter tasks runs n_runs copies copy_words"))
    def turns(worker, a):
        mine = a.copies + worker * a.copy_words * _WORD
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            for i in range(a.n_runs):
                run = record_at(a.runs + i * _RUN_BYTES, RUN)
                if task < run.run_count:
                    # A copy of the record for one worker, who has this task left.
                    counter = mine + run.run_words * _WORD
                    copy(mine, run.run_record, run.run_words * _WORD)
                    put_word(counter, 1)
                    put_word(counter + _WORD, task)
                    put_word(mine + run.run_counter * _WORD, counter)
                    put_word(mine + run.run_tasks * _WORD, task + 1)
                    call(run.run_kernel, worker, mine)

    return turns


class _Turns(NamedTuple):
    """What is known of the runs of some stages before they are called."""

    stage: Stage
    runs: array  # a :data:`RUN` for each, without the record and the number of tasks
    words: int  # of a worker's copy: a record, and two to count tasks with


@functools.lru_cache(maxsize=256)
def _turns(stages: tuple[Stage, ...]) -> _Turns:
    runs = array("q")
    for stage in stages:
        places = (stage.place("counter"), stage.place("tasks"))
        runs.extend((stage.kernel.address, 0, len(stage.kernel.words), *places, 0))
    words = 2 + max(len(stage.kernel.words) for stage in stages)
    workers = max(stage.workers for stage in stages)
    own = Stage(_turns_kernel(), workers, n_runs=len(stages), copy_words=words)
    return _Turns(own, runs, words)


def run_together(calls: list[Call], worker_bytes: int | None = None) -> None:
    """Run all ``calls``; with ``worker_bytes`` these have their workers so far apart in scratch."""
    if len(calls) < 2 or max(call.stage.workers for call in calls) == 1:  # or so small
        for one in calls:
            one.run()
        return
    own, runs, words = _turns(tuple(call.stage for call in calls))
    runs, most = runs[:], 0
    for i, (stage, arguments) in enumerate(calls):
        tasks = arguments[stage.place("tasks")]
        if worker_bytes is not None:
            arguments[stage.place("scratch_bytes")] = worker_bytes
        runs[_RUN_WORDS * i + 1], runs[_RUN_WORDS * (i + 1) - 1] = arguments.buffer_info()[0], tasks
        most = max(most, tasks)
    copies = array("q", bytes(_WORD * words * own.workers))
    own.run(tasks=most, runs=runs.buffer_info()[0], copies=copies.buffer_info()[0])
