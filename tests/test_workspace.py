"""Scratch memory that one call keeps while it makes others."""

from __future__ import annotations

import pytest

from fastconv.core import workspace
from fastconv.core.address import address


def _after(memory):
    return address(memory) + memory.nbytes


def test_scratch_inside_lies_behind():
    with workspace.reserve(1000, 600) as memory:
        memory[:] = 7
        assert workspace.scratch(500) == workspace.aligned(_after(memory))
        with workspace.reserve(100, 400) as more:
            more[:] = 8
            assert address(more) >= _after(memory)
            assert workspace.scratch(300) >= _after(more)
            assert (more == 8).all()
        assert (memory == 7).all()
    assert workspace.scratch(1000) == address(memory)


def test_scratch_inside_may_outgrow_the_block():
    with workspace.reserve(1000, 10) as memory:
        memory[:] = 7
        inside = workspace.scratch(1 << 20)
        assert not address(memory) <= inside < _after(memory)
        workspace._local.block.fill(1)
        assert (memory == 7).all()


def test_reserved_until_an_error():
    first = workspace.scratch(2000)
    with pytest.raises(RuntimeError, match="inside"), workspace.reserve(1000, 10):
        raise RuntimeError("inside")
    assert workspace.scratch(2000) == first


def test_released_scratch_is_taken_anew_but_not_from_a_call():
    workspace.scratch(3000)
    workspace.release()
    assert workspace._local.block is None
    assert workspace.scratch(3000) == workspace._local.address
    with workspace.reserve(1000, 10) as memory:
        memory[:] = 7
        workspace.release()
        assert address(memory) >= workspace._local.address
        assert (memory == 7).all()
