"""The host in four numbers: measured once, kept, and what the model makes of them."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from fastconv.conv import calibration
from fastconv.conv.algorithm import Cost, Work
from fastconv.conv.calibration import _CALL, Host
from fastconv.core import store
from fastconv.core.machine import PAGE, machine
from fastconv.core.stage import Stage
from fastconv.simd import limits

real_host = calibration.host  # of which every test gets a nominal one
HOST = Host(peak=1e11, memory=1e10, cache=1e12, launch=1e-5)
L2 = machine().l2
E = calibration.KINDS["product"].efficiency


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A folder for hosts, those measured so far, and the beginning of a new process."""
    made = []

    def measure(dtype, threads):
        made.append((dtype, threads))
        return HOST._replace(peak=1e9 * len(made))

    monkeypatch.setattr(store, "cache_directory", lambda: str(tmp_path))
    monkeypatch.setattr(calibration, "_measure", measure)
    calibration._host.cache_clear()
    yield tmp_path, made
    calibration._host.cache_clear()


COSTS = [  # stages, seconds
    ([Work("product", 10**9, 0)], 1e9 / (E * 1e11) + _CALL),
    ([Work("product", 10**9, 0, workers=4)], 1e9 / (4 * E * 1e11) + _CALL + 1e-5),
    ([Work("product", 0, 10**9)], 0.1 + _CALL),
    ([Work("product", 10**9, 10**9)], 0.1 + _CALL),  # arithmetic hides behind the memory
    ([Work("product", 0, L2)], L2 / 1e12 + _CALL),  # in cache
    ([Work("product", 0, L2, workers=2)], L2 / 2e12 + _CALL + 1e-5),
    ([Work("gather", 0, 10**9)], 1e-3 + _CALL),  # near, however much it is
    ([Work("copy", 0, L2), Work("copy", 0, L2)], 2 * L2 / 1e10 + _CALL),  # together too much
    ([Work("gather", 0, 10**9, launches=0), Work("copy", 0, L2)], 1e-3 + L2 / 1e12 + _CALL),
    ([Work("copy", 0, 0, workers=2, launches=3)], _CALL + 3e-5),
    ([Work("transform", 10**8, 0), Work("copy", 0, 2 * L2)], 1e8 / 2.2e10 + 2 * L2 / 1e10 + _CALL),
    ([], _CALL),
]


@pytest.mark.parametrize(("stages", "seconds"), COSTS)
def test_model(stages, seconds):
    assert calibration.seconds(Cost(tuple(stages), 0, 0), HOST) == pytest.approx(seconds, rel=1e-6)


def test_a_host_is_measured_once(measured):
    folder, made = measured
    first = real_host("float32", 2)
    assert real_host("float32", 2) is first
    calibration._host.cache_clear()  # as in the next process
    assert real_host("float32", 2) == first
    assert made == [("float32", 2)]
    assert len(list(folder.glob("hosts/*.json"))) == 1


def test_a_host_that_is_kept_busy_is_not_stored(measured, monkeypatch):
    folder, _ = measured
    monkeypatch.setattr(calibration, "_measure", lambda *key: HOST._replace(launch=8e-3))
    assert real_host("float32", 2) == HOST._replace(launch=500e-6)
    assert not list(folder.rglob("*.json"))


def test_hosts_differ_by_dtype_threads_and_processor(measured, monkeypatch):
    _, made = measured
    cases = [("float32", 1), ("float32", 2), ("float64", 1)]
    for case in cases:
        real_host(*case)
    assert made == cases
    calibration._host.cache_clear()
    monkeypatch.setattr(calibration, "processor_name", lambda: "another")
    real_host("float32", 1)
    assert made == [*cases, ("float32", 1)]
    calibration._host.cache_clear()
    here = machine()
    other = dataclasses.replace(here, isa=dataclasses.replace(here.isa, name="another"))
    monkeypatch.setattr(calibration, "machine", lambda: other)
    real_host("float32", 1)
    assert made == [*cases, ("float32", 1), ("float32", 1)]


GOOD = HOST._asdict()
WRONG = [
    b"",
    b"{",
    b"\x80",
    b"[1]",
    b"[" * 100_000,
    b'"text"',
    {},
    GOOD | {"peak": 0.0},
    GOOD | {"peak": -1.0},
    GOOD | dict.fromkeys(GOOD, 5e-324),
    GOOD | {"memory": 1e300},
    GOOD | {"memory": math.inf},
    GOOD | {"cache": math.nan},
    GOOD | {"launch": "1"},
    GOOD | {"launch": True},
    GOOD | {"more": 1.0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_damaged_or_foreign_file_is_ignored_and_rewritten(measured, wrong):
    folder, made = measured
    real_host("float32", 2)
    (file,) = folder.glob("hosts/*.json")
    content = json.loads(file.read_text())
    written = wrong if isinstance(wrong, bytes) else json.dumps(content | {"value": wrong}).encode()
    file.write_bytes(written)
    calibration._host.cache_clear()
    with pytest.warns(RuntimeWarning, match=r"ignores .*json"):
        again = real_host("float32", 2)
    assert len(made) == 2
    calibration._host.cache_clear()
    assert real_host("float32", 2) == again
    assert len(made) == 2


def test_a_file_of_another_key_is_foreign(measured):
    folder, made = measured
    real_host("float32", 2)
    (file,) = folder.glob("hosts/*.json")
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"key": content["key"] | {"processor": "another"}}))
    calibration._host.cache_clear()
    with pytest.warns(RuntimeWarning, match="is not what fastconv writes there"):
        real_host("float32", 2)
    assert len(made) == 2


def test_without_a_folder_the_process_remembers(measured, monkeypatch):
    _, made = measured
    monkeypatch.setattr(store, "cache_directory", lambda: None)
    assert real_host("float32", 2) is real_host("float32", 2)
    assert len(made) == 1


def test_the_best_of_several_rounds_counts(monkeypatch):
    """Others slow a host down by turns."""
    peaks, caches, launches = iter([5, 9, 7]), iter([4, 3, 8]), iter([3, 2, 2])
    monkeypatch.setattr(limits, "fma_peak", lambda *_: next(peaks))
    monkeypatch.setattr(limits, "launch", lambda *_: next(launches))
    monkeypatch.setattr(
        limits, "bandwidth", lambda n, size=None, seconds=0: next(caches) if size else 10 + n
    )
    assert calibration._measure("float32", 2) == (9, 12, 8, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_measured_is_plausible(dtype):
    host = calibration._measure(dtype, 2)
    assert calibration._valid(host._asdict())
    assert 1e8 < host.peak < 1e13
    assert 1e8 < host.memory < 1e13 and 1e8 < host.cache < 1e13
    assert 1e-8 < host.launch < 0.1


def test_peak_counts_multiply_adds():
    """Of float64 there are half as many to a register: with room for noise, half the rate."""
    ratio = limits.fma_peak("float32", 1, 0.05) / limits.fma_peak("float64", 1, 0.05)
    assert 1 < ratio < 4


@pytest.mark.parametrize("nbytes", [1000, 4096, 100_000])
def test_a_copy_lies_whole_pages_behind_its_source(nbytes, monkeypatch):
    """Else a processor may copy at a twentieth of its speed, by chance."""
    made = []

    def stage(kernel, workers, **words):
        made.append(words)
        return Stage(kernel, workers, **words)

    monkeypatch.setattr(limits, "Stage", stage)
    assert limits.bandwidth(1, nbytes, seconds=0.001) > 0
    ((source, target),) = [(words["source"], words["target"]) for words in made]
    assert target - source >= nbytes and (target - source) % PAGE == 0
