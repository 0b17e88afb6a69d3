"""What is kept of choices: for which problems and hosts, in files that others write too."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import MS, PROBLEM, W, X, call, runs
from processes import finish, start

import fastconv as fc
from fastconv.conv import _decisions, calibration, selector
from fastconv.conv._decisions import Decision
from fastconv.conv.options import Request
from fastconv.core import files, store


def test_a_decision_outlives_the_process(register, stored):
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    call()
    selector.forget()
    before = runs(fakes)
    assert call() == 2
    assert runs(fakes) == [before[0], before[1] + 1]
    assert selector.choose(PROBLEM, Request(), fc.get_num_threads()).why == "measured"


def test_a_choice_stands_for_the_process(register, stored, monkeypatch):
    """Whatever the host then looks like, and whatever other processes have decided meanwhile."""
    one, two = register(one=(5 * MS,), two=(20 * MS,))
    assert call() == 1
    one.predicted, two.predicted = 50 * MS, 2 * MS
    key = _decisions._key(PROBLEM, Request(), fc.get_num_threads())
    store.remember("decisions", key, Decision("two", {"two": 1.0})._asdict())
    selector.plan_for.cache_clear()
    assert call() == 1
    selector.forget()
    assert call() == 2


OTHER = [  # calls that the decision on a plain one says nothing about
    lambda: fc.conv2d(X, W, accuracy="fast"),
    lambda: fc.conv2d(X, W, max_workspace=10**6),
    lambda: fc.conv2d(X.astype(float), W.astype(float)),
    lambda: fc.conv2d(X[:1], W),
    lambda: fc.conv2d(np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), W),
    lambda: fc.grad.conv2d_input(X.shape, W, np.ones((2, 8, 4, 3), np.float32)),
    lambda: fc.grad.conv2d_weight(X, W.shape, np.ones((2, 8, 4, 3), np.float32)),
]


@pytest.mark.parametrize("other", OTHER)
def test_a_decision_holds_for_one_problem_only(register, stored, other):
    folder = stored
    exact = {"error": 0.0}
    fakes = register(one=(5 * MS, 5 * MS, exact), two=(6 * MS, 4 * MS, exact))
    call()
    before = fakes[0].runs
    other()
    assert fakes[0].runs > before
    assert len(list(folder.glob("decisions/*.json"))) == 2


@pytest.mark.parametrize(("workers", "processor"), [(41, "this"), (40, "another")])
def test_a_decision_holds_for_one_host_only(register, stored, monkeypatch, workers, processor):
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))

    def measures(workers, processor):
        selector.forget()
        monkeypatch.setattr(calibration, "processor_name", lambda: processor)
        before = fakes[0].runs
        selector.plan_for(PROBLEM, Request(), workers)(X, W, np.empty(4, "f4"), None, False)
        return fakes[0].runs > before

    assert measures(40, "this")
    assert not measures(40, "this")
    assert measures(workers, processor)


GOOD = {"algorithm": "one", "seconds": {"one": 1e-3}}


WRONG = [  # what may stand in a decision's file: its bytes, or the value in an otherwise good one
    b"",
    b"{",
    b"\xff\xfe\x00",
    b"null",
    b"[" * 100_000,
    b"[]",
    b'{"a": 1}',
    b'{"fastconv": "decisions", "key": {}, "value": {}}',
    None,
    GOOD | {"algorithm": "unknown"},
    {"algorithm": "gone", "seconds": {"gone": 1e-3}},
    GOOD | {"algorithm": 3},
    GOOD | {"seconds": {}},
    GOOD | {"seconds": {"one": "fast"}},
    GOOD | {"seconds": {"one": float("nan")}},
    GOOD | {"more": 1},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_damaged_or_foreign_file_is_ignored_and_rewritten(register, stored, wrong):
    folder = stored
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    call()
    (file,) = folder.glob("decisions/*.json")
    good = json.loads(file.read_text())
    assert good["value"]["algorithm"] == "two"
    content = wrong if isinstance(wrong, bytes) else json.dumps(good | {"value": wrong}).encode()
    file.write_bytes(content)
    selector.forget()
    before = fakes[0].runs
    with pytest.warns(RuntimeWarning, match=r"ignores .*json.*measures again") as caught:
        assert call() == 2
    assert len(caught) == 1
    assert fakes[0].runs > before
    assert json.loads(file.read_text())["value"]["algorithm"] == "two"
    selector.forget()
    assert call() == 2  # without a warning


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])  # a pipe's reader would wait for ever
def test_what_is_no_file_is_not_read(register, stored, make):
    register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    call()
    (file,) = stored.glob("decisions/*.json")
    file.unlink()
    make(file)
    selector.forget()
    with pytest.warns(RuntimeWarning, match="cannot be read .it is no file., and measures again"):
        assert call() == 2
    if make is os.mkfifo:
        assert json.loads(file.read_text())["value"]["algorithm"] == "two"
    else:  # a folder may hold anything
        assert file.is_dir()


def test_what_cannot_be_reached_is_not_there(register, stored, monkeypatch):
    register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))

    def denied(path, *args, **kwargs):
        raise PermissionError(path)

    monkeypatch.setattr(os, "stat", denied)
    monkeypatch.setattr(Path, "read_bytes", denied)
    assert call() == 2


def test_where_nothing_can_be_written_the_process_remembers(register, stored):
    folder = stored
    (folder / "decisions").write_text("a file where the folder should be")
    fakes = register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))
    assert call() == 2
    selector.plan_for.cache_clear()
    before = fakes[0].runs
    assert call() == 2
    assert fakes[0].runs == before
    assert [path.name for path in folder.iterdir()] == ["decisions"]


def test_a_write_that_fails_leaves_nothing_behind(register, stored, monkeypatch):
    folder = stored
    register(one=(5 * MS, 5 * MS), two=(6 * MS, 4 * MS))

    def refuse(source, target):
        raise PermissionError("in use")

    monkeypatch.setattr(files.os, "replace", refuse)
    assert call() == 2
    assert list((folder / "decisions").iterdir()) == []


WRITER = """
    import sys
    from fastconv.core import store
    mine, facts = sys.argv[1], int(sys.argv[2])
    for i in range(facts):
        store.remember("facts", {"i": i, "by": mine}, mine)
        store.remember("facts", {"shared": i}, mine)
    print(mine)
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path, monkeypatch):
    writers = [start(WRITER, name, 60, FASTCONV_CACHE_DIR=str(tmp_path)) for name in "abc"]
    assert sorted(finish(writer) for writer in writers) == ["a", "b", "c"]
    (folder,) = tmp_path.glob("kernels-*")
    monkeypatch.setattr(store, "cache_directory", lambda: str(folder))

    def recall(**key):
        return store.recall("facts", key, lambda value: value in ("a", "b", "c"))

    assert all(recall(i=i, by=name) == name for i in range(60) for name in "abc")
    assert all(recall(shared=i) is not None for i in range(60))
    assert not list(folder.rglob("*.tmp"))
