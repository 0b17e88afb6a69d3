"""The report's page in Chromium: it looks as it should, sorts, filters, and needs no network.

Each page is loaded once, with a script at its end that acts on it as a person would and leaves what
it saw in the page's title, as JSON.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import pytest
from made import grid

from fastconv import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed (on Debian: apt-get install chromium)"
)
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--hide-scrollbars", "--window-size=1200,900",
]  # fmt: skip

LOOK = """
const shown = (element) => element.getClientRects().length > 0;
const all = (selector) => [...document.querySelectorAll(selector)];
const colours = () => ["--paper", "--ink", "--direct"].map((name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  return getComputedStyle(probe).color;
});
const seen = {
  colours: colours(),
  axis: getComputedStyle(document.querySelector("figure svg text")).fill,
  font: getComputedStyle(document.querySelector("figure svg text")).fontFamily,
  requests: performance.getEntriesByType("resource").map((entry) => entry.name),
  width: [innerWidth, document.documentElement.scrollWidth],
  wide: all("figure svg").filter((svg) => svg.getBoundingClientRect().right > innerWidth).length,
  drawn: all("figure svg").filter((svg) => svg.getBoundingClientRect().height > 100).length,
  table: document.querySelector("table").offsetWidth,
};
"""
ACT = """
const column = (number) => all("tbody tr").map((row) => row.cells[number]?.textContent ?? "");
const press = (heading) => all("thead button").find((b) => b.textContent === heading).click();
press("time");
seen.rising = all("tbody tr td:nth-child(4)").map((cell) => cell.dataset.value ?? cell.className);
seen.sorted = document.querySelector("[aria-sort]").getAttribute("aria-sort");
press("time");
seen.falling = all("tbody tr td:nth-child(4)").map((cell) => cell.dataset.value ?? cell.className);
press("layer");
seen.layers = column(0);
const find = document.getElementById("find");
find.value = "C8 fft";
find.dispatchEvent(new Event("input"));
seen.found = all("tbody tr").filter(shown).map((row) => [row.cells[0].textContent, row.dataset]);
seen.count = document.getElementById("count").textContent;
find.value = "";
find.dispatchEvent(new Event("input"));
document.getElementById("refusals").click();
seen.able = all("tbody tr").filter(shown).length;
document.querySelector("[name=pass][value=backward_input]").click();
seen.passes = [...new Set(all("figure, tbody tr").filter(shown).map((e) => e.dataset.pass))];
seen.counted = document.getElementById("count").textContent;
const chip = document.querySelector(".algorithms [data-algorithm=fft]");
chip.click();
seen.followed = [...new Set(all("svg .followed").map((series) => series.dataset.algorithm))];
seen.pressed = chip.getAttribute("aria-pressed");
chip.click();
seen.left = document.body.hasAttribute("data-following");
const point = document.querySelector(".series use");
const said = point.querySelector("title").textContent;
point.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, clientX: 50, clientY: 50 }));
const tip = document.getElementById("tip");
seen.tip = [shown(tip), tip.textContent === said];
seen.focusable = all("thead button, .algorithms button, #theme").every((b) => b.tabIndex === 0);
document.getElementById("theme").click();
seen.toggled = colours();
"""
TELL = "document.title = JSON.stringify(seen);"


@pytest.fixture(scope="module")
def page() -> str:
    return report.render(grid())


def load(page: str, folder, *options: str) -> tuple[dict, str]:
    """What the script in a page saw, and what Chromium's console says."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    argv = [*QUIET, f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom", file.as_uri()]
    home = {**os.environ, "HOME": str(folder)}
    ended = subprocess.run([CHROMIUM, *argv], capture_output=True, text=True, timeout=120, env=home)
    title = re.search(r"<title>({.*?})</title>", ended.stdout, re.DOTALL)
    assert title, ended.stderr
    return json.loads(html.unescape(title[1])), ended.stderr


def scripted(page: str, *scripts: str) -> str:
    return page.replace("</body>", f"<script>{{{''.join(scripts)}}}</script></body>")


@pytest.fixture(scope="module")
def desktop(page, tmp_path_factory):
    return load(scripted(page, LOOK, ACT, TELL), tmp_path_factory.mktemp("desktop"))


@pytest.fixture(scope="module")
def seen(desktop):
    return desktop[0]


def test_no_errors_and_no_requests(desktop):
    seen, console = desktop
    assert "CONSOLE" not in console, console
    assert seen["requests"] == []


def test_every_plot_is_drawn_in_the_page_font(seen, page):
    assert seen["drawn"] == page.count("<figure") > 0
    assert "system-ui" in seen["font"]
    assert seen["width"][1] <= seen["width"][0]


def test_headings_sort_up_and_down(seen):
    assert seen["sorted"] == "ascending"
    for values, sign in ((seen["rising"], 1), (seen["falling"], -1)):
        known = [float(value) for value in values if value != "reason"]
        assert known == sorted(known, key=lambda value: sign * value) and len(set(known)) > 9
        assert values[len(known) :] == ["reason"] * 6  # those that cannot run come last
    assert list(dict.fromkeys(seen["layers"])) == [
        "r1-c8", "r1-c16", "r3-c8", "r3-c16", "r5-c8", "r5-c16",
    ]  # fmt: skip


def test_table_filters(seen):
    assert {layer for layer, _ in seen["found"]} == {"r1-c8", "r3-c8", "r5-c8"}
    assert {row["algorithm"] for _, row in seen["found"]} == {"fft"}
    assert seen["count"] == "9 of 72 rows"
    assert seen["able"] == 66
    assert seen["passes"] == ["backward_input"]
    assert seen["counted"] == "22 of 72 rows"


def test_an_algorithm_is_followed_through_the_plots(seen):
    assert (seen["followed"], seen["pressed"], seen["left"]) == (["fft"], "true", False)


def test_points_tell_and_buttons_take_the_keyboard(seen):
    assert seen["tip"] == [True, True]
    assert seen["focusable"]


def test_themes_differ(seen, page, tmp_path):
    dark, _ = load(scripted(page, LOOK, TELL), tmp_path, "--blink-settings=preferredColorScheme=0")
    assert all(one != other for one, other in zip(seen["colours"], dark["colours"], strict=True))
    assert seen["axis"] != dark["axis"]
    assert seen["toggled"] == dark["colours"]


def test_a_phone_shows_it_without_scrolling_sideways(page, tmp_path):
    """In a frame of 360 pixels: Chromium's own window is wider at least."""
    (tmp_path / "inner.html").write_text(
        scripted(page, LOOK, "parent.postMessage(JSON.stringify(seen), '*');"), encoding="utf-8"
    )
    outer = (
        "<!DOCTYPE html><title></title><iframe src=inner.html width=360 height=800></iframe>"
        "<script>addEventListener('message', (e) => { document.title = e.data; });</script>"
    )
    seen, _ = load(outer, tmp_path, "--virtual-time-budget=5000")
    assert seen["width"] == [360, 360]
    assert seen["wide"] == 0 and seen["drawn"] == page.count("<figure")
    assert seen["table"] > 360  # it scrolls in its own box
