"""The report: what it makes of results, plot by plot; its page, its files, its command."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from made import HOST, RATES, entry, grid, problem, row

from fastconv import cli, report
from fastconv.comparison.results import Results
from fastconv.conv.measuring import Measured
from fastconv.core.problem import DIRECTIONS
from fastconv.report import gallery, grouping, headline, image, palette, ranking
from fastconv.report.figures import panel


def results(*entries) -> Results:
    return Results(HOST, entries)


@pytest.fixture(scope="module")
def page() -> str:
    return report.render(grid())


# What belongs together.


def test_families_differ_in_the_filter_alone():
    alone = [
        problem(8, 7, "forward", stride=(2, 2)),
        problem(8, 7, "forward", S=1, padding=(3, 3, 0, 0)),
        problem(8, 9, "forward", padding=(0, 0, 0, 0)),
        problem(8, 7, "backward_input"),
        problem(8, 7, "forward", dtype="float64"),
        problem(8, 7, "forward", N=4),
        problem(8, 7, "forward", K=9),
    ]
    entries = [*grid(directions=("forward",)).entries, *map(entry, alone)]
    found = grouping.families(reversed(entries))
    assert [(f.channels, list(f.sizes)) for f in found] == [("8", [1, 3, 5]), ("16", [1, 3, 5])]
    assert [f.rest for f in found] == ["2×16×16"] * 2
    (both,) = grouping.grids(entries)
    assert [family.channels for family in both] == ["8", "16"]
    assert grouping.grids(entries[:3]) == []


def test_depthwise_layers_and_unpadded_ones_have_families():
    depthwise = [problem(c, r, groups=c) for c in (8, 16) for r in (3, 5, 7)]
    bare = [problem(8, r, padding=(0, 0, 0, 0), stride=(2, 2)) for r in (3, 5, 7)]
    found = grouping.families(map(entry, depthwise + bare))
    assert [f.rest for f in found] == [
        "2×16×16 depthwise",
        "2×16×16, stride 2",
        "2×16×16 depthwise",
    ]
    assert [len(g) for g in grouping.grids(map(entry, depthwise + bare))] == [2]


def test_passes_are_titled_by_what_differs():
    titles = [group.title for group in grouping.by_pass(reversed(grid().entries))]
    assert titles == list(DIRECTIONS)
    both = [entry(problem(dtype=dtype)) for dtype in ("float32", "float64")]
    assert [g.title for g in grouping.by_pass(both)] == ["forward, float32", "forward, float64"]
    assert grouping.by_pass([]) == []


# Who won.

ONE = problem()
FORWARD = grid(directions=("forward",))
FAMILY = grid(channels=(8,), directions=("forward",)).entries
CONTESTS = [
    ({}, ["winograd", "direct", "torch", "fft"], False),
    ({"torch": row("torch", ONE, 90)}, ["torch", "winograd", "direct", "fft"], False),
    ({"torch": row("torch", ONE, 80.1)}, ["torch", "winograd", "direct", "fft"], True),
    ({"direct": row("direct", ONE, 79.9)}, ["winograd", "direct", "torch", "fft"], True),
    ({"winograd": row("winograd", ONE, 80, 0.3)}, ["winograd", "direct", "torch", "fft"], True),
    ({"winograd": row("winograd", ONE, 80, barred="x")}, ["direct", "torch", "fft"], False),
    ({"winograd4": row("winograd4", ONE, 85)}, ["winograd", "direct", "torch", "fft"], False),
    (
        {"winograd4": row("winograd4", ONE, 85, workspace=9)},
        ["winograd4", "direct", "torch", "fft"],
        False,
    ),
    ({name: Measured(name, "no") for name in RATES}, [], False),
]


@pytest.mark.parametrize(("rows", "order", "doubtful"), CONTESTS)
def test_podium(rows, order, doubtful):
    one = entry(ONE, **rows).measured
    assert [r.algorithm for r in ranking.podium(one)] == order
    assert ranking.uncertain(one) == doubtful


def test_ratio_is_of_the_selectors_choice_and_the_fastest_peer():
    assert ranking.ratio(entry(ONE).measured) == pytest.approx(50 / 40)
    assert ranking.ratio(entry(ONE, chosen="strassen").measured) is None
    assert ranking.ratio(entry(ONE, torch=Measured("torch", "no")).measured) is None


def test_headline():
    three = [
        entry(ONE, {"direct": 80.0, "torch": 40.0}),
        entry(ONE, {"direct": 20.0, "torch": 40.0}),
        entry(problem(direction="backward_input"), {"direct": 40.0, "fft": 160.0}),
    ]
    facts = {fact.name: (fact.value, fact.note) for fact in headline.facts(results(*three))}
    assert facts["peak"] == ("100 GFLOP/s", "multiply-adds alone, 1 thread, avx2")
    assert facts["bandwidth"][0] == "20 GB/s"
    assert facts["forward"] == ("1.00×", "as fast as the fastest peer; ahead on 1 of 2")
    assert "backward_input" not in facts
    assert facts["selector’s regret"][0] == f"{4 ** (1 / 3) - 1:.1%}"
    assert facts["selector’s regret"][1].endswith("300% at worst")
    assert facts["sure winners"][0] == "3 of 3"
    assert facts["disturbed"][0] == "1 of 3"  # 0.9 · 160 of 100 GFLOP/s


# Plots.

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


# The page.


class Outline(HTMLParser):
    """Collects ids and references, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.references, self.links = [], [], set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "src"):
                self.links.append(value)
            self.references |= set(re.findall(r"url\(#(.*?)\)", value or ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole(page):
    outline = Outline(page)
    assert len(outline.ids) == len(set(outline.ids))
    inner = {link[1:] for link in outline.links if link.startswith("#")}
    assert inner | outline.references <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {"data:,"}
    assert "http" not in page.replace("http-equiv", "")
    assert "$" not in page.partition("<script>")[0]


def test_page_follows_the_theme(page):
    drawn = "".join(re.findall("<svg.*?</svg>", page, re.DOTALL))
    assert not re.search(r"#[0-9a-f]{3,6}\b(?!-)", re.sub(r"(href=\"|url\()#\S+", "", drawn))
    used = set(re.findall(r"var\(--([\w-]+)\)", page)) - {"hue"}
    assert used <= set(palette.COLOURS)


def test_page_and_files_are_the_same_every_time(tmp_path):
    assert report.render(FORWARD) == report.render(FORWARD)
    files = [tmp_path / f"{turn}{suffix}" for turn in (1, 2) for suffix in image.SUFFIXES]
    for file in files:
        image.save(report.plots(FORWARD)["winners"], file, file.suffix)
    one, other = files[:2], files[2:]
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in other]
    assert one[0].read_bytes().startswith(b"\x89PNG")
    assert ElementTree.parse(one[1]).getroot().tag.endswith("svg")


def test_table_has_a_row_for_each_measurement(page):
    rows = re.findall("<tr class=.*?</tr>", page)
    assert len(rows) == 18 * len(RATES)
    assert sum('class="refused"' in r for r in rows) == 6
    assert sum(">winner</span>" in r for r in rows) == 18
    assert sum(">chosen</span>" in r for r in rows) == 18
    (refused,) = {re.search('colspan="(.*?)">(.*?)<', r).groups() for r in rows if "refused" in r}
    assert refused == ("7", "nothing to save")
    first = next(r for r in rows if ">r3-c8<" in r and ">torch<" in r)
    assert [html.unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", first)] == [
        "forward", "14.7 µs", "0%", "40.0", "", "", "", "1.0e-06",
    ]  # fmt: skip


def test_table_shows_phases_doubt_and_what_does_not_count():
    one = entry(
        ONE,
        direct=row("direct", ONE, 79.9, phases={"input transform": 2e-6, "multiply": 3e-6}),
        fft=row("fft", ONE, 90, barred="its error is too large", error=math.nan),
    )
    text = report.render(results(one))
    assert ">phases</button>" in text and "input transform 2 µs, multiply 3 µs" in text
    assert 'title="its error is too large">barred<' in text
    assert text.count(">uncertain</span>") == 1
    assert "<td>nan</td>" in text


def test_everything_is_escaped():
    evil = "<script>alert('1')</script>&\"</title>\n"
    name = "<b>&x"
    one = entry(problem(), RATES | {name: 30.0}, layer=evil, direct=Measured("direct", evil))
    host = HOST._replace(processor=evil, isa=evil, date=evil, versions={evil: evil})
    text = report.render(Results(host, (one,)))
    Outline(text)
    assert "<script>alert" not in text and "<b>&x" not in text
    assert html.escape(evil) in text and 'data-algorithm="&lt;b&gt;&amp;x"' in text


# The command.


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(FORWARD.to_json())
    return path


def test_command_writes_the_page_and_the_plots(written, tmp_path, capsys):
    target, folder = tmp_path / "page.html", tmp_path / "plots"
    argv = ["report", str(written), "--html", str(target), "--plots", str(folder)]
    assert cli.main(argv) == 0
    assert target.read_text(encoding="utf-8") == report.render(FORWARD)
    expected = {f"{name}{suffix}" for name in gallery.PLOTS for suffix in image.SUFFIXES}
    assert {file.name for file in folder.iterdir()} == expected
    out, err = capsys.readouterr()
    assert err == "" and str(target) in out


EXPECTED = "expected the JSON that fastconv compare --json writes"
WRONG = [
    (None, "No such file or directory; " + EXPECTED),
    ("", "these are no results of a comparison: Expecting value"),
    ("{", "these are no results of a comparison"),
    (b"\xff\xfe", "codec can't decode"),
    ("[1]", "these are no results of a comparison"),
    (json.dumps({"fastconv": "comparison", "format": 99}), "it is of another kind or format"),
    (Results(HOST, ()).to_json(), f"they hold no measured layer; {EXPECTED}"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_command_names_the_file_that_is_wrong(content, message, tmp_path, capsys):
    path, target = tmp_path / "given.json", tmp_path / "page.html"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["report", str(path), "--html", str(target)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"results {str(path)!r}" in err and message in err
    assert not target.exists()


def test_command_checks_where_it_writes(written, capsys):
    for argv, message in (
        ([], "the following arguments are required: --html"),
        (["--html", "page.pdf"], "must end in .html"),
        (["--html", "page.html", "--plots", str(written)], "cannot be made: File exists"),
    ):
        assert cli.main(["report", str(written), *argv]) == 2
        assert message in capsys.readouterr().err


def test_command_needs_matplotlib(written, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["report", str(written), "--html", str(tmp_path / "page.html")]) == 1
    assert "needs matplotlib: pip install 'fastconv[report]'" in capsys.readouterr().err
