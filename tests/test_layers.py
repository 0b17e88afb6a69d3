"""Layers by name: the shipped tables, files of the same form, the models."""

from __future__ import annotations

import pytest

from fastconv import models
from fastconv.comparison import layers, zoo
from fastconv.core.problem import DIRECTIONS, ConvProblem

HEADER = "name,N,C,H,W,K,R,S,stride,pad_h,pad_w,dilation,groups"
GOOD = "pair,2,8,9,7,6,3,1,2,1,0,2,2"


def test_the_shipped_table_is_about_known_networks():
    found = {layer.name: layer for layer in layers.shipped()}
    assert len(found) == 36
    assert found["alexnet-conv1"].problem == ConvProblem(8, 3, 227, 227, 96, 11, 11, stride=(4, 4))
    assert found["inception-7x1"].problem.padding == (3, 3, 0, 0)
    assert found["dilated-3x3-d2"].problem.dilation == (2, 2)
    assert found["depthwise-7x7"].problem.depthwise
    assert all(layer.directions == DIRECTIONS for layer in found.values())


def test_the_crossings_are_a_grid_of_filter_sizes_and_channels():
    found = layers.shipped("crossings")
    sizes, channels = ({p.R for _, p, _ in found}, {p.C for _, p, _ in found})
    assert len(found) == len(sizes) * len(channels) and {1, 3, 15} < sizes and {16, 128} < channels
    for name, p, _ in found:
        assert name == f"r{p.R}-c{p.C}" and (p.R, p.C) == (p.S, p.K)
        assert (p.P, p.Q) == (p.H, p.W) and p.stride == (1, 1)  # same padding


def test_a_file_of_the_same_form(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\n\n{GOOD}\n")
    problem = ConvProblem(
        2, 8, 9, 7, 6, 3, 1, stride=(2, 2), padding=(1, 1, 0, 0), dilation=(2, 1), groups=2
    )
    assert layers.read(path) == [layers.Layer("pair", problem)]


def changed(column: str, value: str) -> str:
    fields = GOOD.split(",")
    fields[HEADER.split(",").index(column)] = value
    return ",".join(fields)


MISTAKES = [  # lines, the line at fault, what is said of it
    ([], 1, f"the first line must be {HEADER}"),
    (["name,N,C"], 1, f"the first line must be {HEADER}"),
    ([HEADER], 1, "there must be a layer after the column names"),
    ([HEADER, "pair,1,2"], 2, f"expected 13 values ({HEADER}), got 3"),
    ([HEADER, GOOD, f"{GOOD},7"], 3, f"expected 13 values ({HEADER}), got 14"),
    ([HEADER, changed("name", " ")], 2, "the name must not be empty"),
    ([HEADER, GOOD, "", GOOD], 4, "there is a layer 'pair' already"),
    ([HEADER, changed("H", "x")], 2, "H must be an integer ≥ 1, got 'x'"),
    ([HEADER, changed("H", "9.5")], 2, "H must be an integer ≥ 1, got '9.5'"),
    ([HEADER, changed("N", "0")], 2, "N must be an integer ≥ 1, got '0'"),
    ([HEADER, changed("stride", "0")], 2, "stride must be an integer ≥ 1, got '0'"),
    ([HEADER, changed("pad_w", "-1")], 2, "pad_w must be an integer ≥ 0, got '-1'"),
    ([HEADER, changed("groups", "3")], 2, "groups must divide C, got groups 3 and C 8"),
    ([HEADER, changed("K", "5")], 2, "groups must divide the input and output channels"),
    ([HEADER, changed("R", "99")], 2, "kernel is larger than the padded input"),
    ([HEADER, changed("N", str(2**31))], 2, "must be below 2**31"),
]


@pytest.mark.parametrize(("lines", "number", "message"), MISTAKES)
def test_mistakes_name_the_line(lines, number, message):
    with pytest.raises(ValueError) as error:
        layers.parse(lines, "mine.csv")
    assert str(error.value).startswith(f"mine.csv, line {number}: ")
    assert message in str(error.value)


def test_the_zoo_knows_every_model():
    assert set(zoo.MODELS) == set(models.__all__)


def test_layers_of_a_model():
    found = zoo.layers("digits_cnn", batch=5)
    assert [layer.name for layer in found] == [f"digits_cnn.conv{number}" for number in (1, 2, 3)]
    assert found[0].problem == ConvProblem(5, 1, 8, 8, 16, 3, 3, padding=(1, 1, 1, 1))
    assert set(found[0].directions) == {"forward", "backward_weight"}  # nobody needs the rest
    assert set(found[2].directions) == set(DIRECTIONS)
