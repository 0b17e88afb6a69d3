"""Runs of several kernels in turns."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from harness import DTYPES, FORMATS, Trial, assert_close

import fastconv as fc
from fastconv.conv import _parts
from fastconv.conv._product import parts_of
from fastconv.conv.registry import ALGORITHMS
from fastconv.core.address import address
from fastconv.core.jit import kernel, record
from fastconv.core.program import Program
from fastconv.core.stage import Stage
from fastconv.plans.turns import in_turns
from fastconv.simd.copying import get_word, put_word
from fastconv.simd.tasks import next_task

CASES = (
    cases.Case("turns-3x3", 2, 40, 15, 18, 72, 3, 3, 2, 1),
    cases.Case("turns-up", 2, 48, 14, 14, 96, 2, 2, 2),
    cases.Case("turns-uneven", 1, 33, 17, 12, 65, 5, 3, (3, 2), 2),
    cases.Case("turns-gaps", 2, 24, 16, 16, 40, 2, 2, 3),
    cases.Case("turns-groups", 2, 64, 13, 13, 64, 3, 3, 2, 1, groups=8),
    cases.Case("turns-dilation", 1, 32, 19, 19, 48, 3, 3, 2, 2, dilation=3),
    cases.Case("turns-few-pixels", 1, 160, 8, 8, 192, 3, 3, 2, 1),
)


def _count_kernel():
    @kernel(record("counter tasks scratch scratch_bytes target"))
    def count(worker, a):
        mine = a.scratch + worker * a.scratch_bytes
        put_word(mine, 0)
        while True:
            task = next_task(a.counter, worker, a.tasks)
            if task >= a.tasks:
                break
            put_word(mine, get_word(mine) + 1)  # tasks of one call
            at = a.target + task * 8
            put_word(at, get_word(at) + get_word(mine))

    return count


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("tasks", [(7,), (3, 8, 1), (0, 4), (2, 2, 2, 2, 2)])
def test_every_task_once(tasks, workers):
    targets = [np.zeros(n, np.int64) for n in tasks]
    scratch = np.zeros(workers * 8, np.int64)
    stage = Stage(_count_kernel(), workers)
    calls = [
        stage.call(tasks=n, scratch=address(scratch), scratch_bytes=8, target=address(target))
        for n, target in zip(tasks, targets, strict=True)
    ]
    Program(in_turns(calls, 64)).run(0)
    for target in targets:
        if len(tasks) == 1 or workers == 1:  # nothing to take turns with
            assert (target > 0).all()
        else:
            np.testing.assert_array_equal(target, 1)


def test_nothing_to_run():
    assert in_turns([]) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_filters_of_all_parts_lie_apart(case):
    """Those are packed before any part multiplies; workers have the room of the largest part."""
    trial = Trial(case, "backward_input")
    ((_, parts),) = parts_of(ALGORITHMS["direct"], trial.problem, 2)
    if len(parts) > 1:
        filters = sum(part.filters.nbytes for part in parts)
        assert _parts.workspace(parts) == filters + max(p.workers for p in parts) * max(
            p.worker_bytes for p in parts
        )
    assert ALGORITHMS["direct"].cost(trial.problem, 2).workspace == _parts.workspace(parts)


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize(
    ("algorithm", "dtype"),
    [*((name, dtype) for name in ("direct", "im2col") for dtype in DTYPES), ("bf16x3", "float32")],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_results(case, algorithm, dtype, order):
    trial = Trial(case, "backward_input", dtype, order)
    if trial.refusal(algorithm):
        pytest.skip(trial.refusal(algorithm))
    for threads in (1, 2):
        with fc.options(num_threads=threads):
            result = trial.run(algorithm, *trial.operands())
        assert_close(result, trial.expected, trial.bound(algorithm))
