"""The report's plots: which there are, what their points say, and that they can be read."""

from __future__ import annotations

import html
import itertools
import math
import re

import numpy as np
import pytest
from made import FAMILY, FORWARD, ONE, entry, problem, results, row

from fastconv import report
from fastconv.conv.measuring import Measured
from fastconv.report import gallery, image, palette
from fastconv.report.figures import panel

LACKING = [
    ("nothing", [], set(gallery.PLOTS)),
    ("one layer", [entry(ONE)], {"crossings", "winners", "growth"}),
    ("no peer", [entry(ONE, {"direct": 50.0})], {"peers", "crossings", "winners", "growth"}),
    ("one family", FAMILY, {"winners"}),
    ("only refusals", [entry(ONE, {}, fft=Measured("fft", "no"))], set(gallery.PLOTS)),
    ("no finite error", [entry(ONE, {}, fft=row("fft", ONE, 9, error=math.nan))],
     {"peers", "crossings", "winners", "growth", "accuracy"}),
    ("everything", FORWARD.entries, set()),
]  # fmt: skip


@pytest.mark.parametrize(("entries", "lacking"), [case[1:] for case in LACKING],
                         ids=[case[0] for case in LACKING])  # fmt: skip
def test_a_plot_without_data_is_left_out_and_says_what_to_run(entries, lacking):
    assert report.plots(results(*entries)).keys() == gallery.PLOTS.keys() - lacking
    text = html.unescape(report.render(results(*entries)))
    for name, plot in gallery.PLOTS.items():
        assert (plot.NEEDS in text) == (name in lacking), name
        assert (plot.CAPTION in text) == (name not in lacking), name


def titles(name: str, entries) -> list[str]:
    """What the points of a plot say."""
    (first, *_) = gallery.PLOTS[name].panels(results(*entries))
    svg = image.inline(gallery.figure([first]), "x", "x")
    return [html.unescape(text) for text in re.findall("<title>(.*?)</title>", svg)]


def test_a_roof_is_of_what_was_measured_beside_its_points():
    """Float64, in one file with float32, has a roof of its own."""
    single, double = entry(problem()), entry(problem(dtype="float64", direction="backward_input"))
    double = double._replace(measured=double.measured._replace(peak=50.0))
    panels = gallery.PLOTS["roofline"].panels(results(single, double))
    drawn = [image.inline(gallery.figure([each]), "x", "x") for each in panels]
    for svg, own, other in zip(drawn, (100, 50), (50, 100), strict=True):
        assert f">{own} GFLOP/s, 20 GB/s<" in svg and f">{other} GFLOP/s," not in svg


SAID = [
    ("crossings", FAMILY, 11, "fft on r5-c8: 100 GFLOP/s, 16.4 µs"),
    ("roofline", FAMILY, 11 + 8, "direct on r3-c8: 45 GFLOP/s executed"),
    ("accuracy", FAMILY, 11, "torch on r1-c8: error 1.0e-06, 40 GFLOP/s"),
    ("growth", FAMILY, 11, "winograd on r3-c8: 9.07 µs"),
    ("peers", FAMILY, 3, "r1-c8: 1.25×, direct 1.31 µs, torch 1.64 µs"),
    ("winners", FORWARD.entries, 6,
     "r5-c16: fft, 65.5 µs, 1.82× as fast as winograd"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "entries", "count", "example"), SAID)
def test_every_point_says_what_it_is(name, entries, count, example):
    said = titles(name, entries)
    assert len(said) == len(set(said)) == count
    assert example in said


@pytest.mark.parametrize(("winner", "name"), [("bf16x3", "bf16x3"), ("winograd4", "winograd")])
def test_winners_are_named_without_the_tile(winner, name):
    entries = [
        e._replace(measured=e.measured._replace(rows=(row(winner, e.measured.problem, 50),)))
        for e in FORWARD.entries
    ]
    (axes,) = report.plots(results(*entries))["winners"].axes
    bold = {text.get_text() for text in axes.texts if text.get_fontweight() == "bold"}
    assert bold - {"forward"} == {name}


def test_levels_of_accuracy_are_of_float32():
    for dtype, count in (("float32", 2), ("float64", 0)):
        (drawn,) = report.plots(results(entry(problem(dtype=dtype))))["accuracy"].axes
        dashed = [line.get_ydata()[0] for line in drawn.lines if line.get_linestyle() == "--"]
        assert dashed == pytest.approx([5e-5, 1e-3][:count])


def test_a_doubtful_winner_is_hatched():
    close = [
        e._replace(measured=e.measured._replace(rows=(row("direct", e.measured.problem, 50, 0.3),)))
        for e in FORWARD.entries
    ]
    for entries, hatched in ((close, 6), (FORWARD.entries, 0)):
        (axes,) = report.plots(results(*entries))["winners"].axes
        assert sum(bool(patch.get_hatch()) for patch in axes.patches) == hatched


def test_growth_finds_the_power():
    rising = [entry(problem(c), {"direct": 50.0, "fft": float(c)}) for c in (8, 16, 32)]
    (axes,) = report.plots(results(*rising))["growth"].axes
    names = [text.get_text() for text in axes.texts]
    assert "direct 1.00" in names and "fft 0.50" in names  # c² operations at c GFLOP/s


def test_long_names_of_layers_are_cut():
    (axes,) = report.plots(results(entry(ONE, layer="l" * 24), entry(ONE, layer="m" * 25)))[
        "peers"
    ].axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["l" * 24, "m" * 23 + "…"]


def test_names_at_the_edge_do_not_overlap():
    rates = {name: 50.0 for name in palette.ALGORITHMS if name != "other"}
    entries = [entry(problem(8, r), rates) for r in (3, 5, 7)]
    (axes,) = report.plots(results(*entries))["crossings"].axes
    named = [text for text in axes.texts if text.get_text() in rates]
    heights = sorted(text.get_position()[1] for text in named)
    assert len(heights) == len(rates) and np.diff(heights).min() > 10.9


@pytest.mark.parametrize(
    ("value", "text"), [(1e-7, "10⁻⁷"), (2e-6, "2·10⁻⁶"), (1.0, "10⁰"), (5e3, "5·10³")]
)
def test_powers(value, text):
    assert panel.power(value) == text


# Colours.


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("theme", palette.Colour._fields)
def test_colours_can_be_read_and_told_apart(theme):
    colours = {name: getattr(colour, theme) for name, colour in palette.COLOURS.items()}
    assert len(set(colours.values())) == len(colours)
    for name in (*palette.ALGORITHMS, "ink", "soft", "accent"):
        high, low = sorted([luminance(colours[name]), luminance(colours["card"])], reverse=True)
        assert (high + 0.05) / (low + 0.05) > 3, name
    # Machado, Oliveira & Fernandes (2009): what is left of a colour to a deuteranope.
    left = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    hues = ("direct", "im2col", "depthwise", "winograd", "fft", "strassen", "torch")
    for one, other in itertools.combinations(hues, 2):
        seen = [np.clip(left @ linear(colours[name]), 0, 1) ** (1 / 2.2) for name in (one, other)]
        assert np.linalg.norm(seen[0] - seen[1]) > 0.1, (one, other)
