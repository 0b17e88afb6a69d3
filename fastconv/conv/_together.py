"""Runs of several kernels at once, which do not depend on one another: task by task, in turns.

The parts of a strided gradient read the same filters and the same pixels, and write to the same
lines of memory; so a worker does the first task of every part, then the second one of each.
"""

from __future__ import annotations

import functools
from array import array

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.stage import Call, Stage
from fastconv.simd.copying import copy, next_task, put_word

# A kernel and its record: the address, words in it, and which of them are the counter of tasks and
# their number; and that number.
RUN = record("run_kernel run_record run_words run_counter run_tasks run_count")
_WORD = 8
_RUN_BYTES = RUN.itemsize


@functools.cache
def _turns_kernel() -> Kernel:
    @kernel(record("counter tasks runs n_runs copies copy_words"))
    def turns(worker, a):
        mine = a.copies + worker * a.copy_words * _WORD
        while True:
            task = next_task(a.counter)
            if task >= a.tasks:
                break
            for i in range(a.n_runs):
                run = record_at(a.runs + i * _RUN_BYTES, RUN)
                if task < run.run_count:
                    # A copy of the record that has this task only.
                    counter = mine + run.run_words * _WORD
                    copy(mine, run.run_record, run.run_words * _WORD)
                    put_word(counter, task)
                    put_word(mine + run.run_counter * _WORD, counter)
                    put_word(mine + run.run_tasks * _WORD, task + 1)
                    call(run.run_kernel, worker, mine)

    return turns


@functools.lru_cache(maxsize=64)
def _stage(workers: int) -> Stage:
    return Stage(_turns_kernel(), workers)


def run_together(calls: list[Call], worker_bytes: int | None = None) -> None:
    """Run all ``calls``; with ``worker_bytes`` these have their workers so far apart in scratch."""
    if len(calls) < 2:
        for one in calls:
            one.run()
        return
    runs = array("q")
    most, words = 0, 0
    for stage, arguments in calls:
        tasks = arguments[stage.place("tasks")]
        if worker_bytes is not None:
            arguments[stage.place("scratch_bytes")] = worker_bytes
        place = (stage.place("counter"), stage.place("tasks"))
        size = len(arguments) - 1  # without the counter
        runs.extend((stage.kernel.address, arguments.buffer_info()[0], size, *place, tasks))
        most, words = max(most, tasks), max(words, size + 1)
    workers = min(most, max(stage.workers for stage, _ in calls))
    copies = array("q", bytes(_WORD * words * workers))
    _stage(workers).run(
        tasks=most,
        runs=runs.buffer_info()[0],
        n_runs=len(calls),
        copies=copies.buffer_info()[0],
        copy_words=words,
    )
