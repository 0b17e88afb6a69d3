"""The report's page: whole, the same every time, and nothing in it that was not escaped."""

from __future__ import annotations

import html
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from made import FORWARD, HOST, ONE, RATES, entry, grid, problem, results, row

from fastconv import report
from fastconv.comparison.results import Results
from fastconv.conv.measuring import Measured
from fastconv.report import image, palette


@pytest.fixture(scope="module")
def page() -> str:
    return report.render(grid())


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


@pytest.mark.parametrize("name", ["a$^$b", "$x$", "#abcdef"])
def test_names_are_neither_mathematics_nor_colours(name):
    text = report.render(Results(HOST, (entry(problem(), RATES, layer=name),)))
    assert f">{name}</text>" in text


def test_everything_is_escaped():
    evil = "<script>alert('1')</script>&\"</title>\n"
    name = "<b>&x"
    one = entry(problem(), RATES | {name: 30.0}, layer=evil, direct=Measured("direct", evil))
    host = HOST._replace(processor=evil, isa=evil, date=evil, versions={evil: evil})
    text = report.render(Results(host, (one,)))
    Outline(text)
    assert "<script>alert" not in text and "<b>&x" not in text
    assert html.escape(evil) in text and 'data-algorithm="&lt;b&gt;&amp;x"' in text
