"""Every test runs on poisoned memory: scratch and results start as NaN and lie between fences.

No test reads or writes what the user's own programs have stored, and none depends on how fast this
machine is at the moment: the host is a nominal one, and nothing is remembered from test to test.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Clock, Fake, only
from harness import Fences
from hypothesis import HealthCheck, settings

from fastconv.conv import (
    _bilinear,
    _contest,
    _depthwise_fft,
    _product,
    bf16x3,
    calibration,
    selector,
    strassen,
)
from fastconv.conv.winograd import Winograd
from fastconv.core import store, workspace
from fastconv.core.machine import machine
from fastconv.plans.bilinear import line_grid
from fastconv.plans.bilinear.line_grid import LineGrid

# Kernels are kept between runs, beside what pytest keeps.
os.environ.setdefault(
    "FASTCONV_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "fastconv")
)

# Threads of several test processes that wait for work should not take it from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Compiling a kernel takes longer than any deadline, and a test that runs many examples looks after
# the fences itself.  The same examples in every run; with --hypothesis-profile=long, others.
settings.register_profile(
    "fastconv",
    max_examples=40,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "long", settings.get_profile("fastconv"), max_examples=1000, derandomize=False
)
settings.load_profile("fastconv")


@pytest.fixture
def planned_anew():
    """Plans are kept: a test that changes what they depend on has its own, and leaves none."""
    _product.parts_of.cache_clear()
    yield
    _product.parts_of.cache_clear()


@pytest.fixture
def lines(request, monkeypatch, planned_anew):
    """``winograd`` takes tiles of lines only, of so many outputs if the test says so.

    They stay in a cache of 1 MiB, whatever this machine has.
    """
    m, grids = getattr(request, "param", None), _bilinear._grids

    def of_lines(algorithm, problem):
        some = grids(algorithm if m is None else Winograd(m), problem)
        return [grid for grid in some if isinstance(grid, LineGrid)]

    monkeypatch.setattr(line_grid, "machine", lambda: replace(machine(), l2=1 << 20))
    monkeypatch.setattr(_bilinear, "_grids", of_lines)
    _bilinear._best_grid.cache_clear()
    yield m
    _bilinear._best_grid.cache_clear()


@pytest.fixture(autouse=True)
def fences(monkeypatch):
    """NaN in all scratch and in all results, and a check that no kernel wrote beyond them."""
    fences = Fences()
    monkeypatch.setattr(workspace, "POISON", True)
    monkeypatch.setattr(workspace, "_shelf", workspace._Shelf())
    monkeypatch.setattr(workspace, "np", fences)
    monkeypatch.setattr(workspace, "empty", fences.output)
    yield fences
    fences.assert_hold()


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """A nominal host, and a selector that has not decided anything and stores nothing."""
    monkeypatch.setattr(calibration, "host", lambda dtype, threads: calibration.NOMINAL)
    monkeypatch.setattr(store, "cache_directory", lambda: None)
    yield
    selector.forget()


@pytest.fixture
def no_second_try(monkeypatch):
    """An algorithm must not spoil a result.

    It would compute it again in another way, and what a kernel did wrong would go unnoticed.
    """

    def refusing(spoilt, plan, other):
        def run(*operands):
            assert not spoilt(plan(*operands)), "a result is not finite"

        return run

    for module in (_bilinear, _depthwise_fft, _product, bf16x3, strassen):
        monkeypatch.setattr(module, "again_if", refusing)


@pytest.fixture
def clock(monkeypatch):
    """The clock of contests, which only fakes move."""
    clock = Clock()
    monkeypatch.setattr(_contest, "clock", clock)
    return clock


@pytest.fixture
def register(clock):
    """Make fakes the only algorithms: name=(predicted, actual, properties), writing 1, 2, …"""
    with contextlib.ExitStack() as stack:

        def register(**algorithms):
            fakes = [
                Fake(name, clock, *times[:2], value=value, **(times[2] if len(times) > 2 else {}))
                for value, (name, times) in enumerate(algorithms.items(), 1)
            ]
            return stack.enter_context(only(*fakes))

        yield register


@pytest.fixture
def stored(monkeypatch, tmp_path):
    """A folder for facts."""
    monkeypatch.setattr(store, "cache_directory", lambda: str(tmp_path))
    return tmp_path
