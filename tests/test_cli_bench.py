"""``fastconv bench``: asv's files by algorithm, and one line for whatever is wrong with them."""

from __future__ import annotations

import csv
import json
import math

import pytest
from test_cli import fails, succeeds

from fastconv.comparison import asv_results

NAN = math.nan
COLUMNS = [
    "result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b",
    "stats_q_25", "stats_q_75", "stats_number", "stats_repeat", "samples", "profile",
]  # fmt: skip
TIMED, RATES, PLAIN = "forward.FilterSize.time_pass", "figures.Forward.track_rate", "startup.Import"
ALGORITHMS = ["'auto'", "'direct'", "'fft'", "'depthwise'", "'torch'"]
PARAMS = [ALGORITHMS, ["3", "7"]]
SECONDS = [2e-3, 4e-3, 2e-3, 9e-3, NAN, 5e-3, NAN, NAN, 3e-3, 1e-2]
SECONDS[4] = None  # fft failed at 3
GFLOPS = [50.0, 60.0, 50.0, 40.0, 30.0, 70.0, NAN, NAN, 45.0, 20.0]
OLD, NEW = "a1" * 20, "b2" * 20


def description(name, unit, names, version="1"):
    return {"name": name, "unit": unit, "param_names": names, "version": version, "type": "time"}


def content(commit, date, machine="desk", seconds=SECONDS):
    """A file of results as asv writes it: a row ends where only None would follow."""
    quartiles = [[v and v * k for v in seconds] for k in (0.9, 1.2)]
    rows = {
        TIMED: [seconds, PARAMS, "1", 1795591424703, 26.7, None, None, *quartiles],
        RATES: [GFLOPS, PARAMS, "1", 1795591424703, 3.5],
        PLAIN: [[0.5], [["'fastconv'"]], "1", 1795591424703, 3.5],
        "forward.Channels.time_pass": [None, PARAMS, "another version", 1795591424703, 1.0],
    }
    return {
        "commit_hash": commit, "env_name": "virtualenv-py3.11", "date": date,
        "params": {"machine": machine}, "python": "3.11", "requirements": {}, "env_vars": {},
        "result_columns": COLUMNS, "results": rows, "durations": {}, "version": 2,
    }  # fmt: skip


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def folder(tmp_path):
    """Two commits on one machine, the newer one on another, too."""
    names = ["algorithm", "filter size"]
    benchmarks = {
        TIMED: description(TIMED, "seconds", names),
        RATES: description(RATES, "GFLOP/s", names),
        PLAIN: description(PLAIN, "seconds", ["library"]),
        "forward.Channels.time_pass": description("forward.Channels.time_pass", "seconds", names),
    }
    write(tmp_path / "benchmarks.json", benchmarks | {"version": 2})
    for machine in ("desk", "rack"):
        write(tmp_path / machine / "machine.json", {"machine": machine, "version": 1})
    write(tmp_path / "desk" / "b2b2b2b2-virtualenv-py3.11.json", content(NEW, 2))
    write(tmp_path / "desk" / "a1a1a1a1-virtualenv-py3.11.json", content(OLD, 1))
    write(tmp_path / "rack" / "b2b2b2b2-virtualenv-py3.11.json", content(NEW, 2, "rack"))
    return tmp_path


def bench(capsys, folder, *options):
    return succeeds(capsys, ["bench", "--results", str(folder), *options])


def test_tables_are_by_algorithm(capsys, folder):
    lines = bench(capsys, folder, "--machine", "desk").splitlines()
    assert [line.split() for line in lines if line] == [
        ["commit", "b2b2b2b2", "on", "desk,", "virtualenv-py3.11"],
        [f"{RATES},", "GFLOP/s"],
        ["filter", "size", "auto", "direct", "fft", "torch"],
        ["─" * len(lines[4])],
        ["3", "50", "★", "50", "30", "45"],
        ["7", "60", "40", "★", "70", "20"],
        ["not", "run:", "depthwise"],
        [f"{TIMED},", "seconds"],
        ["filter", "size", "auto", "direct", "fft", "torch", "torch/auto", "torch/fastest"],
        ["─" * len(lines[11])],
        ["3", "2", "ms", "★", "2", "ms", "failed", "3", "ms", "1.50", "1.50"],
        ["7", "4", "ms", "9", "ms", "★", "5", "ms", "10", "ms", "2.50", "2.00"],
        ["not", "run:", "depthwise"],
    ]


def test_skipped_at_one_point_is_a_dash(capsys, folder):
    seconds = [*SECONDS[:2], NAN, *SECONDS[3:]]
    write(folder / "desk" / "b2b2b2b2-virtualenv-py3.11.json", content(NEW, 2, seconds=seconds))
    text = bench(capsys, folder, "--machine", "desk", "--benchmark", "^forward")
    (row,) = (line.split() for line in text.splitlines() if line.startswith("  3 "))
    assert row == ["3", "2", "ms", "–", "failed", "★", "3", "ms", "1.50"]


@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ((), [("b2b2b2b2", "desk"), ("b2b2b2b2", "rack")]),
        (("--machine", "rack"), [("b2b2b2b2", "rack")]),
        (("--commit", "a1"), [("a1a1a1a1", "desk")]),
        (("--commit", NEW, "--machine", "desk"), [("b2b2b2b2", "desk")]),
    ],
)
def test_the_newest_commit_of_each_machine_or_what_is_asked_for(capsys, folder, options, titles):
    text = bench(capsys, folder, *options)
    heads = [line.split() for line in text.splitlines() if line.startswith("commit")]
    assert [(head[1], head[3].rstrip(",")) for head in heads] == titles


def test_benchmarks_by_name(capsys, folder):
    text = bench(capsys, folder, "--benchmark", "^figures")
    assert RATES in text and TIMED not in text and PLAIN not in text


def test_csv_has_every_value(capsys, folder, tmp_path):
    path = tmp_path / "all.csv"
    bench(capsys, folder, "--machine", "desk", "--benchmark", "time_pass", "--csv", str(path))
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == len(SECONDS)
    found = {(row["algorithm"], row["point"]): row for row in rows}
    assert {row["axis"] for row in rows} == {"filter size"}
    assert {row["commit"] for row in rows} == {NEW}
    assert [float(found["direct", "3"][key]) for key in ("value", "torch_ratio")] == [2e-3, 1.5]
    assert float(found["direct", "3"]["third_quartile"]) == pytest.approx(2.4e-3)
    states = {pair: found[pair]["state"] for pair in (("fft", "3"), ("depthwise", "7"))}
    assert states == {("fft", "3"): "failed", ("depthwise", "7"): "skipped"}
    assert found["fft", "3"]["value"] == found["depthwise", "7"]["value"] == ""


def without(key):
    return {k: v for k, v in content(NEW, 2).items() if k != key}


def shorter():
    whole = content(NEW, 2)
    whole["results"][TIMED][0] = SECONDS[:-1]
    return whole


FAULTS = [
    ([], "expected JSON of version 2"),
    (without("version"), "it has no 'version'"),
    (content(NEW, 2) | {"version": 1}, "its version is 1"),
    (without("result_columns"), "it has no 'result_columns'"),
    (without("results"), "it has no 'results'"),
    (without("params"), "it has no 'params'"),
    (content(NEW, 2) | {"results": {TIMED: 3}}, "expected JSON of version 2"),
    (content(NEW, 2) | {"results": {TIMED: [SECONDS]}}, "it has no 'params'"),
    (shorter(), f"{TIMED} has 9 results for 10 parameters"),
]


@pytest.mark.parametrize(("value", "message"), FAULTS)
def test_a_malformed_file_is_named(capsys, folder, value, message):
    path = write(folder / "desk" / "b2b2b2b2-virtualenv-py3.11.json", value)
    code, line = fails(capsys, ["bench", "--results", str(folder)])
    assert code == 1 and repr(str(path)) in line and message in line


def test_a_truncated_file_is_named(capsys, folder):
    path = folder / "desk" / "b2b2b2b2-virtualenv-py3.11.json"
    path.write_text(path.read_text()[:300])
    _, line = fails(capsys, ["bench", "--results", str(folder)])
    assert str(path) in line and "expected JSON" in line


def test_descriptions_are_needed(capsys, folder):
    (folder / "benchmarks.json").unlink()
    _, line = fails(capsys, ["bench", "--results", str(folder)])
    assert "cannot read" in line and "benchmarks.json" in line


MISTAKES = [
    (("--commit", "c3"), 1, "commit 'c3' has no results: expected one of a1a1a1a1, b2b2b2b2"),
    (("--commit", ""), 1, "commit '' stands for several: expected one of a1a1a1a1, b2b2b2b2"),
    (("--machine", "lap"), 1, "machine 'lap' has no results: expected one of desk, rack"),
    (("--benchmark", "backward"), 1, "no benchmark with an algorithm"),
    (("--benchmark", "("), 2, "--benchmark: '(' is no regular expression"),
    (("--csv", "values.txt"), 2, "'values.txt' must end in .csv"),
]


@pytest.mark.parametrize(("options", "code", "message"), MISTAKES)
def test_mistakes_get_one_line(capsys, folder, options, code, message):
    ended, line = fails(capsys, ["bench", "--results", str(folder), *options])
    assert ended == code and message in line


def test_folders_without_results(capsys, tmp_path):
    for path, message in ((tmp_path / "none", "there is no folder"), (tmp_path, "has no results")):
        code, line = fails(capsys, ["bench", "--results", str(path)])
        assert code == 1 and repr(str(path)) in line and message in line


def test_what_asv_itself_writes(tmp_path):
    """Its own writer, where it is installed: the layout above is not only ours."""
    results = pytest.importorskip("asv.results")
    runner = pytest.importorskip("asv.runner")
    benchmark = description(TIMED, "seconds", ["algorithm", "x"]) | {
        "params": [["'direct'"], ["3", "5"]]
    }
    made = results.Results({"machine": "desk"}, {}, NEW, 7, "3.11", "existing", {})
    samples = [[1.0, 2.0, 3.0], None]
    outcome = runner.BenchmarkResult([2.0, NAN], samples, [1, None], 0, "", None)
    made.add_result(benchmark, outcome)
    made.save(str(tmp_path))
    write(tmp_path / "benchmarks.json", {TIMED: benchmark, "version": 2})
    (run,) = asv_results.load(tmp_path).runs
    assert (run.machine, run.commit, run.date, run.environment) == ("desk", NEW, 7, "existing")
    found = run.outcomes[TIMED]
    assert found.params == (("'direct'",), ("3", "5")) and found.values[0] == 2.0
    assert math.isnan(found.values[1]) and found.quartiles == ((1.5, 2.5), (None, None))
