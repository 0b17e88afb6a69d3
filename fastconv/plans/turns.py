"""Runs of several kernels at once, which do not depend on one another: task by task, in turns.

The parts of a strided gradient read the same filters and the same pixels, and write to the same
lines of memory; so a worker does the first task of every part, then the second one of each.
"""

from __future__ import annotations

import functools

from fastconv.core.jit import Kernel, call, kernel, record, record_at
from fastconv.core.linking import WORD
from fastconv.core.program import Call, Words
from fastconv.core.stage import Stage
from fastconv.simd.copying import copy, put_word
from fastconv.simd.tasks import next_task

# A kernel and its words: the address, how many they are, and which of them are the counter of tasks
# and their number; and that number.
RUN = record("run_kernel run_record run_words run_counter run_tasks run_count")
_RUN_BYTES = WORD * len(RUN.names)


@functools.cache
def _turns_kernel() -> Kernel:
    @kernel(record("counter tasks runs n_runs copies copy_words"))
    def turns(worker, a):
        mine = a.copies + worker * a.copy_words * WORD
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            for i in range(a.n_runs):
                run = record_at(a.runs + i * _RUN_BYTES, RUN)
                if task < run.run_count:
                    # A copy of the words for one worker, who has this task left.
                    counter = mine + run.run_words * WORD
                    copy(mine, run.run_record, run.run_words * WORD)
                    put_word(counter, 1)
                    put_word(counter + WORD, task)
                    put_word(mine + run.run_counter * WORD, counter)
                    put_word(mine + run.run_tasks * WORD, task + 1)
                    call(run.run_kernel, worker, mine)

    return turns


def in_turns(calls: list[Call], worker_bytes: int | None = None) -> list[Call]:
    """What runs all ``calls``; with ``worker_bytes`` these have their workers so far apart."""
    if len(calls) < 2 or max(call.workers for call in calls) == 1:  # or so small
        return calls
    runs = Words([])
    most = 0
    for one in calls:
        names, begin = one.kernel.words, len(runs.numbers)
        counter, tasks = names.index("counter"), names.index("tasks")
        if worker_bytes is not None:
            one.words.put(names.index("scratch_bytes"), worker_bytes)
        count = one.words.numbers[tasks]
        runs.numbers.extend((one.kernel.address, 0, len(names), counter, tasks, count))
        runs.put(begin + 1, one.words)
        most = max(most, count)
    workers = max(call.workers for call in calls)
    size = 2 + max(len(call.kernel.words) for call in calls)  # two more to count tasks with
    copies = Words([0] * (size * workers))
    stage = Stage(_turns_kernel(), workers, n_runs=len(calls), copy_words=size, tasks=most)
    return [stage.call(runs=runs, copies=copies)]
