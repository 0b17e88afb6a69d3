"""Every test runs on poisoned memory: scratch and results start as NaN and lie between fences."""

from __future__ import annotations

import threading

import pytest
from harness import Fences
from hypothesis import settings

from fastconv.core import workspace

# Compiling a kernel takes longer than any deadline; the same examples in every run.
settings.register_profile("fastconv", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("fastconv")


@pytest.fixture(autouse=True)
def fences(monkeypatch):
    """NaN in all scratch and in all results, and a check that no kernel wrote beyond them."""
    fences = Fences()
    monkeypatch.setattr(workspace, "POISON", True)
    monkeypatch.setattr(workspace, "_local", threading.local())
    monkeypatch.setattr(workspace, "np", fences)
    monkeypatch.setattr(workspace, "empty", fences.output)
    yield fences
    fences.assert_hold()
