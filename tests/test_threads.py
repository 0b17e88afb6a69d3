"""Threads: how many, several callers at once under every threading layer, and after a fork."""

from __future__ import annotations

import importlib
import math
import sys
import threading

import numpy as np
import pytest
from processes import run

import fastconv as fc
from fastconv.core import threads
from fastconv.core.machine import cpu_count


def _available(layer):
    if layer == "workqueue":
        return True
    try:
        importlib.import_module(f"numba.np.ufunc.{layer}pool")
    except ImportError:
        return False
    return True


layers = pytest.mark.parametrize(
    "layer",
    [
        pytest.param(layer, marks=pytest.mark.skipif(not _available(layer), reason="not installed"))
        for layer in ("workqueue", "omp", "tbb")
    ],
)


def _enter(n):
    with threads.num_threads(n):
        pass


@pytest.mark.parametrize("setter", [fc.set_num_threads, _enter])
@pytest.mark.parametrize(
    ("error", "value"),
    [
        *((ValueError, n) for n in (0, -1, 2**40)),
        *((TypeError, n) for n in (1.0, math.nan, True, "2", None, (1,))),
    ],
)
def test_bad_numbers(setter, error, value):
    before = fc.get_num_threads()
    with pytest.raises(error, match="num_threads must be"):
        setter(value)
    assert fc.get_num_threads() == before


def test_set_num_threads():
    before = fc.get_num_threads()
    try:
        fc.set_num_threads(np.int64(1))
        assert fc.get_num_threads() == 1
    finally:
        fc.set_num_threads(before)
    assert fc.get_num_threads() == before


def test_default_is_every_processor_of_this_process():
    script = "import fastconv; print(fastconv.get_num_threads())"
    assert int(run(script)) == cpu_count()
    assert int(run(script, NUMBA_NUM_THREADS="1")) == 1


def test_context_ends_with_its_block():
    before = fc.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), threads.num_threads(1):
        assert fc.get_num_threads() == 1
        raise RuntimeError("inside")
    assert fc.get_num_threads() == before


def test_context_is_of_one_python_thread():
    seen = []
    with threads.num_threads(1):
        other = threading.Thread(target=lambda: seen.append(fc.get_num_threads()))
        other.start()
        other.join()
    assert seen == [fc.get_num_threads()]


def test_threads_left_out_stay_asleep():
    """A launch is of the threads asked for, and leaves numba's own setting as it was."""
    run(
        """
        import numba, numpy as np
        import fastconv as fc
        from fastconv.core import threads

        awake, parallel = [], threads._parallel()

        def watched(*args):
            awake.append(numba.get_num_threads())
            parallel(*args)

        threads._parallel = lambda: watched
        x, w = np.ones((4, 32, 20, 20), "f4"), np.ones((32, 32, 3, 3), "f4")
        numba.set_num_threads(3)
        for n in (2, 4, 3, 5):
            fc.set_num_threads(n)
            awake.clear()
            fc.conv2d(x, w)
            assert set(awake) == {n}, (n, awake)
            assert numba.get_num_threads() == 3

        def interrupted(*args):
            raise KeyboardInterrupt

        parallel = interrupted
        try:
            fc.conv2d(x, w)
        except KeyboardInterrupt:
            awake.append("interrupted")
        assert awake[-2:] == [5, "interrupted"]
        assert numba.get_num_threads() == 3
        """,
        NUMBA_NUM_THREADS="5",
    )


# Arrays of four convolutions that run in parallel, in one process with four threads.
SETUP = """
    import os, signal, sys, threading, time, warnings
    import numpy as np
    import fastconv as fc
    from fastconv.core import threads

    warnings.filterwarnings("ignore", "(?s).*fork", DeprecationWarning)  # from Python 3.12 on
    fc.set_num_threads(4)
    rng = np.random.default_rng(0)
    shapes = [(2, 32, 20, 21, 48), (1, 64, 14, 15, 33), (4, 3, 40, 41, 16), (2, 48, 17, 16, 48)]
    arrays = [
        (rng.normal(size=(n, c, h, w)).astype("f4"), rng.normal(size=(k, c, 3, 3)).astype("f4"))
        for n, c, h, w, k in shapes
    ]

    def compute(i):
        x, w = arrays[i]
        groups = 48 if i == 3 else 1
        w = w[:, : x.shape[1] // groups]
        y = fc.conv2d(x, w, padding=1, groups=groups)
        dx = fc.grad.conv2d_input(x.shape, w, y, padding=1, groups=groups)
        dw = fc.grad.conv2d_weight(x, w.shape, y, padding=1, groups=groups)
        return b"".join(a.tobytes() for a in (y, dx, dw))
"""

TOGETHER = """
    results = [[] for _ in range(8)]
    barrier = threading.Barrier(len(results))

    def work(number):
        barrier.wait()
        for _ in range(10):
            results[number].append(compute(number % 4))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    alone = [compute(i) for i in range(4)]
    for number, found in enumerate(results):
        assert found == [alone[number % 4]] * 10, f"shape {number % 4} differs"
    print(threads.threading_layer())
"""


@layers
def test_python_threads_call_at_once(layer):
    """Eight callers, two of each shape, from the first call on: the same bits as one caller."""
    printed = run(SETUP + TOGETHER, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")
    assert printed == layer


def test_limits_of_several_python_threads():
    """Each caller has its own number of threads, and the result of that number."""
    script = """
    expected = {}
    for n in (1, 2, 3, 4):
        with threads.num_threads(n):
            expected[n] = compute(0)
    wrong = []

    def work(n):
        with threads.num_threads(n):
            for _ in range(10):
                if compute(0) != expected[n] or fc.get_num_threads() != n:
                    wrong.append(n)

    workers = [threading.Thread(target=work, args=(n,)) for n in expected]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert not wrong, wrong
    """
    run(SETUP + script, NUMBA_NUM_THREADS="4")


CHILD = """
    def child(expected):
        \"\"\"Fork; the child computes all shapes.  An alarm ends it if it hangs.\"\"\"
        pid = os.fork()
        if pid == 0:
            signal.alarm(100)
            if fc.get_num_threads() != 1:
                os._exit(4)
            for i, parent in enumerate(expected):
                error = np.abs(np.frombuffer(compute(i), "f4") - parent).max()
                if not error <= 1e-5 * np.abs(parent).max():
                    os._exit(3)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"child: signal {status & 127}, exit {status >> 8}"
"""

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="no fork on this platform")


@needs_fork
@layers
def test_after_a_fork(layer):
    """A child of a process that has used its threads, twice over; and the parent after it."""
    script = """
    expected = [np.frombuffer(compute(i), "f4") for i in range(4)]
    child(expected)
    child(expected)
    assert [compute(i) for i in range(4)] == [e.tobytes() for e in expected]
    """
    run(SETUP + CHILD + script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")


@needs_fork
@layers
def test_before_any_use_a_child_has_threads(layer):
    script = """
    pid = os.fork()
    if pid == 0:
        signal.alarm(100)
        compute(0)
        os._exit(0 if threads.threading_layer() == sys.argv[1] else 3)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"child: signal {status & 127}, exit {status >> 8}"
    """
    run(SETUP + script, layer, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")


@needs_fork
@layers
def test_fork_while_another_python_thread_computes(layer):
    script = """
    with threads.num_threads(1):
        expected = [np.frombuffer(compute(i), "f4") for i in range(4)]
    compute(0)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            compute(0)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(5):
            child(expected)
    finally:
        stop.set()
        worker.join()
    """
    run(SETUP + CHILD + script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="4")


@needs_fork
def test_fork_while_another_python_thread_compiles(tmp_path):
    """A child has the locks that other threads hold, and what they left half done, for good."""
    script = """
    from fastconv.core import locks
    from fastconv.core.once import making

    locks._PATIENCE = 100  # so that a busy host is no failure
    x, w = np.ones((1, 5, 9, 9), "f4"), np.ones((7, 5, 3, 3), "f4")
    worker = threading.Thread(target=lambda: [compute(0), compute(3)])
    worker.start()
    while not making._inside: time.sleep(0.001)
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            signal.alarm(100)
            os._exit(0 if (fc.conv2d(x, w, algorithm="direct") == 45).all() else 3)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"child: signal {status & 127}, exit {status >> 8}"
    worker.join()
    """
    run(SETUP + script, FASTCONV_CACHE_DIR=str(tmp_path), NUMBA_NUM_THREADS="4")
