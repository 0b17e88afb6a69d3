"""The garbage collector waits while kernels are compiled, and only then."""

import gc
import os
import sys

import pytest

from fastconv.core import garbage


def test_a_block_keeps_garbage_and_ends_collecting():
    with garbage.kept():
        assert not gc.isenabled()
        with garbage.kept():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_ends_the_block_too():
    with pytest.raises(ZeroDivisionError), garbage.kept():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    try:
        with garbage.kept():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:(?s).*fork:DeprecationWarning")
def test_the_child_of_a_fork_collects():
    with garbage.kept():
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not gc.isenabled()
