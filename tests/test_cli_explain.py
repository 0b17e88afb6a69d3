"""``fastconv explain``: one layer in full, several as a table, nothing run."""

from __future__ import annotations

import pytest

import fastconv as fc
from fastconv import cli
from fastconv.comparison.layers import shipped
from fastconv.conv import algorithm, registry
from fastconv.core.problem import DIRECTIONS


def explained(capsys, *argv: str) -> str:
    assert cli.main(["explain", *argv]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


ONE = [  # words, what fastconv.explain takes for the same
    (["2x4x6x5", "8x4x3x3"], ((2, 4, 6, 5), (8, 4, 3, 3))),
    (["2x4x6x5:8x4x3x3:s2p1"], ((2, 4, 6, 5), (8, 4, 3, 3), 2, 1)),
    (["2x4x6x5", "8x4x3x3", "--stride", "2x1"], ((2, 4, 6, 5), (8, 4, 3, 3), (2, 1))),
    (["2x4x6x5", "8x2x3x3", "--groups", "2"], ((2, 4, 6, 5), (8, 2, 3, 3), 1, 0, 1, 2)),
    (["2x4x6x5", "8x4x3x3", "--padding", "same"], ((2, 4, 6, 5), (8, 4, 3, 3), 1, "same")),
    (["alexnet-conv1"], ((8, 3, 227, 227), (96, 3, 11, 11), 4)),
    (["alexnet-conv1", "--batch", "3"], ((3, 3, 227, 227), (96, 3, 11, 11), 4)),
    (["digits_cnn.conv1", "--batch", "7"], ((7, 1, 8, 8), (16, 1, 3, 3), 1, 1)),
]


@pytest.mark.parametrize(("words", "arguments"), ONE)
@pytest.mark.parametrize("direction", ["forward", "backward_weight"])
def test_one_layer_in_full(capsys, words, arguments, direction):
    text = explained(capsys, *words, "--passes", direction)
    assert text == f"{fc.explain(*arguments, direction=direction)}\n"


def test_options(capsys):
    text = explained(
        capsys, "batch1-14x14", "--passes", "forward", "--dtype", "float64", "--format", "nhwc",
        "--accuracy", "fast", "--threads", "1",
    )  # fmt: skip
    assert "float64, nhwc, 1 thread" in text and "accuracy 'fast'" in text


def test_all_passes_of_one_layer(capsys):
    text = explained(capsys, "batch1-14x14")
    titles = [line.split()[0] for line in text.splitlines() if " of 256→256" in line]
    assert titles == list(DIRECTIONS)


def test_a_model_as_a_table(capsys):
    text = explained(capsys, "digits_cnn", "--batch", "64", "--accuracy", "strict")
    assert text.splitlines()[0].split()[:4] == ["layer", "pass", "algorithm", "time"]
    assert [text.count(f"digits_cnn.conv{number}") for number in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert [text.count(direction) for direction in DIRECTIONS] == [3, 2, 3]
    assert "nominal" in text and "×," in text


def test_a_file_and_a_table(capsys, tmp_path):
    path = tmp_path / "mine.csv"
    header = "name,N,C,H,W,K,R,S,stride,pad_h,pad_w,dilation,groups"
    path.write_text(f"{header}\nmine,2,4,6,5,8,3,3,1,1,1,1,1\n")
    assert "forward of 4→8, 3×3, on 2×4×6×5, padding 1" in explained(capsys, str(path))
    text = explained(capsys, "layers", str(path), "--passes", "forward")
    assert all(text.count(f"{layer.name} ") >= 1 for layer in shipped()) and "mine " in text


def test_what_nothing_may_run(capsys, monkeypatch):
    monkeypatch.setitem(algorithm.ACCURACIES, "fast", 0.0)
    for one in registry.ALGORITHMS.values():
        monkeypatch.setattr(one, "refuses", lambda problem: "it rests", raising=False)
    text = explained(capsys, "alexnet-conv1", "alexnet-conv2", "--passes", "forward")
    assert text.count("none") == 2 and text.count("no algorithm can run") == 2
