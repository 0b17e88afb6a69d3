"""``fastconv compare``: what it measures, shows, writes and keeps."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import json
import sys
import types

import pytest
from fakes import Clock, Fake, only

from fastconv import cli
from fastconv.cli import compare as command
from fastconv.comparison.results import Results
from fastconv.conv import _peers, measuring
from fastconv.conv.reference import Reference
from fastconv.core.problem import DIRECTIONS
from fastconv.simd import limits

SHAPES = ["2x4x6x5", "8x4x3x3", "--padding", "1"]
NAME = "2x4x6x5:8x4x3x3:p1"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """A machine of 50 GFLOP/s on which no peer is installed."""
    monkeypatch.setattr(limits, "fma_peak", lambda *arguments: 5e10)
    monkeypatch.setattr(limits, "bandwidth", lambda *arguments, **settings: 2e10)
    monkeypatch.setattr(_peers, "installed", lambda name: False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def fakes(monkeypatch):
    """Algorithms of 250, 500 and 750 ms, and one that refuses."""
    clock = Clock()
    monkeypatch.setattr(measuring, "clock", clock)
    names = {"direct": 0.5, "im2col": 0.25, "winograd": 0.75}
    algorithms = [Fake(name, clock, seconds) for name, seconds in names.items()]
    refusing = Fake("fft", clock, 1.0, reason="it needs wings")
    with only(*algorithms, refusing, Reference()):  # which records the layers of models
        yield algorithms


def succeeds(capsys, *argv: str) -> str:
    assert cli.main(["compare", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def fails(capsys, *argv: str, code: int = 2) -> str:
    assert cli.main(["compare", *argv]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("fastconv: ") and captured.err.count("\n") == 1
    return captured.err


def test_a_table_for_each_pass(capsys, fakes):
    text = succeeds(capsys, *SHAPES)
    assert [text.count(f"{NAME}  {direction} of 4→8, 3×3") for direction in DIRECTIONS] == [1] * 3
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines.count("★● im2col 250 ms 0% 0.0 85.0 170% 1000 B 1.0e+00 1.00×") == 3
    assert sum(line.startswith("winograd 750 ms") and line.endswith("3.00×") for line in lines) == 3
    assert lines.count("fft: it needs wings") == 3
    assert text.count("the peak was measured too low") == 3  # as these fakes claim 85 of 50 GFLOP/s
    assert "★ fastest that the accuracy allows" in text


def test_real_algorithms_with_a_real_peer(capsys, monkeypatch):
    def prepare(problem, first, second):
        exact = measuring._exact(problem, first, second)
        return lambda: 1.01 * exact

    peer = _peers.Peer(prepare, lambda workers: contextlib.nullcontext())
    monkeypatch.setattr(_peers, "PEERS", {"numpy": peer})
    monkeypatch.setattr(measuring, "PEERS", {"numpy": peer})
    monkeypatch.setattr(_peers, "installed", lambda name: True)
    text = succeeds(capsys, *SHAPES, "--passes", "forward", "--seconds", "1e-6")
    assert "1.0e-02" in text and "reference" not in text
    assert all(f" {name} " in text for name in ("direct", "winograd4", "fft", "numpy"))


@pytest.mark.parametrize("options", [{}, {"phases": {"input": 2e-3, "multiply": 4e-3}}])
def test_phases_are_shown_where_they_are_known(capsys, fakes, monkeypatch, options):
    monkeypatch.setattr(measuring, "_phases", lambda run, workers: options.get("phases"))
    text = succeeds(capsys, *SHAPES, "--passes", "forward")
    assert ("multiply" in text) == bool(options)
    lines = [line.split() for line in text.splitlines()]
    assert (["im2col", "2", "ms", "4", "ms"] in lines) == bool(options)


def test_doubt_regret_and_what_does_not_count(capsys, fakes):
    fakes[0].predicted, fakes[1].error = 1e-4, 2e-4  # direct is chosen, im2col is barred
    fakes[2].actual = 0.5
    text = succeeds(capsys, *SHAPES, "--passes", "forward")
    assert "?● direct" in text
    assert "uncertain: direct and winograd are within each other's spread" in text
    assert "im2col does not count: its error bound 2.0e-04 exceeds the 5.0e-05" in text
    assert "?● direct" not in succeeds(capsys, *SHAPES, "--passes", "forward", "--accuracy", "fast")


def test_several_layers_are_summed_up(capsys, fakes):
    fakes[0].predicted = 1e-4
    text = succeeds(capsys, "digits_cnn", "--batch", "2", "--passes", "backward_input", "forward")
    summary = text[text.index("fastest ★") :].splitlines()
    rows = [" ".join(line.split()) for line in summary if " 2.00×" in line]
    assert rows[0].startswith("digits_cnn.conv1 forward im2col 250 ms")
    assert [row.split()[0] for row in rows[1:]].count("backward_input") == 0
    assert len(rows) == 5 and "direct 2.00×" in rows[0]


def test_files(capsys, fakes, monkeypatch, tmp_path):
    report = types.ModuleType("fastconv.report")
    report.render = lambda results: f"<p>{len(results.entries)} passes ±"
    monkeypatch.setitem(sys.modules, "fastconv.report", report)
    files = {kind: tmp_path / f"x.{kind}" for kind in command.FILES}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    succeeds(capsys, *SHAPES, *options)
    results = Results.from_json(files["json"].read_text())
    assert [e.measured.problem.direction for e in results.entries] == list(DIRECTIONS)
    assert results.host.peak == 50 and {e.layer for e in results.entries} == {NAME}
    assert len(list(csv.DictReader(files["csv"].read_text().splitlines()))) == 3 * 4
    assert files["html"].read_text(encoding="utf-8") == "<p>3 passes ±"
    assert sorted(tmp_path.iterdir()) == sorted(files.values())


def test_a_report_that_cannot_be_is_refused_beforehand(capsys, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    there = lambda name: None if name == "matplotlib" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", there)
    monkeypatch.setattr(measuring, "measure", None)
    assert cli.main(["compare", *SHAPES, "--html", str(tmp_path / "x.html")]) != 0
    assert "--html needs matplotlib" in capsys.readouterr().err


def test_an_interrupted_comparison_goes_on(capsys, fakes, monkeypatch, tmp_path):
    path = tmp_path / "x.json"
    argv = [*SHAPES, "--json", str(path), "--resume"]  # nothing is there to resume at first
    measure, measured = measuring.measure, []

    def interrupted(problem, *arguments):
        if len(measured) == 2:
            raise KeyboardInterrupt
        measured.append(problem.direction)
        return measure(problem, *arguments)

    monkeypatch.setattr(measuring, "measure", interrupted)
    assert cli.main(["compare", *argv]) == cli.INTERRUPTED
    captured = capsys.readouterr()
    assert captured.err == "fastconv: interrupted\n" and "★ fastest" in captured.out
    assert len(Results.from_json(path.read_text()).entries) == 2
    measured.clear()
    text = succeeds(capsys, *argv)
    assert measured == ["backward_weight"] and text.count("★● im2col") == 3
    assert len(Results.from_json(path.read_text()).entries) == 3


def test_resuming_keeps_what_else_the_file_holds(capsys, fakes, tmp_path):
    path = str(tmp_path / "x.json")
    succeeds(capsys, *SHAPES, "--passes", "forward", "--json", path)
    text = succeeds(capsys, "digits-8x8", "--passes", "forward", "--json", path, "--resume")
    assert NAME not in text
    layers = [entry["layer"] for entry in json.loads((tmp_path / "x.json").read_text())["entries"]]
    assert layers == [NAME, "digits-8x8"]


def test_another_host_does_not_resume(capsys, fakes, monkeypatch, tmp_path):
    path = tmp_path / "x.json"
    succeeds(capsys, *SHAPES, "--json", str(path))
    content = path.read_text()
    path.write_text(content.replace('"isa": "', '"isa": "not '))
    line = fails(capsys, *SHAPES, "--json", str(path), "--resume")
    assert f"cannot resume {str(path)!r}: it was measured with isa not " in line
    path.write_text("nothing")
    assert "these are no results" in fails(capsys, *SHAPES, "--json", str(path), "--resume")
    assert path.read_text() == "nothing"


MISTAKES = [
    ([], "the following arguments are required: WHAT"),
    (["resnet"], "there is no layer 'resnet': did you mean cifar-resnet20-stem or"),
    (["alexnet-conf1"], "there is no layer 'alexnet-conf1': did you mean alexnet-conv1"),
    (["digits_cnn.conv9"], "there is no layer 'digits_cnn.conv9': did you mean digits_cnn.conv"),
    (["qwerty"], "there is no layer 'qwerty': expected shapes as 8x64x56x56 128x64x3x3"),
    (["nowhere.csv"], "cannot read 'nowhere.csv': No such file or directory"),
    (["8x64x56x56"], "'8x64x56x56' is an input, and a weight KxCxRxS must follow it"),
    (["digits_cnn."], "there is no layer 'digits_cnn.': did you mean digits_cnn.conv1"),
    ([""], "there is no layer '': expected shapes as"),
    (["8x64x56", "128x64x3x3"], "input '8x64x56' is not four positive sizes NxCxHxW"),
    (["8x64xax56", "128x64x3x3"], "input '8x64xax56' is not four positive sizes NxCxHxW"),
    (["8x64x56x56", "layers"], "weight 'layers' is not four positive sizes KxCxRxS"),
    (["8x64x56x56", "128x32x3x3"], "input has 64 channels but weight expects 32"),
    (["8x64x56x56", "8x64x3x3", "--stride", "a"], "cannot read 'sa', expected s, p, d or g"),
    (["8x64x56x56", "8x64x3x3", "--stride", "0"], "stride must be at least 1, got 0"),
    (["layers", "--padding", "1"], "--padding goes with shapes, as 8x64x56x56 128x64x3x3"),
    (["digits_cnn.conv1", "--passes", "backward_input"], "training needs no backward_input of"),
    (["layers", "--passes", "backward"], "--passes: invalid choice: 'backward'"),
    (["layers", "--algorithms", "fast"], "--algorithms: invalid choice: 'fast'"),
    (["layers", "--peers", "tensorflow"], "--peers: invalid choice: 'tensorflow'"),
    (["layers", "--peers", "torch"], "torch is not installed: pip install 'fastconv[peers]'"),
    (["layers", "--threads", "0"], "--threads: must be an integer ≥ 1, got '0'"),
    (["layers", "--threads", "9999"], "--threads: num_threads must be 1 … "),
    (["layers", "--seconds", "0"], "--seconds: must be a number above 0, got '0'"),
    (["layers", "--seconds", "nan"], "--seconds: must be a number above 0, got 'nan'"),
    (["layers", "--batch", "0"], "--batch: must be an integer ≥ 1, got '0'"),
    (["layers", "--resume"], "--resume goes on with the file that --json names"),
    (["layers", "--json", "x.txt"], "output 'x.txt' must end in .json"),
    (["layers", "--html", "/nowhere/at/all/x.html"], "there is no folder '/nowhere/at/all'"),
]


@pytest.mark.parametrize(("argv", "message"), MISTAKES)
def test_mistakes_get_one_line_before_any_work(capsys, monkeypatch, argv, message):
    monkeypatch.setattr(measuring, "measure", None)
    assert message in fails(capsys, *argv)


def test_mistakes_in_a_file_name_its_line(capsys, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("name,N,C,H,W,K,R,S,stride,pad_h,pad_w,dilation,groups\na,1,2\n")
    assert f"{path}, line 2: expected 13 values" in fails(capsys, str(path))
    path.write_bytes(b"\xff\xfe\x00")
    assert f"{path} is no text in UTF-8" in fails(capsys, str(path))
