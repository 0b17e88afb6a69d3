"""Scratch memory: blocks that are used again, and never by two at once."""

from __future__ import annotations

import json
import threading

import pytest
from processes import run

from fastconv.core import workspace
from fastconv.core.address import address
from fastconv.core.workspace import ALIGN, Scratch


def _after(memory):
    return address(memory) + memory.nbytes


def _blocks():
    return workspace._shelf.blocks


def test_a_block_is_aligned_and_used_again():
    with Scratch(1000) as first:
        assert first % ALIGN == 0
    with Scratch(900) as second:
        assert second == first
    assert len(_blocks()) == 1


def test_a_block_that_is_too_small_is_replaced():
    with Scratch(1000):
        pass
    with Scratch(1001):
        pass
    assert [block.nbytes for block in _blocks()] == [1001 + ALIGN]


def test_scratch_inside_lies_elsewhere():
    with workspace.reserve(1000) as memory:
        memory[:] = 7
        assert address(memory) % ALIGN == 0 and memory.nbytes == 1000
        with Scratch(500) as inside, workspace.reserve(100) as more:
            more[:] = 8
            for place in (inside, address(more)):
                assert not address(memory) <= place < _after(memory)
        assert (memory == 7).all()
    with Scratch(1000) as again:  # that of the outer one
        assert again == address(memory)
    assert len(_blocks()) == 3


@pytest.mark.parametrize("kind", [Scratch, workspace.reserve])
def test_a_block_is_put_back_after_an_error(kind):
    with pytest.raises(RuntimeError, match="inside"), kind(1000):
        assert not _blocks()
        raise RuntimeError("inside")
    assert len(_blocks()) == 1


def test_blocks_that_are_not_in_use_are_released():
    with workspace.reserve(1000) as memory:
        memory[:] = 7
        with Scratch(3000):
            pass
        workspace.release()
        assert not _blocks()
        assert (memory == 7).all()
    assert len(_blocks()) == 1


def test_threads_have_blocks_of_their_own():
    with Scratch(1000):
        pass
    (block,) = _blocks()
    found = []

    def work():
        with Scratch(1000) as base:
            found.append(base)
        found.append(len(_blocks()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not address(block) <= found[0] < _after(block)
    assert found[1:] == [1] and _blocks()[0] is block


# A timer interrupts a computation at any point, and computes something larger in between.
INTERRUPTED = """
    import json, signal, time
    import numpy as np
    import fastconv as fc

    x, w = np.ones((1, 16, 12, 12), "f4"), np.ones((16, 16, 3, 3), "f4")
    others = np.ones((2, 32, 24, 24), "f4"), np.ones((32, 32, 3, 3), "f4")
    found = []

    def interrupt(*_):
        found.append(float(fc.conv2d(*others, algorithm="winograd")[0, 0, 0, 0]))
        signal.setitimer(signal.ITIMER_REAL, 1e-3)  # not before: on a busy machine it would nest

    wrong = 0
    with fc.options(algorithm="direct"):
        fc.conv2d(x, w)
        signal.signal(signal.SIGALRM, interrupt)
        interrupt()
        end = time.time() + 2
        while time.time() < end:
            wrong += bool((fc.conv2d(x, w) != 144).any())
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(json.dumps([wrong, len(found) > 10, max(abs(value - 288) for value in found) < 1e-2]))
"""


def test_a_signal_handler_may_compute_too():
    assert json.loads(run(INTERRUPTED)) == [0, True, True]
