"""The demo: that it learns, that what it reports is what ran, and that it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

import fastconv
from fastconv import cli
from fastconv.cli import (
    compiling,
    console,
    demo,
    output,
    stages,
    tables,
    training,
)
from fastconv.comparison import recording
from fastconv.conv import _peers, measuring, selector
from fastconv.conv.options import Request
from fastconv.core import jit
from fastconv.core.problem import DIRECTIONS, ConvProblem

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = ConvProblem(2, 4, 6, 5, 8, 3, 3, padding=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the command on a small budget: its exit code, its output, its folder."""
    folder = tmp_path_factory.mktemp("demo")
    picture = folder / "curve.png"
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(console, "console", lambda: _recording_console(lines))
        code = cli.main(["demo", "--quick", "--epochs", "3", "--output", str(picture)])
    return code, "\n".join(lines), picture


def _recording_console(lines: list[str]):
    from rich.console import Console

    class Listener:
        def write(self, text: str) -> None:
            lines.extend(text.splitlines())

        def flush(self) -> None: ...

    return Console(file=Listener(), width=80, highlight=False)


def test_demo_learns(run):
    code, text, _ = run
    assert code == 0
    epochs = re.findall(r"^ +(\d+) +(\d\.\d+) +(\d+\.\d)% +(\d+\.\d)%  [█▏▎▍▌▋▊▉ ]+ \d", text, re.M)
    assert [int(epoch[0]) for epoch in epochs] == [1, 2, 3]
    losses = [float(epoch[1]) for epoch in epochs]
    assert losses == sorted(losses, reverse=True)
    accuracy = float(epochs[-1][3])
    assert accuracy > 90
    assert f"{accuracy}% of the held-out digits read right." in text
    assert "Training on 1,438 scanned digits (8×8), 359 others held out" in text


def test_demo_lists_every_algorithm_on_every_layer(run):
    text = run[1]
    shapes = ("1→16, 3×3, on 32×1×8×8", "16→32, 3×3, on 32×16×8×8", "32→64, 3×3, on 32×32×4×4")
    for number, shape in enumerate(shapes, 1):
        assert f"conv{number}  {shape}" in text
    table = text[text.index("The same layers under every algorithm") :]
    passes = {"conv1": 2, "conv2": 3, "conv3": 3}  # the first layer needs no input gradient
    flat = " ".join(table.split())
    for name in fastconv.algorithms():
        ran = len(re.findall(rf"\b{name} [\d.]+ [µm]?s [\d.]+ \d\.\de-\d+", flat))
        refused = [
            passes.get(case, 1)
            for cases in re.findall(rf"\b{name} cannot run (.*?): ", flat)
            for case in cases.split(", ")
        ]
        assert ran + sum(refused) == sum(passes.values())
    assert table.count("●") == 1 + 8
    errors = [float(error) for error in re.findall(r"\d\.\de-\d+", table)]
    assert len(errors) >= 8 and max(errors) < 5e-5


def test_demo_says_where_the_time_went(run):
    text = run[1][run[1].index("Where the time went") :]
    parts = [float(seconds) for seconds in re.findall(r"^  [a-z ]+ (\d+\.\d) s", text, re.M)]
    assert len(parts) == 5
    assert parts[-1] == pytest.approx(sum(parts[:-1]), abs=0.3)


def test_demo_leaves_one_valid_picture(run):
    picture = run[2]
    assert [path.name for path in picture.parent.iterdir()] == [picture.name]
    pixels = imread(picture)
    assert pixels.shape[0] > 800 and pixels.shape[1] > 1200
    assert len(np.unique(pixels[::3, ::3, :3].reshape(-1, 3), axis=0)) > 100


def test_demo_output_fits_a_terminal(run):
    lines = [line for line in run[1].splitlines() if str(run[2]) not in line]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("package", ["sklearn", "matplotlib"])
def test_demo_without_its_extra(capsys, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (f"fastconv: the demo needs {package}: pip install 'fastconv[demo]'\n")


VERDICTS = [  # argv, accuracy, exit code
    ([], 0.9801, 0),
    ([], 0.9799, 1),
    (["--seed", "3"], 0.9799, 1),
    (["--epochs", "1"], 0.5, 0),
    (["--quick"], 0.5, 0),
]


@pytest.mark.parametrize(("argv", "accuracy", "code"), VERDICTS)
def test_the_goal_holds_for_the_default_settings(
    capsys, monkeypatch, tmp_path, argv, accuracy, code
):
    def train(data, epochs, seed, report):
        history = training.History()
        history.append({"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_accuracy": accuracy})
        report({**history.epochs[-1], "seconds": 0.1})
        return training.Trained(training.digits_cnn(), history, np.eye(10)[data.held_out[1]])

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr(demo, "_draw", lambda *arguments: None)
    assert cli.main(["demo", "--output", str(tmp_path / "x.png"), *argv]) == code
    assert ("goal of 98% was missed" in capsys.readouterr().err) == bool(code)


def test_recorded_is_what_ran():
    x, w = np.ones((2, 4, 6, 5), np.float32), np.ones((8, 4, 3, 3), np.float32)
    dy = np.ones((2, 8, 6, 5), np.float32)
    with recording.recorded() as runs:
        fastconv.conv2d(x, w, padding=1, algorithm="reference")
        fastconv.grad.conv2d_weight(x, w.shape, dy, padding=1)
        fastconv.conv2d(x[:1], w, padding=1)
    fastconv.conv2d(x, w)  # no longer recorded
    assert runs[0] == (SMALL, "reference")
    assert [run.problem.direction for run in runs] == ["forward", "backward_weight", "forward"]
    assert [run.problem.N for run in runs] == [2, 2, 1]
    chosen = selector.choose(runs[1].problem, Request(), fastconv.get_num_threads())
    assert runs[1].algorithm == chosen.algorithm
    layers = recording.layers(runs)
    assert [sorted(layer) for layer in layers] == [["backward_weight", "forward"], ["forward"]]
    assert layers[0]["forward"] is runs[0]


def test_watch_times_each_kernel_it_sees_made():
    def made_here(worker, args):
        pass

    with compiling.watch() as watch:
        kernel = jit.kernel(jit.record("unused"))(made_here)
    jit.kernel(jit.record("unused"))(made_here)
    (made,) = watch.made
    assert made.name == "made_here" and made.cached == kernel.from_cache
    assert 0 < made.seconds <= watch.total < 10


def test_time_in_which_two_threads_compile_counts_once(monkeypatch):
    monkeypatch.setattr(jit, "spans", [(0.0, 90.0)])  # from before
    with compiling.watch() as watch:
        jit.spans.extend([(3.0, 4.0), (1.0, 6.0), (5.0, 7.0), (8.0, 8.5)])
    jit.spans.append((9.0, 10.0))
    assert watch.total == 6.5


def test_refusals_name_whole_layers_or_single_passes(capsys):
    first = recording.Run(SMALL, "fast")
    weight = recording.Run(SMALL._replace(direction="backward_weight"), "fast")
    second = recording.Run(SMALL._replace(N=5), "slow")
    no, yes = measuring.Measured("fast", "too small"), measuring.Measured("fast", None, 1e-3)
    measured = {first.problem: [yes], weight.problem: [no], second.problem: [no]}
    layers = recording.layers([first, weight, second])
    console.console().print(tables.compared(layers, measured))
    printed = capsys.readouterr().out
    assert "fast cannot run conv1 backward_weight, conv2: too small\n" in printed
    assert len(re.findall(r"● fast +1 ms", printed)) == 1


def test_stages_add_up(capsys):
    watch = types.SimpleNamespace(total=0.0)
    parts = stages.Stages(watch)
    for name in ("first", "second"):
        with parts(name):
            watch.total += 0.2
    parts.show(console.console())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["first", "second", "in"]
    assert all("0.2 s of it compiling" in line for line in lines[:2])


def test_output_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), output.replacing(path) as file:
        file.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"before"
    with output.replacing(path) as file:
        file.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


QUANTITIES = [
    (console.amount, 0, "0 B"),
    (console.amount, 1023, "1023 B"),
    (console.amount, 1536, "1.50 KiB"),
    (console.amount, 5 << 40, "5120 GiB"),
    (console.duration, 2.5e-6, "2.50 µs"),
    (console.duration, 0.0123, "12.3 ms"),
    (console.duration, 4321, "4321 s"),
    (lambda share: console.bar(share, 4), 0.0, "    "),
    (lambda share: console.bar(share, 4), 0.625, "██▌ "),
    (lambda share: console.bar(share, 4), 1.0, "████"),
]


@pytest.mark.parametrize(("show", "value", "text"), QUANTITIES)
def test_quantities(show, value, text):
    assert show(value) == text


def load_example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_train_digits(capsys):
    assert load_example("train_digits").main(2) > 0.8
    assert capsys.readouterr().out.count("held out") == 2


def test_example_compare_algorithms(capsys, monkeypatch):
    monkeypatch.setattr(_peers, "installed", lambda name: False)
    load_example("compare_algorithms").main(1, 3, 8, 8, 16, 3)
    lines = capsys.readouterr().out.splitlines()
    rows = [line[2:].split(" ")[0] for line in lines if line.startswith(("  ", "● "))]
    for name in fastconv.algorithms()[:-1]:  # the reference only if asked for
        assert rows.count(name) >= len(DIRECTIONS)
    assert [line.split()[0] for line in lines[-3:]] == list(DIRECTIONS)


def test_warm_up_runs_what_the_demo_runs(monkeypatch):
    measured = []
    monkeypatch.setattr(measuring, "measure", lambda problem, budget: measured.append(problem))
    with recording.recorded() as runs:
        demo.warm_up()
    assert len(measured) == 8
    assert set(measured) <= {run.problem for run in runs}
