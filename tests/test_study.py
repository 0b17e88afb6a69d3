"""Studies: which passes, what is measured again, and that results outlive their files."""

from __future__ import annotations

import csv
import io
import json
import platform

import pytest
from fakes import Clock, Fake, only

import fastconv as fc
from fastconv.comparison import allocation, study
from fastconv.comparison.layers import Layer
from fastconv.comparison.results import Host, Results
from fastconv.conv import measuring
from fastconv.core.problem import DIRECTIONS, ConvProblem
from fastconv.simd import limits

SMALL = ConvProblem(2, 4, 6, 5, 8, 3, 3, padding=(1, 1, 1, 1))
HERE = Host("a processor", "avx2", 2, 100.0, 20.0, {"fastconv": "1", "numpy": "2"}, "2026-01-01")
HOW = study.Settings(("quick", "never"), (), 3.0)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """Two algorithms, of which one refuses; a peak of 50 GFLOP/s."""
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    monkeypatch.setattr(limits, "fma_peak", lambda *arguments: 5e10)
    quick = Fake("quick", clock, 1.0)
    with only(quick, Fake("never", clock, 1.0, reason="it needs wings")):
        yield quick


@pytest.fixture
def case():
    return study.Case("small", SMALL)


def test_cases_are_the_passes_that_somebody_needs():
    layers = [Layer("a", SMALL), Layer("b", SMALL, ("forward",)), Layer("a", SMALL)]
    cases = study.cases(layers, ("backward_input", "forward"), "float64", "nhwc")
    names = [(case.layer, case.problem.direction) for case in cases]
    assert names == [("a", "backward_input"), ("a", "forward"), ("b", "forward")]
    for _, problem in cases:
        assert (problem.dtype, problem.x_format, problem.y_format) == ("float64", "nhwc", "nhwc")


def test_an_entry_is_measured_once(fake, case):
    entries = {case: study.entry(case, HOW, {})}
    runs = fake.runs
    assert runs == 1 + 3 + 1  # compiled, timed, asked for its phases
    assert study.entry(case, HOW, entries) is entries[case]
    assert fake.runs == runs


AGAIN = [
    (HOW._replace(seconds=4.0), {}),
    (HOW._replace(algorithms=("quick",)), {}),
    (HOW._replace(algorithms=("never", "quick")), {}),
    (HOW, {"accuracy": "fast"}),
]


@pytest.mark.parametrize(("how", "options"), AGAIN)
def test_with_other_settings_it_is_measured_again(fake, case, how, options):
    entries = {case: study.entry(case, HOW, {})}
    before = fake.runs
    with fc.options(**options):
        study.entry(case, how, entries)
    assert fake.runs > before


def test_results_come_back_from_their_file():
    cases = study.cases([Layer("small", SMALL)], DIRECTIONS, "float32", "nchw")
    entries = {case: study.entry(case, HOW, {}) for case in cases}
    results = study.results(HERE, entries)
    again = Results.from_json(results.to_json())
    assert again == results
    assert study.resumed(again, HERE) == entries
    for case in cases:  # nothing is measured again
        assert study.entry(case, HOW, study.resumed(again, HERE)) == entries[case]


def test_the_host_has_the_best_peak_of_all(case):
    entries = {case: study.entry(case, HOW, {})}
    assert study.results(HERE, entries).host == HERE  # 100 beforehand, 50 beside it
    assert study.results(HERE._replace(peak=30.0), entries).host.peak == 50


OTHERS = [
    ({"peak": 1.0, "bandwidth": 1.0, "date": "2027"}, None),
    ({"processor": "another"}, "with processor a processor, here it is another"),
    ({"isa": "sse"}, "with isa avx2, here it is sse"),
    ({"threads": 1}, "with threads 2, here it is 1"),
    ({"versions": {"fastconv": "2"}}, "with versions {'fastconv': '1', 'numpy': '2'}, here"),
]


@pytest.mark.parametrize(("changes", "complaint"), OTHERS)
def test_only_this_host_resumes(changes, complaint):
    before, now = Results(HERE, ()), HERE._replace(**changes)
    if complaint is None:
        assert study.resumed(before, now) == {}
        return
    with pytest.raises(ValueError, match=complaint):
        study.resumed(before, now)


def test_this_host(monkeypatch):
    monkeypatch.setattr(limits, "bandwidth", lambda *arguments, **settings: 2e10)
    host = study.host("float32", ())
    assert (host.peak, host.bandwidth, host.threads) == (50, 20, fc.get_num_threads())
    assert set(host.versions) == {"fastconv", "python", "numpy", "numba"}


def test_csv_has_a_line_for_each_row(case):
    entries = {case: study.entry(case, HOW, {})}
    results = study.results(HERE, entries)
    one = entries[case].measured
    known = one.rows[0]._replace(phases={"input": 0.25, "multiply": 0.5})
    one = one._replace(rows=(known, *one.rows[1:]))
    text = results._replace(entries=(entries[case]._replace(measured=one),)).to_csv()
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["layer"], first["algorithm"], first["seconds"]) == ("small", "quick", "1.0")
    assert (first["padding"], first["direction"], first["chosen"]) == ("1x1x1x1", "forward", "True")
    assert (first["phase_input"], first["phase_multiply"]) == ("0.25", "0.5")
    assert (second["algorithm"], second["reason"]) == ("never", "it needs wings")
    assert second["phase_input"] == "" and "phases" not in second


WRONG = [
    "",
    "[" * 200_000,
    "[]",
    "{}",
    '{"fastconv": "comparison", "format": 99}',
    '{"fastconv": "hosts"}',
]


@pytest.mark.parametrize("text", WRONG, ids=[text[:40] for text in WRONG])
def test_other_files_are_no_results(text):
    with pytest.raises(ValueError, match="these are no results of a comparison"):
        Results.from_json(text)


MISTYPED = [
    (("host", "peak"), "fast"),
    (("host", "bandwidth"), float("inf")),
    (("entries", 0, "rows", 0, "executed"), 10**300),
    (("entries", 0, "rows", 0, "phases"), {"input": float("nan")}),
    (("host", "versions"), {"fastconv": 1}),
    (("entries", 0, "layer"), 3),
    (("entries", 0, "threads"), True),
    (("entries", 0, "problem", "N"), 1.5),
    (("entries", 0, "problem", "stride"), [1, "1"]),
    (("entries", 0, "problem", "padding"), [1, 1]),
    (("entries", 0, "rows", 0, "seconds"), None),
    (("entries", 0, "rows", 0, "phases"), {"input": "long"}),
    (("entries", 0, "asked", "max_workspace"), "much"),
]


def changed(case, place, value) -> str:
    """The JSON of results in which one value is another."""
    whole = json.loads(study.results(HERE, {case: study.entry(case, HOW, {})}).to_json())
    *path, name = place
    inside = whole
    for key in path:
        inside = inside[key]
    inside[name] = value
    return json.dumps(whole)


@pytest.mark.parametrize(("place", "value"), MISTYPED)
def test_results_of_the_wrong_type_are_named(case, place, value):
    text = changed(case, place, value)
    with pytest.raises(ValueError, match=f"no results of a comparison: {place[-1]} of a"):
        Results.from_json(text)


IMPOSSIBLE = [
    (("entries", 0, "problem", "direction"), "sideways", "is no pass of a convolution"),
    (("entries", 0, "problem", "stride"), [0, 0], "is no pass of a convolution"),
    (("entries", 0, "problem", "K"), 0, "is no pass of a convolution"),
    (("entries", 0, "rows", 0, "seconds"), 0.0, "no peak and no time of small can be 0"),
    (("entries", 0, "peak"), 0.0, "no peak and no time of small can be 0"),
    (("host", "bandwidth"), 0.0, "no peak and no bandwidth of a host can be 0"),
]


@pytest.mark.parametrize(("place", "value", "message"), IMPOSSIBLE)
def test_results_that_cannot_be(case, place, value, message):
    text = changed(case, place, value)
    with pytest.raises(ValueError, match=message):
        Results.from_json(text)


def test_memory_is_kept_where_the_library_of_c_can():
    assert allocation.keep_memory() == (platform.libc_ver()[0] == "glibc")
